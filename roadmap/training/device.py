"""Selects the device, its algorithms and precision, and seeds random number generators."""

import os
import random

import numpy as np
import torch

from roadmap.errors import ConfigError
from roadmap.model.ops.triton_availability import allow_kernels
from roadmap.system.machine import keep_freed_memory
from roadmap.training.spec import HardwareSpec, Precision

OUT_OF_MEMORY = ("you tried to allocate", "STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def pick_device(hardware: HardwareSpec, local_rank: int = 0) -> torch.device:
    """Return the device that the configuration names; `auto` is CUDA, else Apple's GPU, else the CPU.

    Of several GPUs, a rank uses the one of its local rank, which becomes torch's current device. On a CPU, the
    process keeps freed memory from here on.

    Raises:
        ConfigError: there is no such device here, or it does not support the precision.
    """
    name = hardware.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda":  # SLURM may show each process only its own GPU
        name = "cuda:0" if torch.cuda.device_count() == 1 else f"cuda:{local_rank}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split(" device type at start")[0].splitlines()[0]
        raise ConfigError(
            f"hardware.device={name} can't be used here: {reason}. Choose auto, cpu, cuda, cuda:N or mps"
        ) from error
    if hardware.precision in (Precision.fp16, Precision.tf32) and device.type == "cpu":
        raise ConfigError(f"hardware.precision={hardware.precision} needs a GPU; on the CPU choose fp32 or bf16")
    if device.type == "cpu":
        keep_freed_memory()
    elif device.type == "cuda":
        torch.cuda.set_device(device)  # pinned memory belongs to the current device
    return device


def select_algorithms(hardware: HardwareSpec, device: torch.device) -> None:
    """Select deterministic or the fastest algorithms.

    A CPU is deterministic without any setting. On a GPU, deterministic mode fixes the choices of cuDNN and cuBLAS,
    and an operation without a deterministic form warns; otherwise cuDNN benchmarks its algorithms on each new
    shape. Convolutions and matrix products both use fp32 or both TF32, while torch's default is one of each.
    Networks use this project's Triton kernels, which are deterministic.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # required by torch's notes on reproducibility
        torch.backends.cudnn.benchmark = not hardware.deterministic
        torch.use_deterministic_algorithms(hardware.deterministic, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        is_tf32 = hardware.precision is Precision.tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = is_tf32
        allow_kernels(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if memory ran out. Only torch's GPU allocator has an error class; match others by message."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch, on every device."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002, timm's Mixup draws from it
    torch.manual_seed(seed)


def reseed(seed: int, device: torch.device) -> None:
    """Do the same as `seed_everything` for the host and one device.

    Faster, since torch.manual_seed records its call stack for each kind of device that is not in use.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
