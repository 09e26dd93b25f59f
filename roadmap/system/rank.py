"""This process's place among those that train one network together, as its launcher tells it. No torch here."""

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
    """From RANK, WORLD_SIZE and LOCAL_RANK (torchrun, Kubeflow), or those of a SLURM step or of Open MPI.

    LOCAL_RANK is 0 where it is missing, as under launchers that start one process a machine. A SLURM allocation of
    several tasks in which one process was started by hand is no step, and mpirun starts a group only if MASTER_ADDR
    says where it meets, so that nobody waits for processes that never come.

    Raises:
        ConfigError: a variable is missing or has a value that can't be; names it.
    """
    _read_number(variables, "LOCAL_WORLD_SIZE", 1, default=1)  # which the cores are shared by
    by_torch = {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= variables.keys()
    if by_torch or "TORCHELASTIC_RUN_ID" in variables:
        return _read_place(variables, "WORLD_SIZE", "RANK", "LOCAL_RANK")
    if _read_number(variables, "SLURM_STEP_NUM_TASKS", 1, default=1) > 1:
        return _read_place(variables, "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID")
    if "MASTER_ADDR" in variables and _read_number(variables, f"{MPI}SIZE", 1, default=1) > 1:
        return _read_place(variables, f"{MPI}SIZE", f"{MPI}RANK", f"{MPI}LOCAL_RANK")
    if _read_number(variables, "WORLD_SIZE", 1, default=1) > 1:
        absent = next(name for name in ("RANK", "MASTER_ADDR") if name not in variables)
        raise ConfigError(
            f"WORLD_SIZE={variables['WORLD_SIZE']}, but {absent} is not set: set it, start with torchrun, or unset "
            "WORLD_SIZE to train in one process"
        )
    return DistInfo()


def get_dist_info_or_single() -> DistInfo:
    """The place; alone where the variables are wrong, which `get_dist_info` tells when the command begins."""
    try:
        return get_dist_info()
    except ConfigError:
        return DistInfo()


def _read_place(variables: Mapping[str, str], size_name: str, rank_name: str, local_name: str) -> DistInfo:
    world_size = _read_number(variables, size_name, 1)
    rank = _read_number(variables, rank_name, 0)
    if rank >= world_size:
        raise ConfigError(f"{rank_name}={rank} must be below {size_name}={world_size}")
    if world_size > 1:
        _check_meeting_point(variables)
    return DistInfo(rank, world_size, _read_number(variables, local_name, 0, default=0))


def _check_meeting_point(variables: Mapping[str, str]) -> None:
    """Raises ConfigError if the processes can't find each other."""
    if "MASTER_ADDR" in variables:
        _read_number(variables, "MASTER_PORT", 1)
        return
    if "SLURM_STEP_NUM_TASKS" not in variables:
        raise ConfigError("MASTER_ADDR is not set; it is the address of the machine of the first process")
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
