"""An epoch end to end, training and evaluation, compared with timm's loader and loop around the same network.

    python benchmarks/epoch.py [--images 10000] [--size 32] [--workers N] [--json FILE] [KEY=VALUE ...]
    python benchmarks/epoch.py --synthetic [...]
    python benchmarks/epoch.py --without-graphs hardware.graphs=true [...]
    python benchmarks/epoch.py --images 50000 --size 64 hardware.precision=bf16 hardware.compile=true \\
        hardware.deterministic=false

The images are generated, with CIFAR-10's size and number of classes (50,000 by --images 50000), and the recipe is
the paper's with its augmentation: random resized crop, flip, RandAugment, random erasing, Mixup and CutMix. With
--synthetic the peer is our own epoch with the same batch in each update, which needs no loading, and with
--without-graphs it is our own with hardware.graphs=false.

The peer is made of timm's own pieces (timm_epoch.py; with --no-prefetcher its loader's prefetcher is off). Its
network has the same weights, with plain nn.Conv2d in place of our convolutions. channels_last, batch and precision
are the same. Worker processes: --workers each; by default one a core but one, for ours too where it takes any. Our
reading and augmenting is whatever `open_train_loader` picks for such a set. Each side has a process of its own,
since our trainer also sets how memory is kept. The checksum is the loss on the validation images, whose number is
checked too.

With the defaults a pair is 20 epochs of 10,000 images: on 2 cores at 2,000 images/s, two minutes. How many epochs a
command takes is said at once, how long a pair takes after its first round.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from convolutions import make_plain
from pairs import InOwnProcess, Pair, Report, make_parser, run_benchmark
from timm_epoch import TimmEpoch
from torch import nn
from training_step import find_update_bound

import roadmap
from roadmap.cli.arguments import positive
from roadmap.config import Config, read_config
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.loaders import LoaderSpec, TrainLoader, open_eval_loader, open_train_loader
from roadmap.data.sampler import MicroBatches
from roadmap.data.sources import ArrayDataset
from roadmap.data.spec import OnError
from roadmap.errors import ConfigError
from roadmap.model.build import build
from roadmap.training.build_state import build_train_state
from roadmap.training.device import pick_device, seed_everything
from roadmap.training.measure.check_work import CountedBatches, Work
from roadmap.training.recipe import learning_rate
from roadmap.training.step import evaluate, train_step

STEPS = ("step0_resnet", "step12_downsample")
SIZE, CLASSES = 32, 10  # CIFAR-10's, unless another size is given
VALIDATED = 5  # training images per validation image, as in CIFAR-10


def make_pairs(arguments: argparse.Namespace) -> Sequence[Callable[[], Pair]]:
    if arguments.images < arguments.batch:
        raise ConfigError(f"--images {arguments.images}: must be at least --batch {arguments.batch}")
    steps = arguments.steps.split(",")
    epochs = len(steps) * 2 * (1 + arguments.repeats)
    print(f"{epochs} epochs of {arguments.images:,} images in all, {epochs // len(steps)} a pair")
    return [partial(make_pair, step, arguments) for step in steps]


def make_pair(step: str, arguments: argparse.Namespace) -> Pair:
    config = compose_epoch(step, arguments.batch, arguments.size, arguments.workers, arguments.overrides)
    trained = arguments.images // arguments.batch * arguments.batch  # what fills no update is left out by both
    counts = (arguments.images, max(arguments.images // VALIDATED, 1))
    device = pick_device(config.hardware)
    make_other: Callable[[], Callable[[], Report]]
    if arguments.synthetic:
        peer, make_other = "our step on synthetic data", partial(make_synthetic, config, counts)
    elif arguments.without_graphs:
        direct = replace(config, hardware=replace(config.hardware, graphs=False))
        peer, make_other = "our epoch without CUDA graphs", partial(make_ours, direct, counts)
    else:
        prefetcher = not arguments.no_prefetcher
        make_other = partial(make_peer, config, counts, device, arguments.workers, prefetcher)
        peer = "timm's loader and loop"
    return Pair(
        f"{step}, {config.regime.name}, {arguments.size} px, batch {arguments.batch}",
        peer,
        trained,
        InOwnProcess(partial(make_ours, config, counts)),
        InOwnProcess(make_other),
        bound=find_update_bound(config, arguments.batch),
        tolerance=0.15,
    )


def compose_epoch(step: str, batch: int, size: int, workers: int | None, overrides: Sequence[str]) -> Config:
    """Return the configuration of a micro network in the paper's recipe, on images as CIFAR-10's."""
    words = [f"+roadmap={step}", "regime=micro", "data=cifar10", "recipe=paper", "recipe.lr=1e-3"]
    words += [f"recipe.total_batch={batch}", f"hardware.per_device_batch={batch}", f"data.image_size={size}"]
    if workers is not None:
        words += [f"hardware.workers={workers}"]
    return read_config(roadmap.compose(*words, *overrides))


def make_ours(config: Config, counts: tuple[int, int]) -> "OurEpoch":
    """Build our epoch with these numbers of training and validation images."""
    return OurEpoch(build_network(config), config, *make_sets(config, counts))


def make_synthetic(config: Config, counts: tuple[int, int]) -> "OurEpoch":
    """Build our epoch with one batch for every update."""
    epoch = make_ours(config, counts)
    epoch.train = OneBatch(epoch.train)
    return epoch


class OneBatch:
    """As many updates as there are batches, each on the first one; see `TrainLoader`."""

    def __init__(self, train: TrainLoader):
        self.total, self.updates, self.prefetch_factor = train.total, train.updates, 0
        self.batches = list(next(train.epoch(0)))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[MicroBatches]:
        return (MicroBatches(iter(self.batches), len(self.batches)) for _ in range(start, self.updates))


def make_peer(
    config: Config, counts: tuple[int, int], device: torch.device, workers: int | None, prefetcher: bool
) -> "TimmEpoch":
    """Build the peer with the same weights and images."""
    network = make_plain(build_network(config))
    return TimmEpoch(network, config, *make_sets(config, counts), device, workers, prefetcher)


def build_network(config: Config) -> nn.Module:
    seed_everything(config.seed)
    return build(config.model, config.regime, None, config.data.image_size)


def make_sets(config: Config, counts: tuple[int, int]) -> tuple[ArrayDataset, ArrayDataset]:
    return make_images(counts[0], config.data.image_size), make_images(counts[1], config.data.image_size)


def make_images(count: int, size: int) -> ArrayDataset:
    """Make smooth color patterns with some noise, so that every operation of RandAugment has an effect."""
    rng = np.random.default_rng(count)
    coarse = rng.integers(256, size=(count, 4, 4, 3), dtype=np.uint8)
    patch = -(-size // 4)
    smooth = np.repeat(np.repeat(coarse, patch, axis=1), patch, axis=2)[:, :size, :size].astype(np.int16)
    noisy = smooth + rng.integers(-20, 21, size=smooth.shape, dtype=np.int16)
    return ArrayDataset(noisy.clip(0, 255).astype(np.uint8), rng.integers(CLASSES, size=count))


class OurEpoch:
    """An epoch as in `training/trainer.py`, without files and console."""

    def __init__(self, network: nn.Module, config: Config, train: ArrayDataset, val: ArrayDataset):
        self.config, self.network = config, network
        device = pick_device(config.hardware)
        batch = config.recipe.total_batch
        load = LoaderSpec(batch, 1, config.seed, device, config.hardware.workers, config.hardware.resident)
        images, val_images = (CheckedDataset(part, OnError.stop) for part in (train, val))
        self.train: TrainLoader = open_train_loader(images, config.data, config.recipe.augment, load)
        self.val_images = len(val)
        self.val = open_eval_loader(val_images, config.data, config.recipe.augment, load)
        self.train_state = build_train_state(network, config.data, config.recipe, config.hardware, device, batch)
        self.epochs = 0

    def __call__(self) -> Report:
        updates, images = self.train.updates, 0
        losses = torch.zeros(updates, device=self.train_state.device)
        for index, micro_batches in enumerate(self.train.epoch(self.epochs)):
            update = self.epochs * updates + index
            lr = learning_rate(self.config.recipe, update, updates)
            batches = CountedBatches(micro_batches)
            losses[index] = train_step(self.train_state, batches, lr)
            images += batches.images
        self.epochs += 1
        assert losses.isfinite().all()
        found = evaluate(self.network, self.val, self.train_state)
        images = images if found.images == self.val_images else 0  # then nothing is worth its time
        return lambda: Work(images, found.loss)


def make_options() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=positive, default=10_000, metavar="N", help="to train on; default: 10000")
    parser.add_argument("--size", type=positive, default=SIZE, metavar="S", help="pixels; default: 32")
    parser.add_argument("--steps", default=",".join(STEPS), help=f"with commas between; default: {','.join(STEPS)}")
    peer = parser.add_mutually_exclusive_group()
    peer.add_argument("--synthetic", action="store_true", help="our own updates on one batch are the peer")
    peer.add_argument("--without-graphs", action="store_true", help="our own epoch without CUDA graphs is the peer")
    parser.add_argument("--batch", type=positive, default=128, metavar="N", help="images; default: 128")
    parser.add_argument("--workers", type=int, metavar="N", help="processes of each loader; default: cores - 1")
    parser.add_argument("--no-prefetcher", action="store_true", help="of timm's loader, as in its train.py")
    return parser


if __name__ == "__main__":
    sys.exit(run_benchmark(make_options(), make_pairs))
