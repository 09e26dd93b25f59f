"""Our depthwise and patch convolutions compared with torch's, layer by layer of a network.

    python benchmarks/convolutions.py [--repeats 9] [--json FILE] [KEY=VALUE ...]
    python benchmarks/convolutions.py regime=resnet50 data=imagenet hardware.per_device_batch=512 \\
        hardware.precision=bf16 hardware.deterministic=false

Each layer of another form or size in step 12 of the regime, for such images, forward and backward with all three
gradients, in batches of `hardware.per_device_batch` and in `hardware.precision`. The peer is the equivalent
nn.Conv2d, and on a GPU for depthwise convolutions also each kernel that torch can select: its native one and, in
torch versions that allow its choice, cuDNN's.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from pairs import Pair, Report, make_parser, run_benchmark
from torch import Tensor, nn
from torch.backends import cudnn

import roadmap
from roadmap.config import read_config
from roadmap.model.build import build
from roadmap.model.ops.convolution import TunedConv2d
from roadmap.training.build_state import build_train_state
from roadmap.training.device import pick_device, seed_everything
from roadmap.training.measure.check_work import Work, compute_bound
from roadmap.training.spec import Precision
from roadmap.training.step import TrainState

PASSES = 10  # forward and backward passes per call; one takes a millisecond or less
WORDS = ("+roadmap=step12_downsample",)
Shape = tuple[int, int, int]  # channels, height and width of a map


def make_pairs(arguments: argparse.Namespace) -> Sequence[Callable[[], Pair]]:
    config = read_config(roadmap.compose(*WORDS, *arguments.overrides))
    device = pick_device(config.hardware)
    seed_everything(config.seed)
    size, batch = config.data.image_size, config.hardware.per_device_batch
    network = build(config.model, config.regime, None, size)
    layers = find_layers(network, size)
    train_state = build_train_state(network, config.data, config.recipe, config.hardware, device, batch)
    return [
        partial(make_pair, layer, shape, batch, train_state, peer)
        for shape, layer in layers
        for peer in choose_peers(layer, device)
    ]


def find_layers(network: nn.Module, size: int) -> list[tuple[Shape, TunedConv2d]]:
    """Return the first layer of each kind and size in the network's order, with the shape of its input."""
    found: dict[tuple[Any, ...], tuple[Shape, TunedConv2d]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(layer, TunedConv2d)
        channels, height, width = inputs[0].shape[1:]
        shape = channels, height, width
        found.setdefault((type(layer), shape, layer.kernel_size, layer.stride), (shape, layer))

    handles = [
        module.register_forward_pre_hook(note) for module in network.modules() if isinstance(module, TunedConv2d)
    ]
    with torch.inference_mode():
        network(torch.zeros(2, 3, size, size))
    for handle in handles:
        handle.remove()
    return list(found.values())


def choose_peers(layer: TunedConv2d, device: torch.device) -> list[str]:
    """Return the peers' names: torch's own choice, and on a GPU the depthwise kernels that it chooses from."""
    if device.type == "cpu" or layer.groups == 1:
        return ["nn.Conv2d"]
    return ["nn.Conv2d", "native", *(["cudnn"] if hasattr(cudnn, "depthwise_kernel") else [])]


def make_pair(layer: TunedConv2d, shape: Shape, batch: int, train_state: TrainState, peer: str) -> Pair:
    channels, height, width = shape
    kernel = layer.kernel_size[0]
    kind = "depthwise" if layer.groups > 1 else f"patches to {layer.out_channels}"
    plain = make_plain(deepcopy(layer))
    images = torch.randn(batch, channels, height, width)
    check_outputs(layer, plain, train_state.to_device(images[:2], torch.zeros(2))[0])
    return Pair(
        f"{kind}, {channels} channels {height}x{width} k{kernel}, batch {batch}, {train_state.precision}",
        peer,
        PASSES * batch,
        make_passes(layer, images, train_state),
        make_passes(plain, images, train_state, partial(choose_kernel, peer)),
        bound=find_bound(layer, shape, batch, train_state),
        tolerance=1e-3 if train_state.precision is Precision.fp32 else 0.03,
    )


def find_bound(layer: TunedConv2d, shape: Shape, batch: int, train_state: TrainState) -> float:
    """Return images/s that no machine exceeds.

    A corner of the map meets a quarter of the kernel, or of the map if that is smaller; the rest is padding.
    """
    _, height, width = shape
    kernel, inputs = layer.kernel_size[0], layer.in_channels // layer.groups
    taps = min(kernel, height) * min(kernel, width) / 4
    macs = layer.out_channels * (height * width / layer.stride[0] ** 2) * inputs * taps
    return PASSES * compute_bound(macs, batch, train_state.device, train_state.precision, updates=True)


@torch.no_grad()
def check_outputs(ours: nn.Module, plain: nn.Module, images: Tensor) -> None:
    torch.testing.assert_close(ours(images), plain(images), rtol=1e-4, atol=1e-4)


def make_plain(network: nn.Module) -> nn.Module:
    """Turn every custom convolution into the nn.Conv2d that it derives from; the weights stay."""
    for module in network.modules():
        if isinstance(module, TunedConv2d):
            module.__class__ = nn.Conv2d  # type: ignore[assignment]  # the same parameters; only forward differs
    return network


def choose_kernel(name: str) -> AbstractContextManager[Any]:
    """Make torch use this kernel for depthwise convolutions on a GPU; "nn.Conv2d" leaves it the choice."""
    if name == "nn.Conv2d":
        return nullcontext()
    if not hasattr(cudnn, "depthwise_kernel"):
        return cudnn.flags(enabled=name == "cudnn")
    return cudnn.flags(enabled=True, benchmark=cudnn.benchmark, depthwise_kernel=name)


def make_passes(
    layer: nn.Module,
    images: Tensor,
    train_state: TrainState,
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Callable[[], Report]:
    """Return a call of forward and backward passes that returns when the device is done.

    The checksum is the mean absolute value of the output and of both gradients.
    """
    seed_everything(0)  # of the gradient, the same for both sides
    x = train_state.to_device(images, torch.zeros(len(images)))[0].requires_grad_()
    with train_state.autocast():
        grad = torch.randn_like(layer(x))

    def run() -> Report:
        images = 0
        with context():
            for _ in range(PASSES):
                x.grad = None
                layer.zero_grad()
                with train_state.autocast():
                    y = layer(x)
                y.backward(grad)
                images += len(y)
        if train_state.device.type != "cpu":
            torch.accelerator.synchronize(train_state.device)
        made = [y, x.grad, layer.weight.grad]
        return lambda: Work(images, sum(0.0 if one is None else one.float().abs().mean().item() for one in made))

    return run


if __name__ == "__main__":
    sys.exit(run_benchmark(make_parser(__doc__), make_pairs))
