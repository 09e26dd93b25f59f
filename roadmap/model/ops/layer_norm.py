"""LayerNorm over channels, with Triton kernels on a GPU."""

import torch
from torch import Tensor, nn

from roadmap.model.ops.triton_availability import LARGE, has_kernels


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` of (N, H, W, C) with the same parameters.

    Args:
        narrow: under autocast, return the autocast dtype instead of fp32. For a norm before a convolution, which
            would cast its input anyway.
    """

    def __init__(self, channels: int, eps: float, narrow: bool):
        super().__init__(channels, eps)
        self.narrow = narrow

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # a program of torch's own operations, for any number of images
            return super().forward(x)
        if x.ndim != 4 or x.numel() < LARGE or not x.is_contiguous() or not has_kernels(x):
            return super().forward(x)
        # triton_availability.py explains the late import.
        from roadmap.model.ops.layer_norm_triton import layer_norm

        dtype = x.dtype
        if torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda") if self.narrow else torch.float32
        y = layer_norm(x.permute(0, 3, 1, 2), self.weight, self.bias, self.eps, dtype)
        return y.permute(0, 2, 3, 1)


class LayerNorm2d(LayerNorm):
    """`LayerNorm` of (N, C, H, W); makes no copy if the input is channels_last."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
