"""A GPU's LayerNorm equals `nn.LayerNorm`. Without a GPU, Triton's interpreter runs the same source."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._inductor.utils import run_and_get_code

from roadmap.model.layers import ToChannelsFirst, ToChannelsLast
from roadmap.model.ops.depthwise import DepthwiseConv2d
from roadmap.model.ops.layer_norm import LayerNorm, LayerNorm2d

FindError = Callable[[nn.Module, nn.Module, Tensor], float]  # see conftest.py
EPS = 1e-6


@pytest.fixture
def on_kernels(triton_device: torch.device, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device on which every LayerNorm uses the kernels."""
    monkeypatch.setattr("roadmap.model.ops.layer_norm.LARGE", 0)
    monkeypatch.setattr("roadmap.model.ops.layer_norm.has_kernels", lambda x: True)
    return triton_device


@pytest.mark.parametrize("shape", [(3, 5, 4, 24), (1, 2, 1, 768), (7, 1, 1, 33)])
def test_equal_to_layer_norm(shape: tuple[int, ...], on_kernels: torch.device, find_error: FindError) -> None:
    torch.manual_seed(0)
    ours, theirs = LayerNorm(shape[-1], EPS, True).to(on_kernels), nn.LayerNorm(shape[-1], EPS).to(on_kernels)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    images = 3 + 2 * torch.randn(shape, device=on_kernels)
    assert find_error(ours, theirs, images) <= 1e-5


def test_rows_far_from_zero(on_kernels: torch.device) -> None:
    """The variance is computed from the centered values, so no digits are lost."""
    images = 1000 + torch.randn(1, 2, 2, 48, device=on_kernels)
    output = LayerNorm(48, EPS, True).to(on_kernels)(images)
    expected = nn.functional.layer_norm(images.double(), (48,), eps=EPS)
    torch.testing.assert_close(output.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("narrow", [True, False])
def test_type_under_autocast(narrow: bool, on_kernels: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A norm before a convolution returns the convolution's type; the stem's, where the residual starts, fp32."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: True)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.bfloat16)
    images = torch.randn(2, 8, 3, 3, device=on_kernels).to(memory_format=torch.channels_last).requires_grad_()
    output = LayerNorm2d(8, EPS, narrow).to(on_kernels)(images)
    assert output.dtype == (torch.bfloat16 if narrow else torch.float32)
    output.float().sum().backward()
    assert images.grad is not None
    assert images.grad.dtype == torch.float32


def test_an_operation_as_torch_asks_for(on_kernels: torch.device) -> None:
    from roadmap.model.ops.layer_norm_triton import _layer_norm

    images = torch.randn(2, 8, 3, 1).to(memory_format=torch.channels_last)
    arguments = [tensor.to(on_kernels).requires_grad_() for tensor in (images, torch.randn(8), torch.randn(8))]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(_layer_norm, (*arguments, EPS, torch.bfloat16), test_utils=checks)


@pytest.mark.system  # compiles: 6 s
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from imports of torch's compiler
def test_a_compiler_copies_nothing(on_kernels: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the input nor the output of an operation, forward and backward; a copy costs as much as the norm.

    It used to copy before a torch convolution, for which the compiler changes the memory format of its input.
    """
    monkeypatch.setattr(DepthwiseConv2d, "forward", DepthwiseConv2d.convolve_on_gpu)
    layers = [LayerNorm2d(8, EPS, True), DepthwiseConv2d(8, 3, 1, 1, True)]
    layers += [ToChannelsLast(), LayerNorm(8, EPS, True), ToChannelsFirst(), nn.Conv2d(8, 8, 2, 2, bias=False)]
    network = nn.Sequential(*layers).to(device=on_kernels, memory_format=torch.channels_last)
    images = torch.randn(2, 8, 4, 4, device=on_kernels).to(memory_format=torch.channels_last)
    grad = torch.randn(2, 8, 2, 2, device=on_kernels).to(memory_format=torch.channels_last)
    compiled = torch.compile(network)
    _, codes = run_and_get_code(lambda: compiled(images).backward(grad))
    for code in codes:
        calls = code[code.index("def call(") :]
        assert "roadmap.layer_norm" in calls
        assert "fused" not in calls
