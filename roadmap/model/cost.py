"""Cost of a network for one image: multiply-accumulates, parameters and activations."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    gmacs: float  # 1e9 multiply-accumulates of convolutions, linear layers and attention; the paper's "FLOPs"
    parameters: int
    activations: int  # elements of the outputs of convolutions and linear layers (arXiv 2003.13678)


def measure_cost(build: Callable[[], nn.Module], image_size: int) -> Cost:
    """Count the cost of one (3, image_size, image_size) image on the meta device, in milliseconds."""
    activations = 0

    def count(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal activations
        activations += output.numel()

    with torch.device("meta"):
        model = build().eval().requires_grad_(False)  # or FlopCounterMode fails where outputs of modules are views
        image = torch.empty(1, 3, image_size, image_size)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:  # for tensors that layers make in their forward pass
        model(image)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(counter.get_total_flops() / 2e9, parameters, activations)
