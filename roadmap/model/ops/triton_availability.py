"""Availability of the Triton kernels (depthwise_triton.py, layer_norm_triton.py) for a device and a tensor.

Callers import the kernel modules inside functions, since Triton is not available on every system.
"""

import warnings
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from roadmap.errors import first_line

OLDEST = 8  # compute capability: Ampere; tested on Hopper (9)
TYPES = (torch.float32, torch.bfloat16, torch.float16)
# Smallest map, in values, for which the GPU's time exceeds the host's time to launch a custom kernel, which torch's
# compiler can't fuse.
LARGE = 2**22

_are_allowed = False


def allow_kernels(device: torch.device) -> None:
    """Enable the kernels in this process if the device supports them and Triton is installed and works."""
    global _are_allowed
    is_nvidia = device.type == "cuda" and torch.version.cuda is not None and find_spec("triton") is not None
    _are_allowed = is_nvidia and torch.cuda.get_device_capability(device)[0] >= OLDEST and _are_made(device)


@cache
def _are_made(device: torch.device) -> bool:
    """Return True if Triton compiles a kernel here; it needs a C compiler, which the system may lack."""
    from roadmap.model.ops.layer_norm_triton import layer_norm

    ones = torch.ones(8, device=device)
    try:
        layer_norm(ones.view(1, 8, 1, 1), ones, ones, 1e-6, torch.float32).sum().item()
    except Exception as error:
        warnings.warn(
            f"Triton makes no kernels here ({first_line(error)}), so depthwise convolutions and LayerNorm are "
            "torch's, which take longer; it needs a C compiler, such as gcc",
            stacklevel=2,
        )
        return False
    return True


def has_kernels(x: Tensor) -> bool:
    """Return True if kernels are enabled and support the tensor's device and dtype."""
    return _are_allowed and x.is_cuda and x.dtype in TYPES
