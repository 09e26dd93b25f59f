"""The convolution over patches equals `nn.Conv2d` in value, gradients and state dict; a compiler meets torch's."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from roadmap.model.ops.depthwise import DepthwiseConv2d
from roadmap.model.ops.patchify import FEWEST, PatchConv2d


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels", [3, FEWEST, 40])
@pytest.mark.parametrize(("patch", "size"), [(2, (8, 8)), (2, (2, 2)), (2, (7, 6)), (4, (8, 12)), (4, (9, 11))])
def test_equal_to_convolution(
    patch: int,
    size: tuple[int, int],
    channels: int,
    bias: bool,
    memory_format: torch.memory_format,
    find_error: Callable[[nn.Module, nn.Module, Tensor], float],
) -> None:
    torch.manual_seed(0)
    ours = PatchConv2d(channels, 24, patch, bias).to(memory_format=memory_format)  # type: ignore[call-overload]
    theirs = nn.Conv2d(channels, 24, patch, patch, bias=bias)
    images = torch.randn(5, channels, *size).to(memory_format=memory_format)
    assert find_error(ours, theirs, images) <= 1e-5
    assert ours.weight.grad is not None
    assert ours.weight.grad.stride() == ours.weight.stride()


def test_which_are_linear_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the comparison above would compare torch's convolution with itself."""
    calls = []
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: calls.append(tuple(x.shape[1:])) or x)
    for channels, height, width in (
        (3, 8, 8),
        (FEWEST - 1, 8, 8),
        (FEWEST, 8, 8),
        (40, 7, 8),
        (40, 8, 7),
        (40, 2, 2),
    ):
        PatchConv2d(channels, 24, 2, True)(torch.randn(2, channels, height, width))
    assert calls == [(3, 8, 8), (FEWEST - 1, 8, 8), (40, 7, 8), (40, 8, 7)]


@pytest.mark.parametrize(
    ("channels", "side", "is_autocast", "is_taken"),
    [(3, 8, True, True), (3, 7, True, False), (FEWEST, 8, True, False), (3, 8, False, False)],
)
def test_a_stem_on_a_gpu_is_a_linear_map_in_16_bits(
    channels: int, side: int, is_autocast: bool, is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: is_autocast)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.bfloat16)
    convolution = PatchConv2d(channels, 24, 2, True)
    images = torch.randn(2, channels, side, side)
    assert convolution.is_faster_on_gpu(images) is is_taken
    assert not convolution.is_faster_on_gpu(images.double())
    if is_taken:
        output = convolution.bfloat16().convolve_on_gpu(images)
        assert output.dtype == torch.bfloat16
        torch.testing.assert_close(output, nn.Conv2d.forward(convolution, images.bfloat16()))


def test_separate_downsampling_is_made_of_patches(build: Callable[..., nn.Module]) -> None:
    """Between the stages, and in the stem, of step 12."""
    modules = build("+roadmap=step12_downsample").named_modules()
    names = [name for name, module in modules if isinstance(module, PatchConv2d)]
    assert names == ["stem.conv", *(f"stages.{stage}.downsample.conv" for stage in (1, 2, 3))]


def test_of_no_images() -> None:
    """Such as the share of a rank that has no images left."""
    assert PatchConv2d(FEWEST, 24, 2, True)(torch.empty(0, FEWEST, 8, 4)).shape == (0, 24, 4, 2)


CONVOLUTIONS = [PatchConv2d(FEWEST, 24, 2, True), DepthwiseConv2d(FEWEST, 7, 1, 3, True)]


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torchs_own_under_autocast(convolution: nn.Module, dtype: torch.dtype) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        assert convolution(torch.randn(2, FEWEST, 2, 2)).dtype == dtype


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_a_compiler_meets_plain_convolutions(convolution: nn.Module) -> None:
    x = torch.randn(2, FEWEST, 8, 8)
    compiled = torch.compile(convolution, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), convolution(x), rtol=1e-5, atol=1e-5)
