"""Whether a tensor's device has kernels of ours, which are Triton's: depthwise_kernels.py and norm_kernels.py.

Only who calls one imports those, since Triton is not on every system.
"""

import warnings
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from roadmap.errors import first_line

OLDEST = 8  # compute capability: Ampere; they were tried on Hopper (9)
TYPES = (torch.float32, torch.bfloat16, torch.float16)
# Values of a map below which a GPU takes less time for it than the host for calling a kernel of ours, which torch's
# compiler doesn't see into: an update of the micro network at 32 px, 512 images, takes an H100 2.0 ms, its host 12.
LARGE = 2**22

_are_allowed = False


def allow_kernels(device: torch.device) -> None:
    """From here on this process takes them, if the device can and Triton is there and works."""
    global _are_allowed
    is_nvidia = device.type == "cuda" and torch.version.cuda is not None and find_spec("triton") is not None
    _are_allowed = is_nvidia and torch.cuda.get_device_capability(device)[0] >= OLDEST and _are_made(device)


@cache
def _are_made(device: torch.device) -> bool:
    """Whether one can be: Triton compiles with a C compiler of the system, which it may lack."""
    from roadmap.model.norm_kernels import layer_norm

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
    """Whether there are some for a tensor of such a device and type."""
    return _are_allowed and x.is_cuda and x.dtype in TYPES
