"""Rank of this process and world size, as set by torchrun or SLURM. Does not import torch."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Rank and world size; a single process unless a launcher sets them."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # rank on this machine; the index of its GPU

    @property
    def is_first(self) -> bool:
        """True for rank 0, which reports and writes."""
        return self.rank == 0


def find_place() -> Place:
    """Read the place from torchrun's variables, or from those of a SLURM step of several tasks.

    A process started by hand in a SLURM allocation of several tasks is no such step, so it does not wait for ranks
    that never start.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        return Place(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return Place(*(int(os.environ[f"SLURM_{name}"]) for name in ("PROCID", "STEP_NUM_TASKS", "LOCALID")))
    return Place()
