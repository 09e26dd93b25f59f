"""Which form of the block is faster on this device: linear layers on (N, H, W, C), or 1x1 convolutions.

    python benchmarks/block_forms.py [--repeats 9] [--json FILE] [KEY=VALUE ...]

Times one update of each form in alternation. Ours is the linear form, the peer the convolutional one.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
from pairs import Pair, make_parser, run_benchmark

import roadmap
from roadmap.config import read_config
from roadmap.model.build import build
from roadmap.training.hardware import pick_device
from roadmap.training.learner import build_learner
from roadmap.training.update import train_update

STEPS = ("step0_resnet", "step5_inverted", "step7_kernel", "step12_downsample")


def make_pairs(arguments: argparse.Namespace) -> Sequence[Callable[[], Pair]]:
    return [partial(make_pair, step, arguments.overrides) for step in STEPS]


def make_pair(step: str, overrides: Sequence[str]) -> Pair:
    (ours, images), (peer, _) = (make(step, [*overrides, f"model.form={form}"]) for form in ("linear", "conv"))
    return Pair(f"{step}, linear", "convolutions", images, ours, peer)


def make(step: str, overrides: Sequence[str]) -> tuple[Callable[[], float], int]:
    """Return one update as a call, and its number of images."""
    config = read_config(roadmap.compose(f"+roadmap={step}", *overrides))
    device = pick_device(config.hardware)
    size, batch = config.data.image_size, min(config.recipe.total_batch, config.hardware.per_device_batch)
    model = build(config.model, config.regime, config.reference, size)
    learner = build_learner(model, config.data, config.recipe, config.hardware, device, batch)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    placed = learner.place(images, torch.randint(config.data.num_classes, (batch,)))
    return lambda: train_update(learner, [placed], 1e-4).item(), batch  # item() waits for the device


if __name__ == "__main__":
    sys.exit(run_benchmark(make_parser(__doc__), make_pairs))
