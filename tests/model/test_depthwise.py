"""The depthwise convolution equals `nn.Conv2d` in value, gradients and state dict, whatever form it takes."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from roadmap.model.depthwise import DepthwiseConv2d

MAPS = [(1, 1), (2, 2), (1, 2), (3, 3), (4, 4), (3, 5), (7, 7), (8, 8), (9, 9)]
CASES = list(itertools.product(MAPS, (3, 5, 7, 9, 11), (1, 2)))


def relative_error(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm())


@pytest.mark.parametrize(("size", "kernel", "stride"), CASES)
@pytest.mark.parametrize("bias", [True, False])
def test_equal_to_convolution(size: tuple[int, int], kernel: int, stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    ours = DepthwiseConv2d(6, kernel, stride, kernel // 2, bias)
    theirs = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6, bias=bias)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    images = torch.randn(3, 6, *size).to(memory_format=torch.channels_last)
    x, y = images.clone().requires_grad_(), images.clone().requires_grad_()
    out, expected = ours(x), theirs(y)
    assert out.shape == expected.shape
    grad = torch.randn_like(expected)
    out.backward(grad)
    expected.backward(grad)
    pairs = [(out, expected), (x.grad, y.grad), *zip(*(parameter_grads(m) for m in (ours, theirs)), strict=True)]
    assert max(relative_error(a, b) for a, b in pairs) <= 1e-5


def parameter_grads(module: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


def test_the_small_forms_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the comparison above would compare torch's convolution with itself."""
    calls = []
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: calls.append(tuple(x.shape[2:])) or x)
    convolution = DepthwiseConv2d(4, 7, 1, 3, True)
    for side in (1, 2, 4, 8, 9, 14):
        convolution(torch.randn(2, 4, side, side))
    assert calls == [(9, 9), (14, 14)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_second_choice_under_autocast(dtype: torch.dtype) -> None:
    convolution = DepthwiseConv2d(4, 7, 1, 3, True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        assert convolution(torch.randn(2, 4, 2, 2)).dtype == dtype


def test_a_compiler_meets_plain_convolutions() -> None:
    """One graph and few nodes: the loops behind the small forms would be unrolled into it."""
    module = DepthwiseConv2d(8, 7, 1, 3, True)
    x = torch.randn(2, 8, 8, 8)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-5, atol=1e-5)
