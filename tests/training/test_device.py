"""Settings for a GPU, as far as they can be checked without one."""

import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

import roadmap
from roadmap.config import read_config
from roadmap.data.augment.crop_erase import crop_resized
from roadmap.data.spec import Interpolation
from roadmap.errors import ConfigError
from roadmap.system import machine
from roadmap.training import device as hardware
from roadmap.training.device import is_out_of_memory, pick_device, reseed, seed_everything, select_algorithms
from roadmap.training.spec import Precision

HARDWARE = read_config(roadmap.compose()).hardware
CUDA = replace(HARDWARE, device="cuda")


@pytest.fixture
def _settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore torch's settings."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(hardware, "allow_kernels", lambda device: None)  # it needs the device
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    allowed, benchmark = [backend.allow_tf32 for backend in backends], torch.backends.cudnn.benchmark
    yield
    for backend, allow in zip(backends, allowed, strict=True):
        backend.allow_tf32 = allow
    torch.backends.cudnn.benchmark = benchmark
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_settings")
@pytest.mark.parametrize("deterministic", [True, False])
def test_algorithms_are_deterministic_or_benchmarked(deterministic: bool) -> None:
    select_algorithms(replace(CUDA, deterministic=deterministic), torch.device("cuda"))
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert torch.backends.cudnn.benchmark != deterministic
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.usefixtures("_settings")
@pytest.mark.parametrize("precision", Precision)
def test_convolutions_and_matmuls_share_a_precision(precision: Precision) -> None:
    select_algorithms(replace(CUDA, precision=precision), torch.device("cuda"))
    allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    assert allowed == (precision is Precision.tf32,) * 2


@pytest.mark.usefixtures("_settings")
def test_crops_use_fp32_even_if_the_network_uses_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    seen = []
    bmm = torch.bmm
    monkeypatch.setattr(
        torch, "bmm", lambda *pair: seen.append(torch.backends.cuda.matmul.allow_tf32) or bmm(*pair)
    )
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    crop_resized(images, torch.tensor([[0, 0, 8, 8]] * 2), torch.tensor([True, False]), Interpolation.bicubic)
    assert seen == [False]
    assert torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(("gpus", "rank", "name"), [(1, 3, "cuda:0"), (8, 3, "cuda:3")])
def test_rank_uses_its_gpu_or_the_only_visible_one(
    gpus: int, rank: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch, "empty", lambda *_, device: None)
    assert str(pick_device(CUDA, rank)) == name
    assert [str(device) for device in current] == [name]


@pytest.mark.parametrize("precision", [Precision.fp16, Precision.tf32])
def test_gpu_precisions_on_a_cpu_are_an_error(precision: Precision) -> None:
    with pytest.raises(ConfigError, match=f"hardware.precision={precision} needs a GPU; on the CPU choose"):
        pick_device(replace(HARDWARE, device="cpu", precision=precision))


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
    ],
)
def test_out_of_memory_errors_are_recognized(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) == is_memory


def test_reseed_equals_seed_everything() -> None:
    def draw() -> list[float]:
        return [torch.rand(1).item(), np.random.rand(), torch.bernoulli(torch.full((9,), 0.5)).sum().item()]  # noqa: NPY002

    seed_everything(7)
    first = draw()
    reseed(7, torch.device("cpu"))
    assert draw() == first


def test_cores_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "count_cores", lambda: 96)
    assert machine.count_cores_per_process() == 96
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")  # set by torchrun
    assert machine.count_cores_per_process() == 12
    monkeypatch.setenv(machine.SHARING, "16")
    assert machine.count_cores_per_process() == 1
