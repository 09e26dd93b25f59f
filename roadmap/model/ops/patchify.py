"""Convolution over non-overlapping patches (kernel = stride), computed as one linear map per patch.

ConvNeXt's separate downsampling is one (paper, section 2.6); torch's CPU kernels are slow in the gradients of its
2x2 convolutions. On a GPU only the stem gains. benchmarks/convolutions.py compares the times.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from roadmap.model.ops.convolution import TunedConv2d

# With fewer input channels, CPUs use torch's convolution and GPUs the linear map. Nothing between 3 and 24 channels
# was measured.
FEWEST = 16


class PatchConv2d(TunedConv2d):
    """`nn.Conv2d` with kernel = stride and the same parameters, computed as a linear map of patches."""

    def __init__(self, in_channels: int, out_channels: int, size: int, bias: bool):
        super().__init__(in_channels, out_channels, size, size, bias=bias)

    def is_faster(self, x: Tensor) -> bool:
        """Return True if `convolve` was measured to be faster than torch and the patches cover the map."""
        return x.shape[1] >= FEWEST and self._covers(x)

    def is_faster_on_gpu(self, x: Tensor) -> bool:
        """Return True for a stem in 16 bits; fp32 was not measured."""
        is_narrow = torch.is_autocast_enabled("cuda") and x.dtype is not torch.float64
        return is_narrow and x.shape[1] < FEWEST and self._covers(x)

    def _covers(self, x: Tensor) -> bool:
        """Return True if the map consists of whole patches."""
        size = self.kernel_size[0]
        return x.shape[2] % size == x.shape[3] % size == 0

    def convolve_on_gpu(self, x: Tensor) -> Tensor:
        return self.convolve(x.to(torch.get_autocast_dtype("cuda")))

    def convolve(self, x: Tensor) -> Tensor:
        size = self.kernel_size[0]
        n, channels, height, width = x.shape
        rows, columns = height // size, width // size
        lines = x.permute(0, 2, 3, 1).reshape(n, rows, size, columns, size * channels)
        patches = lines.transpose(2, 3).reshape(n, rows, columns, size**2 * channels)
        return linear(patches, self.weight.permute(0, 2, 3, 1).flatten(1), self.bias).permute(0, 3, 1, 2)
