"""Which form of the block is faster on this device: linear layers on (N, H, W, C), or 1x1 convolutions.

    python benchmarks/block_forms.py [--repeats 9] [--json FILE] [KEY=VALUE ...]

Times one update of each form in alternation. Ours is the linear form, the peer the convolutional one. They have the
same weights and images; the checksum is the loss.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
from pairs import Pair, Report, make_parser, run_benchmark
from training_step import LOSS_TOLERANCE, find_update_bound, make_update

import roadmap
from roadmap.config import Config, read_config
from roadmap.model.build import build
from roadmap.training.device import seed_everything
from roadmap.training.spec import Precision

STEPS = ("step0_resnet", "step5_inverted", "step7_kernel", "step12_downsample")


def make_pairs(arguments: argparse.Namespace) -> Sequence[Callable[[], Pair]]:
    return [partial(make_pair, step, arguments.overrides) for step in STEPS]


def make_pair(step: str, overrides: Sequence[str]) -> Pair:
    linear, conv = (
        read_config(roadmap.compose(f"+roadmap={step}", *overrides, f"model.form={form}"))
        for form in ("linear", "conv")
    )
    batch = min(linear.recipe.total_batch, linear.hardware.per_device_batch)
    return Pair(
        f"{step}, linear",
        "convolutions",
        batch,
        make(linear, batch),
        make(conv, batch),
        bound=find_update_bound(linear, batch),
        tolerance=LOSS_TOLERANCE[linear.hardware.precision is Precision.fp32],
    )


def make(config: Config, batch: int) -> Callable[[], Report]:
    """Return one update as a call."""
    seed_everything(config.seed)
    size = config.data.image_size
    model = build(config.model, config.regime, config.reference, size)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(config.data.num_classes, (batch,))
    return make_update(model, config, config.hardware, images, labels)


if __name__ == "__main__":
    sys.exit(run_benchmark(make_parser(__doc__), make_pairs))
