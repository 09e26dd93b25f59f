"""Fixtures: networks by command-line overrides, norms with visible parameters, and comparison of two modules."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import roadmap

Build = Callable[..., nn.Module]


@pytest.fixture
def build() -> Build:
    def build_network(*overrides: str) -> nn.Module:
        torch.manual_seed(0)
        return roadmap.build_model(roadmap.compose(*overrides))

    return build_network


@pytest.fixture
def unsettle() -> Callable[[nn.Module], nn.Module]:
    """Move norms, LayerScales and running statistics away from 1 and 0, which would hide a bug."""

    def away_from_start(model: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                if tensor.ndim == 1:
                    tensor.copy_(0.5 + 0.5 * torch.rand(tensor.shape, generator=generator))
        return model.eval()

    return away_from_start


@pytest.fixture
def find_error() -> Callable[[nn.Module, nn.Module, Tensor], float]:
    """Compute the largest relative error of output and gradients against another module of the same parameters."""

    def find(ours: nn.Module, theirs: nn.Module, images: Tensor) -> float:
        theirs.load_state_dict(ours.state_dict(), strict=True)
        x, y = images.clone().requires_grad_(), images.clone().requires_grad_()
        out, expected = ours(x), theirs(y)
        assert out.shape == expected.shape
        grad = torch.randn_like(expected)
        out.backward(grad)
        expected.backward(grad)
        parameters = zip(ours.parameters(), theirs.parameters(), strict=True)
        pairs = [(out, expected), (x.grad, y.grad), *((a.grad, b.grad) for a, b in parameters)]
        return max(float((a - b).detach().norm() / b.detach().norm()) for a, b in pairs)

    return find


@pytest.fixture(scope="session")
def triton_device() -> torch.device:
    """A GPU, or a CPU on which Triton's interpreter runs the kernels' source."""
    pytest.importorskip("triton")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.MonkeyPatch.context() as patch:
        if device.type == "cpu":
            patch.setenv("TRITON_INTERPRET", "1")  # read when a kernel is defined
        from roadmap.model.ops import depthwise_triton, layer_norm_triton  # noqa: F401
    return device
