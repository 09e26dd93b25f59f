"""A process knows its place from its launcher's variables, or says which of them is wrong."""

import pytest

from roadmap.errors import ConfigError
from roadmap.system.rank import DistInfo, get_dist_info

MEETING = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
TORCH = {"RANK": "1", "WORLD_SIZE": "2", **MEETING}
SLURM = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "7"}
NODE = {"SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1"}
MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, DistInfo()),
        (TORCH, DistInfo(1, 2, 0)),  # Kubeflow: one process in each pod
        (TORCH | {"LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "none"}, DistInfo(1, 2, 1)),
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "x"}, DistInfo(0, 1, 0)),  # alone needs no port
        ({"WORLD_SIZE": "1"}, DistInfo()),
        ({"RANK": "0"}, DistInfo()),
        ({"LOCAL_RANK": "3"}, DistInfo()),
        (SLURM | NODE, DistInfo(3, 4, 1)),
        (SLURM | MEETING, DistInfo(3, 4, 1)),
        (SLURM | NODE | {"WORLD_SIZE": "4"}, DistInfo(3, 4, 1)),
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}, DistInfo()),
        (MPI | MEETING, DistInfo(1, 2, 1)),
        (MPI, DistInfo()),  # as runs of several seeds are started
    ],
)
def test_rank_and_world_size_are_read(variables: dict[str, str], place: DistInfo) -> None:
    assert get_dist_info(variables) == place


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (TORCH | {"RANK": "one"}, "RANK=one must be a whole number of at least 0"),
        (TORCH | {"RANK": "-1"}, "RANK=-1 must be a whole number of at least 0"),
        (TORCH | {"RANK": "2"}, "RANK=2 must be below WORLD_SIZE=2"),
        (TORCH | {"WORLD_SIZE": ""}, "WORLD_SIZE= must be a whole number of at least 1"),
        (TORCH | {"WORLD_SIZE": "0"}, "WORLD_SIZE=0 must be"),
        (TORCH | {"LOCAL_RANK": "x"}, "LOCAL_RANK=x must be"),
        (TORCH | {"LOCAL_WORLD_SIZE": "2.5"}, "LOCAL_WORLD_SIZE=2.5 must be"),
        (TORCH | {"MASTER_PORT": "http"}, "MASTER_PORT=http must be"),
        ({key: TORCH[key] for key in TORCH if key != "MASTER_PORT"}, "MASTER_PORT is not set"),
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "0"}, "WORLD_SIZE is not set, but the launcher's"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "WORLD_SIZE=2, but MASTER_ADDR is not set: set it, start with torchrun"),
        ({"WORLD_SIZE": "2", "MASTER_ADDR": "x"}, "WORLD_SIZE=2, but RANK is not set"),
        (SLURM, "SLURM_LAUNCH_NODE_IPADDR is not set"),
        (SLURM | NODE | {"SLURM_STEP_NUM_TASKS": "four"}, "SLURM_STEP_NUM_TASKS=four must be"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, "SLURM_PROCID is not set"),
        (MPI | MEETING | {"OMPI_COMM_WORLD_RANK": "2"}, "OMPI_COMM_WORLD_RANK=2 must be below"),
    ],
)
def test_invalid_variable_is_named(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        get_dist_info(variables)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
