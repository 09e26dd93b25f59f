"""Depthwise convolution that stays fast on small maps.

torch's CPU kernels are fast for the output and the input's gradient. They are slow for the weights' gradient,
especially if the kernel is larger than the map, as in most stages of a ConvNet for small images. Here one small
matrix product per channel, of all input with all output positions, gives that gradient. On a map of one position
the filter is a scale, and on a map of a few positions it is a sum of scaled positions; both are cheaper.
benchmarks/convolutions.py compares the times.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from roadmap.model.ops.convolution import TunedConv2d
from roadmap.model.ops.triton_availability import LARGE, has_kernels

MAX_SIDE = 16  # in positions: the products of all pairs of positions take memory
# The limits below were measured: beyond them torch is faster.
MAX_COST_RATIO = 9  # multiplications here per multiplication of torch's
SMALL_KERNEL = 3
MAX_POSITIONS = 4  # of a map, for the sum of scaled positions
MAX_TERMS = 300_000  # of these sums


class DepthwiseConv2d(TunedConv2d):
    """`nn.Conv2d` with one filter per channel, the same parameters, and the fastest gradient for the map's size."""

    def __init__(self, channels: int, kernel: int, stride: int, padding: int, bias: bool):
        super().__init__(channels, channels, kernel, stride, padding, groups=channels, bias=bias)

    def is_faster_on_gpu(self, x: Tensor) -> bool:
        """Return True if a kernel supports this input and the map is large."""
        kernel = self.kernel_size[0]
        keeps_size = self.stride[0] == 1 and kernel % 2 == 1 and self.padding[0] == kernel // 2
        # For a small map cuDNN's deterministic algorithms can take a hundred times as long.
        is_worth_it = x.numel() >= LARGE or (torch.are_deterministic_algorithms_enabled() and len(x) > 0)
        has_format = x.is_contiguous(memory_format=torch.channels_last)
        return keeps_size and is_worth_it and has_format and has_kernels(x)

    def convolve_on_gpu(self, x: Tensor) -> Tensor:
        from roadmap.model.ops.depthwise_triton import depthwise  # triton_availability.py explains the late import

        if torch.is_autocast_enabled("cuda"):
            x = x.to(torch.get_autocast_dtype("cuda"))
        y: Tensor = depthwise(x, self.weight, self.bias)
        return y

    def is_faster(self, x: Tensor) -> bool:
        """Return True if this module's weight gradient is faster than torch's for maps of this size."""
        n, _, height, width = x.shape
        kernel = self.kernel_size[0]
        if max(height, width) > MAX_SIDE:
            return False
        if max(height, width) < kernel:
            return True
        if kernel <= SMALL_KERNEL:
            return False
        return height * width * (n + kernel**2) <= MAX_COST_RATIO * n * kernel**2

    def convolve(self, x: Tensor) -> Tensor:
        arguments = x, self.weight, self.bias, self.stride[0], int(self.padding[0])
        positions = x.shape[2] * x.shape[3]
        if positions == 1 or (positions <= MAX_POSITIONS and x.numel() * positions <= MAX_TERMS):
            return _sum_positions(*arguments)
        y: Tensor = _SmallMap.apply(*arguments)
        return y


def _sum_positions(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Compute each output position as the sum of all input positions, each times its tap, or 0."""
    n, channels, height, width = x.shape
    kernel = weight.shape[2]
    spread = _spread_matrix(height, width, kernel, stride, padding).to(x.dtype)
    factors = (spread @ weight.flatten(1).t()).view(height * width, -1, channels)  # (P, Q, C)
    positions = x.permute(0, 2, 3, 1).reshape(n, height * width, 1, channels)
    y = (positions * factors).sum(1)  # (N, Q, C)
    if bias is not None:
        y = y + bias
    rows, columns = (_count_outputs(side, kernel, stride, padding) for side in (height, width))
    return y.view(n, rows, columns, channels).permute(0, 3, 1, 2)


class _SmallMap(torch.autograd.Function):
    """torch's convolution and gradients, except the gradient of the weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        for_input, _, for_bias = ctx.needs_input_grad[:3]
        grad_x = grad_bias = None
        if for_input:
            settings = [ctx.stride] * 2, [ctx.padding] * 2, [1, 1], False, [0, 0], len(weight)
            grad_x = torch.ops.aten.convolution_backward(grad, x, weight, None, *settings, [True, False, False])[0]
        if for_bias:  # torch computes it only together with the weights' gradient
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, _differentiate_weight(x, grad, weight, ctx.stride, ctx.padding), grad_bias, None, None


def _differentiate_weight(x: Tensor, grad: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Return the gradient (C, 1, K, K) from x (N, C, H, W) and grad (N, C, H', W')."""
    positions, outputs = (tensor.contiguous().flatten(2).transpose(0, 1) for tensor in (x, grad))  # (C, N, P or Q)
    products = torch.bmm(positions.transpose(1, 2), outputs)
    spread = _spread_matrix(*x.shape[2:], weight.shape[2], stride, padding).to(x.dtype)
    return (products.flatten(1) @ spread).view(weight.shape)


@cache
@torch.inference_mode(False)  # an evaluation may call it first, and training later saves the result for backward
def _spread_matrix(height: int, width: int, kernel: int, stride: int, padding: int) -> Tensor:
    """Return the taps between input and output positions: (P * Q, K * K) of 0 and 1."""
    rows, columns = (_find_taps(side, kernel, stride, padding) for side in (height, width))
    return torch.einsum("hik,wjl->hwijkl", rows, columns).reshape(-1, kernel**2)


def _find_taps(side: int, kernel: int, stride: int, padding: int) -> Tensor:
    """Return the taps between input and output positions along one side: (H, H', K) of 0 and 1."""
    outputs = torch.arange(_count_outputs(side, kernel, stride, padding))
    taps = torch.arange(side)[:, None] + padding - stride * outputs
    return (taps[..., None] == torch.arange(kernel)).float()


def _count_outputs(side: int, kernel: int, stride: int, padding: int) -> int:
    return (side + 2 * padding - kernel) // stride + 1
