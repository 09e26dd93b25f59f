"""The device, and what makes it fast and its numbers repeat."""

import os
import random

import numpy as np
import torch

from roadmap.errors import ConfigError
from roadmap.machine import keep_freed_memory
from roadmap.training.spec import HardwareSpec, Precision


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


def choose_algorithms(hardware: HardwareSpec, device: torch.device) -> None:
    """Those that repeat, so that the same command gives the same numbers on the same machine; or the fastest.

    On a CPU they repeat without any setting. On a GPU, cuDNN's and cuBLAS's choices are fixed, and an operation
    that has no repeatable form warns; or cuDNN tries its algorithms on each new shape and takes the fastest.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as torch's notes on reproducibility ask
        torch.backends.cudnn.benchmark = not hardware.deterministic
        torch.use_deterministic_algorithms(hardware.deterministic, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def is_out_of_memory(error: BaseException) -> bool:
    """A GPU's allocator has an error of its own; the CPU's is known by its message alone."""
    return isinstance(error, torch.OutOfMemoryError) or "you tried to allocate" in str(error)


def seed_everything(seed: int) -> None:
    """Python's, numpy's and torch's generators, on every device."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002, timm's Mixup draws from it
    torch.manual_seed(seed)
