"""Triton kernels of depthwise convolution on a GPU: stride 1, odd kernels, padding that keeps the map's size.

A thread computes a strip: some rows of one column of one image, for a few neighbouring channels. Each loaded input
value is used for every row of the strip that it reaches: with a 7x7 kernel and strips of 14 rows, one load serves
4.9 multiplications. Sums are fp32 and have a fixed order, so the same input gives the same bits.
benchmarks/README.md has the times against cuDNN.
"""

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op

SUMS = 49  # sums of taps that a program holds at a time
PROGRAMS = 2  # programs per multiprocessor, which share the strips


@triton.jit
def _convolve(
    x_ptr,
    taps_ptr,
    bias_ptr,
    y_ptr,
    strips,
    H: tl.constexpr,
    W: tl.constexpr,
    C: tl.constexpr,
    K: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    FLIP: tl.constexpr,
    ROWS: tl.constexpr,
    BS: tl.constexpr,
    BC: tl.constexpr,
):
    """Compute y (N, H, W, C) from x of the same shape and taps (K * K, C); FLIP rotates the taps by 180 degrees.

    One program computes BS strips of ROWS rows and BC channels.
    """
    PAD: tl.constexpr = K // 2
    PARTS: tl.constexpr = (H + ROWS - 1) // ROWS  # strips per column
    s = tl.program_id(0) * BS + tl.arange(0, BS)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    w = s % W
    h = (s // W) % PARTS * ROWS
    offsets = (((s // (W * PARTS)).to(tl.int64) * H + h) * W + w)[:, None] * C + c[None, :]
    in_c = c < C
    inside = (s < strips)[:, None] & in_c[None, :]
    sums = ()
    for _ in tl.static_range(ROWS):
        sums = sums + (tl.full((BS, BC), 0.0, tl.float32),)
    for kw in range(max(PAD - W + 1, 0), min(PAD + W, K)):
        column = w + (kw - PAD)
        in_column = inside & ((column >= 0) & (column < W))[:, None]
        taps = ()
        for kh in tl.static_range(K):
            tap = (K - 1 - kh) * K + (K - 1 - kw) if FLIP else kh * K + kw
            taps = taps + (tl.load(taps_ptr + tap * C + c, mask=in_c, other=0.0).to(tl.float32)[None, :],)
        for r in tl.static_range(ROWS + K - 1):
            if PARTS > 1 or (r >= PAD and r < PAD + H):
                row = h + (r - PAD)
                mask = in_column & ((row >= 0) & (row < H))[:, None] if PARTS > 1 else in_column
                shift = ((r - PAD) * W + (kw - PAD)) * C
                x = tl.load(x_ptr + offsets + shift, mask=mask, other=0.0).to(tl.float32)
                new = ()
                for i in tl.static_range(ROWS):
                    new = new + ((sums[i] + x * taps[r - i]) if r - i >= 0 and r - i < K else sums[i],)
                sums = new
    bias = tl.load(bias_ptr + c, mask=in_c, other=0.0).to(tl.float32)[None, :] if HAS_BIAS else 0.0
    for i in tl.static_range(ROWS):
        y = (sums[i] + bias).to(y_ptr.dtype.element_ty)
        tl.store(y_ptr + offsets + i * W * C, y, mask=inside & (h + i < H)[:, None])


@triton.jit
def _differentiate_taps(
    x_ptr,
    grad_ptr,
    out_ptr,
    strips,
    H: tl.constexpr,
    W: tl.constexpr,
    C: tl.constexpr,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    BS: tl.constexpr,
    BC: tl.constexpr,
    KW: tl.constexpr,
):
    """Compute each tap's gradient, summed over strips: out (programs * BS, K * K + 1, C) of x, grad (N, H, W, C).

    The last entry is the bias's gradient. A program handles KW columns of the kernel, and strips in steps of all
    programs' strips.
    """
    PAD: tl.constexpr = K // 2
    PARTS: tl.constexpr = (H + ROWS - 1) // ROWS
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    in_c = c < C
    first = tl.program_id(2) * KW
    bias = tl.full((BS, BC), 0.0, tl.float32)
    sums = ()  # for each column of the kernel, the sums of its rows
    for _ in tl.static_range(KW):
        of_column = ()
        for _kh in tl.static_range(K):
            of_column = of_column + (tl.full((BS, BC), 0.0, tl.float32),)
        sums = sums + (of_column,)
    start = tl.program_id(0) * BS
    while start < strips:
        s = start + tl.arange(0, BS)
        w = s % W
        h = (s // W) % PARTS * ROWS
        offsets = (((s // (W * PARTS)).to(tl.int64) * H + h) * W + w)[:, None] * C + c[None, :]
        inside = (s < strips)[:, None] & in_c[None, :]
        grads = ()
        for i in tl.static_range(ROWS):
            mask = inside & (h + i < H)[:, None]
            grad = tl.load(grad_ptr + offsets + i * W * C, mask=mask, other=0.0).to(tl.float32)
            bias += grad
            grads = grads + (grad,)
        new_sums = ()
        for k in tl.static_range(KW):
            of_column = sums[k]
            if KW < K or (k > PAD - W and k < PAD + W):
                column = w + (first + k - PAD)
                in_column = inside & ((column >= 0) & (column < W))[:, None]
                for r in tl.static_range(ROWS + K - 1):
                    if PARTS > 1 or (r >= PAD and r < PAD + H):
                        row = h + (r - PAD)
                        mask = in_column & ((row >= 0) & (row < H))[:, None] if PARTS > 1 else in_column
                        shift = ((r - PAD) * W + (first + k - PAD)) * C
                        x = tl.load(x_ptr + offsets + shift, mask=mask, other=0.0).to(tl.float32)
                        new = ()
                        for kh in tl.static_range(K):
                            more = (
                                of_column[kh] + x * grads[r - kh]
                                if r - kh >= 0 and r - kh < ROWS
                                else of_column[kh]
                            )
                            new = new + (more,)
                        of_column = new
            new_sums = new_sums + (of_column,)
        sums = new_sums
        start += tl.num_programs(0) * BS
    places = tl.program_id(0) * BS + tl.arange(0, BS)
    out = out_ptr + places.to(tl.int64)[:, None] * ((K * K + 1) * C) + c[None, :]
    for k in tl.static_range(KW):
        mask = (in_c & (first + k < K))[None, :]
        for kh in tl.static_range(K):
            tl.store(out + (kh * K + first + k) * C, sums[k][kh], mask=mask)
    tl.store(out + K * K * C, bias, mask=(in_c & (first == 0))[None, :])


@custom_op("roadmap::depthwise", mutates_args=())
def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve x (N, C, H, W) in channels_last with weights (C, 1, K, K) and biases (C,)."""
    return _run_convolution(x, weight, bias, False)


@custom_op("roadmap::depthwise_grad_input", mutates_args=())
def _grad_input(grad: Tensor, weight: Tensor) -> Tensor:
    return _run_convolution(grad, weight, None, True)


def _run_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, flip: bool) -> Tensor:
    n, channels, height, width = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.empty_like(x, memory_format=torch.channels_last)
    taps = weight.flatten(1).t().contiguous()
    rows = _split(height, 14)
    strips = n * width * triton.cdiv(height, rows)
    _convolve[triton.cdiv(strips, 16), triton.cdiv(channels, 32)](
        x,
        taps,
        taps if bias is None else bias,
        y,
        strips,
        H=height,
        W=width,
        C=channels,
        K=weight.shape[2],
        HAS_BIAS=bias is not None,
        FLIP=flip,
        ROWS=rows,
        BS=16,
        BC=32,
    )
    return y


@custom_op("roadmap::depthwise_grad_weight", mutates_args=())
def _grad_weight(x: Tensor, grad: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    """Return the gradients of weights (C, 1, K, K) and biases (C,), in fp32."""
    n, channels, height, width = x.shape
    x, grad = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, grad))
    rows = height if height <= 14 else _split(height, 7)
    strips = n * width * triton.cdiv(height, rows)
    columns = min(kernel, SUMS // kernel)
    groups = triton.cdiv(channels, 32), triton.cdiv(kernel, columns)
    programs = max(min(PROGRAMS * count_processors(x.device) // (groups[0] * groups[1]), triton.cdiv(strips, 8)), 1)
    sums = torch.empty(programs * 8, kernel**2 + 1, channels, device=x.device)
    _differentiate_taps[programs, *groups](
        x, grad, sums, strips, H=height, W=width, C=channels, K=kernel, ROWS=rows, BS=8, BC=32, KW=columns
    )
    total = sums.sum(0)
    return total[:-1].t().contiguous().view(channels, 1, kernel, kernel), total[-1].clone()


def _split(height: int, most: int) -> int:
    """Return the rows per part if the height is split into the fewest equal parts of at most `most` rows."""
    return triton.cdiv(height, triton.cdiv(height, most))


@cache
def count_processors(device: torch.device) -> int:
    """Return the number of multiprocessors of the GPU."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@depthwise.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


@_grad_input.register_fake
def _(grad: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(grad, memory_format=torch.channels_last)


@_grad_weight.register_fake
def _(x: Tensor, grad: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    channels = x.shape[1]
    return x.new_empty(channels, 1, kernel, kernel, dtype=torch.float32), x.new_empty(channels, dtype=torch.float32)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    x, weight, ctx.bias = inputs[0], inputs[1], inputs[2] is not None
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
    x, weight = ctx.saved_tensors
    grad_x = _grad_input(grad, weight) if ctx.needs_input_grad[0] else None
    grad_weight, grad_bias = _grad_weight(x, grad, weight.shape[2])
    return grad_x, grad_weight.to(weight.dtype), grad_bias.to(weight.dtype) if ctx.bias else None


depthwise.register_autograd(_backward, setup_context=_save)
