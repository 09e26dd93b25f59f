"""LayerNorm over channels, with kernels of its own on a GPU."""

import torch
from torch import Tensor, nn

from roadmap.model.kernels import LARGE, has_kernels


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` of (N, H, W, C) with the same parameters.

    Args:
        narrow: under autocast the result comes in the type that a convolution takes, and not as fp32. That is for
            a norm that a convolution follows, which would round it all the same.
    """

    def __init__(self, channels: int, eps: float, narrow: bool):
        super().__init__(channels, eps)
        self.narrow = narrow

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.numel() < LARGE or not x.is_contiguous() or not has_kernels(x):
            return super().forward(x)
        from roadmap.model.norm_kernels import layer_norm  # see kernels.py

        dtype = x.dtype
        if torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda") if self.narrow else torch.float32
        y = layer_norm(x.permute(0, 3, 1, 2), self.weight, self.bias, self.eps, dtype)
        return y.permute(0, 2, 3, 1)


class LayerNorm2d(LayerNorm):
    """The same of (N, C, H, W); without copies where that is channels_last."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
