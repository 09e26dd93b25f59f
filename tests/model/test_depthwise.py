"""The depthwise convolution equals `nn.Conv2d` in value, gradients and state dict, for any differentiation."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from roadmap.model.ops import depthwise
from roadmap.model.ops.depthwise import DepthwiseConv2d

MAPS = [(1, 1), (2, 2), (1, 2), (3, 3), (4, 4), (3, 5), (7, 7), (8, 8), (9, 9), (14, 14), (12, 18)]
FindError = Callable[[nn.Module, nn.Module, Tensor], float]  # see conftest.py
CASES = list(itertools.product(MAPS, (3, 5, 7, 9, 11), (1, 2)))


@pytest.mark.parametrize(("size", "kernel", "stride"), CASES)
@pytest.mark.parametrize("bias", [True, False])
def test_equal_to_convolution(
    size: tuple[int, int], kernel: int, stride: int, bias: bool, find_error: FindError
) -> None:
    torch.manual_seed(0)
    ours = DepthwiseConv2d(6, kernel, stride, kernel // 2, bias)
    theirs = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6, bias=bias)
    images = torch.randn(40, 6, *size).to(memory_format=torch.channels_last)
    assert find_error(ours, theirs, images) <= 1e-5


def test_small_maps_are_differentiated_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the comparison above would compare torch's convolution with itself."""
    calls = []
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: calls.append((*x.shape[2:], len(x))) or x)
    for kernel, sides in ((7, (1, 2, 8, 14, 17)), (3, (2, 3, 4)), (11, (16, 20)), (25, (16, 24))):
        for side in sides:
            DepthwiseConv2d(1, kernel, 1, kernel // 2, True)(torch.randn(64, 1, side, side))
    # On 24x24 the products of all pairs of positions would need 750 MiB, though the kernel is larger.
    assert calls == [(17, 17, 64), (3, 3, 64), (4, 4, 64), (20, 20, 64), (24, 24, 64)]
    calls.clear()
    for n in (8, 16, 64):  # the gain of the products depends on how many images share them
        DepthwiseConv2d(1, 7, 1, 3, True)(torch.randn(n, 1, 14, 14))
    assert calls == [(14, 14, 8), (14, 14, 16)]


@pytest.mark.parametrize("images", [40, 20_000])  # with two positions, summed up and not
def test_few_positions_of_many_images(images: int, find_error: FindError) -> None:
    torch.manual_seed(0)
    ours = DepthwiseConv2d(6, 7, 1, 3, True)
    theirs = nn.Conv2d(6, 6, 7, 1, 3, groups=6)
    assert find_error(ours, theirs, torch.randn(images, 6, 2, 1)) <= 1e-5


@pytest.mark.parametrize("side", [2, 5])
def test_trains_after_an_evaluation(side: int) -> None:
    """The cache of the first call can be used by the next one, in any mode."""
    depthwise._spread_matrix.cache_clear()
    convolution = DepthwiseConv2d(2, 7, 1, 3, True)
    images = torch.randn(4, 2, side, side)
    with torch.inference_mode():
        convolution(images)
    convolution(images).sum().backward()
    assert convolution.weight.grad is not None


@pytest.mark.parametrize("side", [2, 4])
def test_gradients_of_gradients_are_convolutions(side: int) -> None:
    torch.manual_seed(0)
    convolution = DepthwiseConv2d(3, 5, 1, 2, True).double()
    images = torch.randn(2, 3, side, side, dtype=torch.double, requires_grad=True)
    weights = (convolution.weight, convolution.bias)
    assert torch.autograd.gradgradcheck(
        lambda x, weight, bias: torch.func.functional_call(convolution, {"weight": weight, "bias": bias}, (x,)),
        (images, *weights),
    )
