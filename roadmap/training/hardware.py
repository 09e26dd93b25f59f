"""The device, and what makes it fast and its numbers repeat."""

import ctypes
import os
import random
import sys

import numpy as np
import torch

from roadmap.errors import ConfigError
from roadmap.training.spec import HardwareSpec, Precision

# glibc's malloc.h, and its largest values.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER_TRIM, LARGEST_ON_HEAP = 2**31 - 1, 32 * 2**20  # bytes


def pick_device(hardware: HardwareSpec, local_rank: int = 0) -> torch.device:
    """The device that the configuration names; `auto` is CUDA, else Apple's GPU, else the CPU.

    Of several GPUs, the processes of a group take one each, by their number on this machine.

    Raises:
        ConfigError: there is no such device here, or it can't compute in the precision.
    """
    name = hardware.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{local_rank}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split(" device type at start")[0].splitlines()[0]
        raise ConfigError(
            f"hardware.device={name} can't be used here: {reason}. Choose auto, cpu, cuda, cuda:N or mps"
        ) from error
    if hardware.precision is Precision.fp16 and device.type == "cpu":
        raise ConfigError("hardware.precision=fp16 trains on a GPU only; on the CPU choose fp32 or bf16")
    if device.type == "cpu":
        keep_freed_memory()
    return device


def keep_freed_memory() -> None:
    """The C library keeps the memory of freed tensors, for the next update, where it would give it back.

    To get it anew costs a page fault every 4 KiB. Micro steps 0, 4, 7 and 12 on CIFAR-10 are 1.08, 1.12, 1.11
    and 1.09 times as fast for it (medians of n = 5 pairs, which range from 0.93 to 1.38; batch 128, 1 thread of
    an AMD EPYC, glibc 2.36, 2026-11-24).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(M_MMAP_THRESHOLD, LARGEST_ON_HEAP)
        mallopt(M_TRIM_THRESHOLD, NEVER_TRIM)


def make_deterministic(device: torch.device) -> None:
    """The same command gives the same numbers on the same machine.

    On a CPU it does without any setting. On a GPU, cuDNN's and cuBLAS's choices are fixed, and an operation
    that has no repeatable form warns.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as torch's notes on reproducibility ask
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def is_out_of_memory(error: BaseException) -> bool:
    """A GPU's allocator has an error of its own; the CPU's is known by its message alone."""
    return isinstance(error, torch.OutOfMemoryError) or "you tried to allocate" in str(error)


def seed_everything(seed: int) -> None:
    """Python's, numpy's and torch's generators, on every device."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002, timm's Mixup draws from it
    torch.manual_seed(seed)
