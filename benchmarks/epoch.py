"""An epoch end to end, training and evaluation, against timm's loader and loop around the same network.

    python benchmarks/epoch.py [--images 10000] [--size 32] [--workers N] [--json FILE] [KEY=VALUE ...]
    python benchmarks/epoch.py --synthetic [...]

The images are made here, of CIFAR-10's size and number of classes (50,000 by --images 50000), and the recipe is
the paper's with its augmentation: random resized crop, flip, RandAugment, random erasing, Mixup and CutMix. With
--synthetic the peer is our own epoch with the same batch in each update, which nothing has to be made for.

timm's train.py is not in its wheel, so the peer is made of timm's own pieces in the order of that script:
create_loader with worker processes and the prefetcher (FastCollateMixup mixes in the workers; with
--no-prefetcher it is Mixup in the loop), create_optimizer_v2, SoftTargetCrossEntropy, create_scheduler_v2 after
each update, then validation. Its network has the same weights, with plain nn.Conv2d in place of our
convolutions. channels_last, batch and precision are the same. Worker processes: --workers each; by default one a
core but one, for ours too where it takes any. Its reading and augmenting is whatever `open_train` picks for
such a set. Each side has a process of its own, since our trainer also sets how memory is kept.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import torch
from pairs import InOwnProcess, Pair, make_parser, run_benchmark
from PIL import Image
from timm.data import FastCollateMixup, Mixup, create_loader
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy
from torch import Tensor, nn

import roadmap
from roadmap.arguments import positive
from roadmap.config import Config, read_config
from roadmap.data.open import LoadSpec, TrainData, open_eval, open_train
from roadmap.data.order import Batch
from roadmap.data.sources import ImageArray
from roadmap.model.build import build
from roadmap.model.convolution import CpuConv2d
from roadmap.training.hardware import choose_algorithms, pick_device, seed_everything
from roadmap.training.learner import build_learner
from roadmap.training.recipe import learning_rate
from roadmap.training.spec import Precision
from roadmap.training.update import DTYPES, evaluate, train_update

STEPS = ("step0_resnet", "step12_downsample")
SIZE, CLASSES = 32, 10  # CIFAR-10's, where no other size is asked for
VALIDATED = 5  # training images to a validation image, as in CIFAR-10


class PeerImages(torch.utils.data.Dataset[tuple[Any, int]]):
    """The same images as torchvision's CIFAR10 gives them: PIL, then the transform that create_loader sets."""

    def __init__(self, images: ImageArray):
        self.images = images
        self.transform: Callable[[Image.Image], Any] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        pixels, label = self.images[index]
        image = Image.fromarray(pixels)
        return (image if self.transform is None else self.transform(image)), label


def make_pairs(arguments: argparse.Namespace) -> Sequence[Callable[[], Pair]]:
    return [partial(make_pair, step, arguments) for step in STEPS]


def make_pair(step: str, arguments: argparse.Namespace) -> Pair:
    sizes = (f"recipe.total_batch={arguments.batch}", f"hardware.per_device_batch={arguments.batch}")
    sizes = (*sizes, f"data.image_size={arguments.size}")
    workers = () if arguments.workers is None else (f"hardware.workers={arguments.workers}",)
    words = (f"+roadmap={step}", "regime=micro", "data=cifar10", "recipe=paper", "recipe.lr=1e-3", *sizes, *workers)
    config = read_config(roadmap.compose(*words, *arguments.overrides))
    counts = (arguments.images, arguments.images // VALIDATED)
    device = pick_device(config.hardware)
    make_timms = partial(make_peer, config, counts, device, arguments.workers, not arguments.no_prefetcher)
    return Pair(
        f"{step}, {config.regime.name}, {arguments.size} px, batch {arguments.batch}",
        "our step on synthetic data" if arguments.synthetic else "timm's loader and loop",
        arguments.images,
        InOwnProcess(partial(make_ours, config, counts)),
        InOwnProcess(partial(make_synthetic, config, counts) if arguments.synthetic else make_timms),
    )


def make_ours(config: Config, counts: tuple[int, int]) -> "OurEpoch":
    """With training and validation images of these counts."""
    return OurEpoch(build_network(config), config, *make_sets(config, counts))


def make_synthetic(config: Config, counts: tuple[int, int]) -> "OurEpoch":
    """The same with one batch over and over."""
    epoch = make_ours(config, counts)
    epoch.train = OneBatch(epoch.train)
    return epoch


class OneBatch:
    """As many updates as there are batches, each on the first one; see `TrainData`."""

    def __init__(self, train: TrainData):
        self.updates, self.in_advance = train.updates, 0
        self.micro_batches = next(train.epoch(0))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        return repeat(self.micro_batches, self.updates - start)


def make_peer(
    config: Config, counts: tuple[int, int], device: torch.device, workers: int | None, prefetcher: bool
) -> "PeerEpoch":
    """The same weights and images."""
    network = make_plain(build_network(config))
    return PeerEpoch(network, config, *make_sets(config, counts), device, workers, prefetcher)


def build_network(config: Config) -> nn.Module:
    seed_everything(config.seed)
    return build(config.model, config.regime, None, config.data.image_size)


def make_sets(config: Config, counts: tuple[int, int]) -> tuple[ImageArray, ImageArray]:
    return make_images(counts[0], config.data.image_size), make_images(counts[1], config.data.image_size)


def make_images(count: int, size: int) -> ImageArray:
    """Smooth color patterns with some noise, so that no operation of RandAugment has nothing to do."""
    rng = np.random.default_rng(count)
    coarse = rng.integers(256, size=(count, 4, 4, 3), dtype=np.uint8)
    patch = -(-size // 4)
    smooth = np.repeat(np.repeat(coarse, patch, axis=1), patch, axis=2)[:, :size, :size].astype(np.int16)
    noisy = smooth + rng.integers(-20, 21, size=smooth.shape, dtype=np.int16)
    return ImageArray(noisy.clip(0, 255).astype(np.uint8), rng.integers(CLASSES, size=count))


def make_plain(network: nn.Module) -> nn.Module:
    """The network with every convolution of ours as the nn.Conv2d that it is a form of; the weights stay."""
    for module in network.modules():
        if isinstance(module, CpuConv2d):
            module.__class__ = nn.Conv2d  # the same parameters; only forward differs
    return network


class OurEpoch:
    """An epoch as `training/trainer.py` has it, without files and console."""

    def __init__(self, network: nn.Module, config: Config, train: ImageArray, val: ImageArray):
        self.config, self.network = config, network
        device = pick_device(config.hardware)
        choose_algorithms(config.hardware, device)
        batch = config.recipe.total_batch
        load = LoadSpec(batch, 1, config.seed, device, config.hardware.workers, config.hardware.resident)
        self.train: TrainData = open_train(train, config.data, config.recipe.augment, load)
        self.val = open_eval(val, config.data, config.recipe.augment, load)
        self.learner = build_learner(network, config.data, config.recipe, config.hardware, device, batch)
        self.epochs = 0

    def __call__(self) -> float:
        updates = self.train.updates
        losses = torch.zeros(updates, device=self.learner.device)
        for index, micro_batches in enumerate(self.train.epoch(self.epochs)):
            update = self.epochs * updates + index
            lr = learning_rate(self.config.recipe, update, updates)
            losses[index] = train_update(self.learner, micro_batches, lr)
        self.epochs += 1
        assert losses.isfinite().all()
        return evaluate(self.network, self.val, self.learner).top1


class PeerEpoch:
    """`train_one_epoch` and `validate` of timm's train.py, on timm's loader, Mixup, optimizer and scheduler."""

    def __init__(
        self,
        network: nn.Module,
        config: Config,
        train: ImageArray,
        val: ImageArray,
        device: torch.device,
        workers: int | None,
        prefetcher: bool,
    ):
        recipe, data = config.recipe, config.data
        self.device = device
        self.precision = config.hardware.precision
        self.prefetcher = prefetcher
        torch.backends.cudnn.benchmark = True  # as in timm's train.py
        self.model = network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.hardware.compile:
            self.model.compile()
        self.optimizer = create_optimizer_v2(
            self.model, opt="adamw", lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum
        )
        mixing = {
            "mixup_alpha": recipe.mixup,
            "cutmix_alpha": recipe.cutmix,
            "label_smoothing": recipe.label_smoothing,
            "num_classes": CLASSES,
        }
        self.mixup = None if prefetcher else Mixup(**mixing)
        common: dict[str, Any] = {
            "input_size": (3, data.image_size, data.image_size),
            "batch_size": recipe.total_batch,
            "use_prefetcher": prefetcher,
            "interpolation": data.interpolation.value,
            "mean": data.mean,
            "std": data.std,
            "num_workers": max(len(os.sched_getaffinity(0)) - 1, 1) if workers is None else workers,
            "persistent_workers": workers != 0,
            "pin_memory": self.device.type == "cuda",
            "device": self.device,
        }
        self.train = create_loader(
            PeerImages(train),
            is_training=True,
            scale=recipe.augment.scale,
            ratio=(3 / 4, 4 / 3),
            hflip=recipe.augment.flip,
            color_jitter=None,
            auto_augment=recipe.augment.rand_augment,
            re_prob=recipe.augment.erasing,
            re_mode="pixel",
            collate_fn=FastCollateMixup(**mixing) if prefetcher else None,
            **common,
        )
        self.val = create_loader(PeerImages(val), is_training=False, crop_pct=data.crop_pct, **common)
        self.loss = SoftTargetCrossEntropy().to(self.device)
        self.scheduler, _ = create_scheduler_v2(
            self.optimizer,
            sched="cosine",
            num_epochs=recipe.epochs,
            warmup_epochs=int(recipe.warmup_epochs),
            step_on_epochs=False,
            updates_per_epoch=len(self.train),
        )
        self.updates = 0

    def __call__(self) -> float:
        self._train_one_epoch()
        return self._validate()

    def _train_one_epoch(self) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        losses = AverageMeter()
        for images, targets in self._placed(self.train):
            if self.mixup is not None:
                images, targets = self.mixup(images, targets)
            images = images.contiguous(memory_format=torch.channels_last)
            with self._autocast():
                loss = self.loss(self.model(images), targets)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.updates += 1
            losses.update(loss.item() if self.device.type == "cpu" else 0.0, len(images))
            self.scheduler.step_update(num_updates=self.updates, metric=losses.avg)

    @torch.inference_mode()
    def _validate(self) -> float:
        self.model.eval()
        losses, top1 = AverageMeter(), AverageMeter()
        criterion = nn.CrossEntropyLoss()
        for images, targets in self._placed(self.val):
            images = images.contiguous(memory_format=torch.channels_last)
            with self._autocast():
                logits = self.model(images)
                loss = criterion(logits, targets)
            best, _ = accuracy(logits, targets, topk=(1, 5))
            losses.update(loss.item(), len(images))
            top1.update(best.item(), len(images))
        return top1.avg

    def _placed(self, loader: Iterable[tuple[Tensor, Tensor]]) -> Iterable[tuple[Tensor, Tensor]]:
        if self.prefetcher:  # it has moved and normalized them
            return loader
        return ((images.to(self.device), targets.to(self.device)) for images, targets in loader)

    def _autocast(self) -> Any:
        if self.precision is Precision.fp32:
            return nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.precision])


def make_options() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=positive, default=10_000, metavar="N", help="to train on; default: 10000")
    parser.add_argument("--size", type=positive, default=SIZE, metavar="S", help="pixels; default: 32")
    parser.add_argument("--synthetic", action="store_true", help="our own updates on one batch are the peer")
    parser.add_argument("--batch", type=positive, default=128, metavar="N", help="images; default: 128")
    parser.add_argument("--workers", type=int, metavar="N", help="processes of each loader; default: cores - 1")
    parser.add_argument("--no-prefetcher", action="store_true", help="of timm's loader, as in its train.py")
    return parser


if __name__ == "__main__":
    sys.exit(run_benchmark(make_options(), make_pairs))
