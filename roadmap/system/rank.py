"""Rank and world size of this process, from the launcher's environment variables. Does not import torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from roadmap.errors import ConfigError

MPI = "OMPI_COMM_WORLD_"  # Open MPI's variables


@dataclass(frozen=True)
class DistInfo:
    """Rank and world size; a single process unless a launcher sets them."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0  # rank on this machine; the index of its GPU

    @property
    def is_main_process(self) -> bool:
        """True for rank 0, which reports and writes."""
        return self.rank == 0


def get_dist_info(variables: Mapping[str, str] = os.environ) -> DistInfo:
    """Read RANK, WORLD_SIZE and LOCAL_RANK (torchrun, Kubeflow), or the variables of a SLURM step or of Open MPI.

    A missing LOCAL_RANK is 0, as under launchers that start one process per machine. A process started by hand in a
    SLURM allocation is not a step, and mpirun needs MASTER_ADDR; otherwise each process trains alone, so that none
    waits for ranks that do not exist.

    Raises:
        ConfigError: a variable is missing or invalid; names it.
    """
    _read_number(variables, "LOCAL_WORLD_SIZE", 1, default=1)  # used by count_cores_per_process
    by_torch = {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= variables.keys()
    if by_torch or "TORCHELASTIC_RUN_ID" in variables:
        return _read_dist_info(variables, "WORLD_SIZE", "RANK", "LOCAL_RANK")
    if _read_number(variables, "SLURM_STEP_NUM_TASKS", 1, default=1) > 1:
        return _read_dist_info(variables, "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID")
    if "MASTER_ADDR" in variables and _read_number(variables, f"{MPI}SIZE", 1, default=1) > 1:
        return _read_dist_info(variables, f"{MPI}SIZE", f"{MPI}RANK", f"{MPI}LOCAL_RANK")
    if _read_number(variables, "WORLD_SIZE", 1, default=1) > 1:
        absent = next(name for name in ("RANK", "MASTER_ADDR") if name not in variables)
        raise ConfigError(
            f"WORLD_SIZE={variables['WORLD_SIZE']}, but {absent} is not set: set it, start with torchrun, or unset "
            "WORLD_SIZE to train in one process"
        )
    return DistInfo()


def get_dist_info_or_default() -> DistInfo:
    """Return the rank; the default if the variables are invalid, for which `get_dist_info` raises at the start."""
    try:
        return get_dist_info()
    except ConfigError:
        return DistInfo()


def _read_dist_info(variables: Mapping[str, str], size_name: str, rank_name: str, local_name: str) -> DistInfo:
    world_size = _read_number(variables, size_name, 1)
    rank = _read_number(variables, rank_name, 0)
    if rank >= world_size:
        raise ConfigError(f"{rank_name}={rank} must be below {size_name}={world_size}")
    if world_size > 1:
        _check_master_address(variables)
    return DistInfo(rank, world_size, _read_number(variables, local_name, 0, default=0))


def _check_master_address(variables: Mapping[str, str]) -> None:
    """Raise ConfigError if the address of rank 0 is unknown."""
    if "MASTER_ADDR" in variables:
        _read_number(variables, "MASTER_PORT", 1)
        return
    if "SLURM_STEP_NUM_TASKS" not in variables:
        raise ConfigError("MASTER_ADDR is not set; it is the address of the machine of rank 0")
    _read_number(variables, "SLURM_JOB_ID", 0)
    if "SLURM_LAUNCH_NODE_IPADDR" not in variables:
        raise ConfigError("SLURM_LAUNCH_NODE_IPADDR is not set: set MASTER_ADDR and MASTER_PORT")


def _read_number(variables: Mapping[str, str], name: str, lowest: int, default: int | None = None) -> int:
    text = variables.get(name)
    if text is None:
        if default is None:
            raise ConfigError(f"{name} is not set, but the launcher's other variables are: set it, or use torchrun")
        return default
    try:
        number = int(text)
    except ValueError:
        number = lowest - 1
    if number < lowest:
        raise ConfigError(f"{name}={text} must be a whole number of at least {lowest}")
    return number
