"""Triton kernels of LayerNorm over the last dimension on a GPU.

Each value is read once, and sums are fp32. torch's compiler generates loops that read their input up to three
times, and slow ones for the gradients of weights and biases (times: benchmarks/README.md).
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op

from roadmap.model.ops.depthwise_triton import count_processors

VALUES = 2048  # values per program at a time, including the padding beyond the channels
PROGRAMS = 4  # programs per multiprocessor, which share the rows in the backward pass


@triton.jit
def _add(a, b):
    return a + b


@triton.jit
def _normalize(
    x_ptr,
    weight_ptr,
    bias_ptr,
    y_ptr,
    mean_ptr,
    rstd_ptr,
    rows,
    eps,
    C: tl.constexpr,
    BC: tl.constexpr,
    BR: tl.constexpr,
):
    """Compute y (rows, C), and mean and 1 / standard deviation (rows,), from x (rows, C)."""
    r = tl.program_id(0) * BR + tl.arange(0, BR)
    c = tl.arange(0, BC)
    in_c = c < C
    inside = (r < rows)[:, None] & in_c[None, :]
    offsets = r.to(tl.int64)[:, None] * C + c[None, :]
    x = tl.load(x_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
    mean = tl.reduce(x, 1, _add) / C
    centered = tl.where(inside, x - mean[:, None], 0.0)
    rstd = 1.0 / tl.sqrt(tl.reduce(centered * centered, 1, _add) / C + eps)
    weight = tl.load(weight_ptr + c, mask=in_c, other=0.0).to(tl.float32)[None, :]
    bias = tl.load(bias_ptr + c, mask=in_c, other=0.0).to(tl.float32)[None, :]
    y = centered * rstd[:, None] * weight + bias
    tl.store(y_ptr + offsets, y.to(y_ptr.dtype.element_ty), mask=inside)
    tl.store(mean_ptr + r, mean, mask=r < rows)
    tl.store(rstd_ptr + r, rstd, mask=r < rows)


@triton.jit
def _differentiate(
    x_ptr,
    weight_ptr,
    grad_ptr,
    mean_ptr,
    rstd_ptr,
    grad_x_ptr,
    sums_ptr,
    rows,
    C: tl.constexpr,
    BC: tl.constexpr,
    BR: tl.constexpr,
):
    """Compute grad_x (rows, C) and each program's sums (programs, 2, C) of the gradients of weights and biases."""
    c = tl.arange(0, BC)
    in_c = c < C
    weight = tl.load(weight_ptr + c, mask=in_c, other=0.0).to(tl.float32)[None, :]
    weight_sums = tl.full((BR, BC), 0.0, tl.float32)
    bias_sums = tl.full((BR, BC), 0.0, tl.float32)
    start = tl.program_id(0) * BR
    while start < rows:
        r = start + tl.arange(0, BR)
        inside = (r < rows)[:, None] & in_c[None, :]
        offsets = r.to(tl.int64)[:, None] * C + c[None, :]
        x = tl.load(x_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
        grad = tl.load(grad_ptr + offsets, mask=inside, other=0.0).to(tl.float32)
        mean = tl.load(mean_ptr + r, mask=r < rows, other=0.0)[:, None]
        rstd = tl.load(rstd_ptr + r, mask=r < rows, other=0.0)[:, None]
        normal = (x - mean) * rstd
        weight_sums += grad * normal
        bias_sums += grad
        scaled = grad * weight
        along = (tl.reduce(scaled * normal, 1, _add) / C)[:, None]
        shift = (tl.reduce(scaled, 1, _add) / C)[:, None]
        grad_x = (scaled - shift - normal * along) * rstd
        tl.store(grad_x_ptr + offsets, grad_x.to(grad_x_ptr.dtype.element_ty), mask=inside)
        start += tl.num_programs(0) * BR
    out = sums_ptr + tl.program_id(0).to(tl.int64) * (2 * C) + c
    tl.store(out, tl.reduce(weight_sums, 0, _add), mask=in_c)
    tl.store(out + C, tl.reduce(bias_sums, 0, _add), mask=in_c)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """Normalize the channels of x (N, C, H, W) in channels_last; the result has type `dtype`.

    torch's compiler would copy the inputs of a custom operation twice if they were (N, H, W, C) views.
    """
    y: Tensor = _layer_norm(x, weight, bias, eps, dtype)[0]
    return y


@custom_op("roadmap::layer_norm", mutates_args=())
def _layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result, and the means and 1 / standard deviations (N * H * W,) for the backward pass."""
    x = x.contiguous(memory_format=torch.channels_last)
    y, mean, rstd = _make_outputs(x, dtype)
    channels, rows = x.shape[1], len(mean)
    block, lines = _divide(channels)
    _normalize[(triton.cdiv(rows, lines),)](
        x, weight, bias, y, mean, rstd, rows, eps, C=channels, BC=block, BR=lines
    )
    return y, mean, rstd


@custom_op("roadmap::layer_norm_backward", mutates_args=())
def _layer_norm_backward(
    x: Tensor, weight: Tensor, grad: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    x, grad = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, grad))
    grad_x = torch.empty_like(x, memory_format=torch.channels_last)
    channels, rows = x.shape[1], len(mean)
    block, lines = _divide(channels)
    programs = min(PROGRAMS * count_processors(x.device), triton.cdiv(rows, lines))
    sums = x.new_empty(programs, 2, channels, dtype=torch.float32)
    _differentiate[(programs,)](x, weight, grad, mean, rstd, grad_x, sums, rows, C=channels, BC=block, BR=lines)
    grad_weight, grad_bias = sums.sum(0)
    return grad_x, grad_weight.clone(), grad_bias.clone()


def _make_outputs(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    rows = x.shape[0] * x.shape[2] * x.shape[3]
    mean, rstd = (x.new_empty(rows, dtype=torch.float32) for _ in range(2))
    return torch.empty_like(x, dtype=dtype, memory_format=torch.channels_last), mean, rstd


def _divide(channels: int) -> tuple[int, int]:
    """Return the channels and rows per program."""
    block = triton.next_power_of_2(channels)
    return block, max(VALUES // block, 1)


@_layer_norm.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    return _make_outputs(x, dtype)


@_layer_norm_backward.register_fake
def _(x: Tensor, weight: Tensor, grad: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    grad_weight, grad_bias = (x.new_empty(x.shape[1], dtype=torch.float32) for _ in range(2))
    return torch.empty_like(x, memory_format=torch.channels_last), grad_weight, grad_bias


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:2], *output[1:])


def _backward(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor, Tensor, Tensor, None, None]:
    x, weight, mean, rstd = ctx.saved_tensors
    grad_x, grad_weight, grad_bias = _layer_norm_backward(x, weight, grad, mean, rstd)
    return grad_x, grad_weight.to(weight.dtype), grad_bias.to(weight.dtype), None, None


_layer_norm.register_autograd(_backward, setup_context=_save)
