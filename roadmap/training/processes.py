"""This process's place among those that train one network together, as torchrun or SLURM tell it. No torch here."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Which of how many processes this is; alone unless a launcher says otherwise."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # on this machine; the number of its GPU

    @property
    def is_first(self) -> bool:
        """Whether this one reports and writes."""
        return self.rank == 0


def find_place() -> Place:
    """From torchrun's variables, or those of a SLURM step of several tasks.

    A SLURM allocation of several tasks in which one process was started by hand is no such step, so that
    nobody waits there for processes that never come.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        return Place(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return Place(*(int(os.environ[f"SLURM_{name}"]) for name in ("PROCID", "STEP_NUM_TASKS", "LOCALID")))
    return Place()
