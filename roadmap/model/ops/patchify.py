"""Convolution over non-overlapping patches (kernel = stride), computed as one linear map per patch.

ConvNeXt's separate downsampling is one (paper, section 2.6); torch's CPU kernels are slow in the gradients of its
2x2 convolutions. Forward and backward in ms, torch / here: 40 to 80 channels 8x8 2.7 / 1.4; 80 to 160 4x4 3.2 /
1.5; 160 to 320 2x2 5.3 / 1.7 (64 images); 96 to 192 16x16 6.8 / 5.0; 192 to 384 8x8 8.0 / 4.6; 384 to 768 4x4 14.9
/ 6.1 (16 images); 96 to 192 56x56 28 / 22 (8 images; channels_last, medians of n = 16, 2 threads of a 2.5 GHz Intel
Xeon with AVX-512, torch 2.14.1, 2026-11-26). With AVX2 only: 3.5 / 2.1; 4.5 / 2.1; 7.6 / 1.8; 10.0 / 7.6; 13.3 /
8.2; 25.8 / 9.2; 53 / 41. On a GPU only the stem gains: 3 to 96 channels 224x224 in 4x4 patches 1.46 / 0.65; 96 to
192 56x56 0.93 / 1.19; 192 to 384 28x28 0.67 / 0.79; 384 to 768 14x14 0.63 / 0.71 (256 images in bf16, medians of n
= 7 on one H100, torch 2.11.0, 2026-11-27).
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from roadmap.model.ops.convolution import TunedConv2d

# With fewer input channels, CPUs use torch's convolution and GPUs the linear map. For a stem's three channels, 128
# images of 64x64 in 4x4 patches, torch takes 4.7 ms on a CPU, this 7.2. Nothing between 3 and 24 was measured.
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
