"""The GPU kernels equal `nn.Conv2d`. Without a GPU, Triton's interpreter runs the same source."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from roadmap.model.ops import triton_availability
from roadmap.model.ops.depthwise import DepthwiseConv2d

FindError = Callable[[nn.Module, nn.Module, Tensor], float]  # see conftest.py
MAPS = [(1, 1), (2, 3), (9, 5), (15, 4)]  # smaller than the kernel, in one strip, and in two
KINDS = [(3, 40, True), (7, 33, False), (11, 8, True)]  # kernel, channels, bias


@pytest.fixture
def on_kernels(triton_device: torch.device, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device on which every depthwise convolution uses the kernels."""
    monkeypatch.setattr(DepthwiseConv2d, "forward", DepthwiseConv2d.convolve_on_gpu)
    return triton_device


def make_images(n: int, channels: int, size: tuple[int, int], device: torch.device) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(n, channels, *size, device=device).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("size", "kernel", "channels", "bias"),
    [(size, *kind) for size in MAPS for kind in KINDS if size in MAPS[2:] or kind == KINDS[0]],
)
def test_equal_to_convolution(
    size: tuple[int, int], kernel: int, channels: int, bias: bool, on_kernels: torch.device, find_error: FindError
) -> None:
    images = make_images(2, channels, size, on_kernels)
    ours = DepthwiseConv2d(channels, kernel, 1, kernel // 2, bias).to(on_kernels)
    theirs = nn.Conv2d(channels, channels, kernel, 1, kernel // 2, groups=channels, bias=bias).to(on_kernels)
    assert find_error(ours, theirs, images) <= 1e-5


def test_bf16_is_rounded_once(on_kernels: torch.device) -> None:
    """Sums and weights stay fp32; torch's autocast would round the weights too."""
    convolution = DepthwiseConv2d(8, 7, 1, 3, True).to(on_kernels)
    images = make_images(2, 8, (6, 6), on_kernels).bfloat16()
    weights = (parameter.double() for parameter in convolution.parameters())
    expected = nn.functional.conv2d(images.double(), *weights, padding=3, groups=8)
    output = convolution(images)
    assert output.dtype == torch.bfloat16
    # The interpreter truncates where a GPU rounds, so allow twice the rounding error.
    torch.testing.assert_close(output.double(), expected, rtol=2**-7, atol=1e-6)


def test_an_input_without_gradient(on_kernels: torch.device) -> None:
    convolution = DepthwiseConv2d(8, 3, 1, 1, True).to(on_kernels)
    images = make_images(2, 8, (3, 3), on_kernels)
    convolution(images).sum().backward()
    assert convolution.weight.grad is not None
    assert images.grad is None


def test_an_operation_as_torch_asks_for(on_kernels: torch.device) -> None:
    """Its shapes and strides are known without running it, and it has its own gradients."""
    from roadmap.model.ops.depthwise_triton import depthwise

    images = make_images(2, 8, (3, 3), on_kernels).requires_grad_()
    weight = torch.randn(8, 1, 3, 3, device=on_kernels, requires_grad=True)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(depthwise, (images, weight, None), test_utils=checks)


@pytest.mark.parametrize(
    ("shape", "settings", "deterministic", "is_taken"),
    [
        ((64, 64, 32, 32), {}, False, True),
        ((63, 64, 32, 32), {}, False, False),  # the host would take longer than the GPU
        ((2, 8, 4, 4), {}, True, True),
        ((0, 8, 4, 4), {}, True, False),
        ((64, 64, 32, 32), {"stride": 2}, False, False),
        ((64, 64, 32, 32), {"padding": 0}, False, False),
        ((64, 64, 32, 32), {"kernel": 6}, False, False),
    ],
)
def test_taken_for_large_maps(
    shape: tuple[int, ...],
    settings: dict[str, int],
    deterministic: bool,
    is_taken: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("roadmap.model.ops.depthwise.has_kernels", lambda x: True)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    images = torch.empty(shape, device="meta").to(memory_format=torch.channels_last)
    words = {"kernel": 7, "stride": 1, "padding": 3, "bias": True} | settings
    assert DepthwiseConv2d(shape[1], **words).is_faster_on_gpu(images) is is_taken


@pytest.fixture
def as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Mimic a CUDA device, as far as the code asks, with the CPU's tensors."""
    monkeypatch.setattr(triton_availability, "_are_allowed", False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(triton_availability, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *sizes, device: ones(*sizes))
    triton_availability._are_made.cache_clear()
    return torch.device("cuda")


@pytest.mark.usefixtures("triton_device")
@pytest.mark.parametrize(("capability", "allowed"), [((9, 0), True), ((8, 0), True), ((7, 5), False)])
def test_of_gpus_that_can(
    capability: tuple[int, int], allowed: bool, as_on_cuda: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    triton_availability.allow_kernels(as_on_cuda)
    assert triton_availability._are_allowed is allowed
    assert not triton_availability.has_kernels(torch.zeros(1))
    triton_availability.allow_kernels(torch.device("cpu"))
    assert not triton_availability._are_allowed


def test_torchs_own_where_triton_fails(as_on_cuda: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.\nmore")

    monkeypatch.setattr("roadmap.model.ops.layer_norm_triton.layer_norm", fail)
    with pytest.warns(
        UserWarning, match=r"no kernels here \(Failed to find C compiler.*variable\.\), so depth.*gcc"
    ):
        triton_availability.allow_kernels(as_on_cuda)
    assert not triton_availability._are_allowed
