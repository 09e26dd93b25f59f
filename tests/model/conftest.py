"""Networks by the words of the command line, and batch norms that a test can't overlook."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

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
    """Norms, LayerScales and running statistics away from 1 and 0, where a mistake in them would not show."""

    def away_from_start(model: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for tensor in [*model.parameters(), *model.buffers()]:
                if tensor.ndim == 1:
                    tensor.copy_(0.5 + 0.5 * torch.rand(tensor.shape, generator=generator))
        return model.eval()

    return away_from_start
