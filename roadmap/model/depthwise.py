"""Depthwise convolution that stays fast on small maps.

torch's CPU kernels for depthwise convolution fall to a slow path where the kernel is larger than the map,
which in a ConvNet for small images is most of the stages. Two exact replacements, by map:

- up to 2x2, a weighted sum over the few input positions, vectorized over the channels;
- up to 8x8, one small matrix product a channel with the Toeplitz matrix of its filter.

Time of forward and backward in ms (2-core x86-64 VM, 1 thread, torch 2.14.1, 64 images, channels_last,
2026-11-24), convolution against replacement: 384 channels 1x1 k7 23.4 / 0.4; 384 2x2 k3 11.8 / 0.7; 192 4x4
k7 26.2 / 1.9; 384 7x7 k7 36.2 / 24.4; 96 8x8 k7 9.1 / 5.9. It loses where the kernel is the smaller one
(192 4x4 k3 0.6 / 1.8; 384 7x7 k3 4.4 / 28.1), so there the convolution stays.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

SUM_UP_TO = 2  # positions a side
TOEPLITZ_UP_TO = 8  # positions a side, for kernels of 7 and more; smaller kernels: maps below the kernel


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with one filter a channel and the same parameters, in the fastest form for the map."""

    def __init__(self, channels: int, kernel: int, stride: int, padding: int, bias: bool):
        super().__init__(channels, channels, kernel, stride, padding, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        height, width = x.shape[2:]
        kernel = self.kernel_size[0]
        # A compiler would unroll the loops of _spread_matrix, thousands of operations, until it gives up.
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
            return super().forward(x)
        side = max(height, width)
        if side <= SUM_UP_TO:
            return self._sum_over_positions(x)
        if side < kernel or (kernel >= 7 and side <= TOEPLITZ_UP_TO):
            return self._multiply_toeplitz(x)
        return super().forward(x)

    def _sum_over_positions(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        spread, out = self._spread(x)
        taps = (spread.t() @ self.weight.flatten(1).t()).view(height * width, -1, c)  # (P, Q, C)
        positions = x.permute(0, 2, 3, 1).reshape(n, height * width, 1, c)
        y = (positions * taps).sum(1)  # (N, Q, C)
        if self.bias is not None:
            y = y + self.bias
        return y.view(n, *out, c).permute(0, 3, 1, 2)

    def _multiply_toeplitz(self, x: Tensor) -> Tensor:
        spread, out = self._spread(x)
        toeplitz = (self.weight.flatten(1) @ spread).view(x.shape[1], x.shape[2] * x.shape[3], -1)
        y: Tensor = _ToeplitzProduct.apply(x, toeplitz, out)
        return y if self.bias is None else y + self.bias.view(1, -1, 1, 1)

    def _spread(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        spread, out = _spread_matrix(*x.shape[2:], self.kernel_size[0], self.stride[0], int(self.padding[0]))
        return spread.to(x.dtype), out


class _ToeplitzProduct(torch.autograd.Function):
    """(N, C, H, W) times (C, P, Q), P = H * W, to (N, C, H', W'), Q = H' * W'; channels_last in and out.

    Written out because the change between (N * P, C) and (C, N * P) decides the speed: as a transposition of
    a matrix it is three times as fast as the same permutation of four dimensions.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, toeplitz: Tensor, out: tuple[int, int]) -> Tensor:
        by_channel = _to_channels(x)
        ctx.save_for_backward(by_channel, toeplitz)
        ctx.size = x.shape[2:]
        return _from_channels(torch.bmm(by_channel, toeplitz), len(x), out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        by_channel, toeplitz = ctx.saved_tensors
        grad_by_channel = _to_channels(grad)
        grad_toeplitz = torch.bmm(by_channel.transpose(1, 2), grad_by_channel)
        grad_x = torch.bmm(grad_by_channel, toeplitz.transpose(1, 2))
        return _from_channels(grad_x, len(grad), ctx.size), grad_toeplitz, None


def _to_channels(x: Tensor) -> Tensor:
    """(N, C, H, W) to contiguous (C, N, H * W)."""
    n, c = x.shape[:2]
    return x.permute(0, 2, 3, 1).reshape(-1, c).t().contiguous().view(c, n, -1)


def _from_channels(y: Tensor, n: int, size: tuple[int, int]) -> Tensor:
    """(C, N, H * W) to channels_last (N, C, H, W)."""
    c = len(y)
    return y.view(c, -1).t().contiguous().view(n, *size, c).permute(0, 3, 1, 2)


@cache
def _spread_matrix(
    height: int, width: int, kernel: int, stride: int, padding: int
) -> tuple[Tensor, tuple[int, int]]:
    """Which tap of the filter joins which input position with which output position.

    Returns zeros and ones (kernel * kernel, P * Q), and the size of the output. A filter (1, k * k) times it
    is the filter's Toeplitz matrix.
    """
    out = (height + 2 * padding - kernel) // stride + 1, (width + 2 * padding - kernel) // stride + 1
    spread = torch.zeros(kernel, kernel, height, width, *out)
    for row in range(out[0]):
        for column in range(out[1]):
            for i in range(height):
                for j in range(width):
                    di, dj = i - row * stride + padding, j - column * stride + padding
                    if 0 <= di < kernel and 0 <= dj < kernel:
                        spread[di, dj, i, j, row, column] = 1
    return spread.view(kernel * kernel, -1), out
