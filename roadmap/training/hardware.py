"""The device, and what makes it fast and its numbers repeat."""

import os
import random

import numpy as np
import torch

from roadmap.errors import ConfigError
from roadmap.machine import keep_freed_memory
from roadmap.model.kernels import allow_kernels
from roadmap.training.spec import HardwareSpec, Precision

OUT_OF_MEMORY = ("you tried to allocate", "STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def pick_device(hardware: HardwareSpec, local_rank: int = 0) -> torch.device:
    """The device that the configuration names; `auto` is CUDA, else Apple's GPU, else the CPU.

    Of several GPUs, the processes of a group take one each, by their number on this machine. A GPU becomes torch's
    current one; on a CPU the process keeps freed memory from here on.

    Raises:
        ConfigError: there is no such device here, or it can't compute in the precision.
    """
    name = hardware.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda":  # SLURM may show each process a GPU of its own
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
        raise ConfigError(f"hardware.precision={hardware.precision} is of a GPU; on the CPU choose fp32 or bf16")
    if device.type == "cpu":
        keep_freed_memory()
    elif device.type == "cuda":
        torch.cuda.set_device(device)  # pinned memory is of the current one
    return device


def choose_algorithms(hardware: HardwareSpec, device: torch.device) -> None:
    """Those that repeat, so that the same command gives the same numbers on the same machine; or the fastest.

    On a CPU they repeat without any setting. On a GPU, cuDNN's and cuBLAS's choices are fixed, and an operation
    that has no repeatable form warns; or cuDNN tries its algorithms on each new shape and takes the fastest. There,
    convolutions and matrix products are both of fp32 or both of TF32, where torch's default is one of each, and a
    network takes its kernels for a GPU, which repeat.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as torch's notes on reproducibility ask
        torch.backends.cudnn.benchmark = not hardware.deterministic
        torch.use_deterministic_algorithms(hardware.deterministic, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        is_tf32 = hardware.precision is Precision.tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = is_tf32
        allow_kernels(device)


def is_out_of_memory(error: BaseException) -> bool:
    """torch's allocator on a GPU has an error of its own; the CPU's and those of CUDA are known by their words."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def seed_everything(seed: int) -> None:
    """Python's, numpy's and torch's generators, on every device."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002, timm's Mixup draws from it
    torch.manual_seed(seed)


def reseed(seed: int, device: torch.device) -> None:
    """What `seed_everything` does, for the host and this device alone: in 11 us where that takes 170 to 450.

    torch.manual_seed writes down where it was called from for each kind of device that is not in use (medians of
    n = 200, one core of an Intel Xeon of 2.5 GHz, torch 2.14.1, 2026-11-27).
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
