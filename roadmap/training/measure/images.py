"""Batches for measurements: of the run's images, or of noise if these are missing."""

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.image_dataset import ImageDataset
from roadmap.data.image_io import Pixels
from roadmap.data.loaders import LoaderSpec, open_eval_loader, open_train_loader
from roadmap.data.sampler import Batch, MicroBatches
from roadmap.data.sources import open_images
from roadmap.data.spec import DataSpec, Source
from roadmap.errors import ConfigError, DataError, first_line
from roadmap.training.measure.workload import SEED, Workload

POOL = 64  # distinct synthetic images, which are repeated
# Training and validation images of sets whose files may be missing, and their size in pixels (width, height).
KNOWN_SETS = {
    Source.cifar10: (50_000, 10_000, (32, 32)),
    Source.cifar100: (50_000, 10_000, (32, 32)),
}
IMAGENET = (1_281_167, 50_000, (500, 375))  # the most frequent size, near the mean


class SyntheticDataset(ImageDataset):
    """Noise in place of missing images, in the same number and size; reading costs nothing."""

    root = "noise"

    def __init__(self, count: int, size: tuple[int, int], num_classes: int):
        width, height = size
        self.pool = np.random.default_rng(SEED).integers(256, size=(POOL, height, width, 3), dtype=np.uint8)
        self.labels = np.arange(count) % num_classes
        self.classes = [str(number) for number in range(num_classes)]

    def pixels_of(self, index: int) -> Pixels:
        return self.pool[index % POOL]


@dataclass
class OpenData:
    """Endless batches of one data set under one recipe."""

    updates_per_epoch: int
    val_images: int
    updates: Iterator[MicroBatches]  # endless
    val_batches: Iterator[Batch]  # endless
    prefetch_factor: int  # micro-batches that dataloader workers may have prefetched
    seconds: float  # to open the data
    synthetic_reason: str | None  # why the images are noise; None for real ones


def open_data(workload: Workload, opened: dict[Any, OpenData]) -> OpenData:
    """Return a run's data, opened once for all runs that use the same batches.

    Raises:
        ConfigError: there are fewer images than an update needs.
        DataError: as in open_or_synthesize.
    """
    spec, hardware = workload.spec, workload.spec.hardware
    load = LoaderSpec(
        workload.batch_size, workload.accumulation, spec.seed, workload.device, hardware.workers, hardware.resident
    )
    key = (spec.data, spec.recipe.augment, replace(load, seed=0))
    if key not in opened:
        opened[key] = _open(workload, load)
    return opened[key]


def _open(workload: Workload, load: LoaderSpec) -> OpenData:
    data, augment = workload.spec.data, workload.spec.recipe.augment
    started = time.perf_counter()
    train_images, val_images, synthetic_reason = open_or_synthesize(data)
    train = open_train_loader(train_images, data, augment, load)
    val = open_eval_loader(val_images, data, augment, load)
    if train.updates < 1:
        raise ConfigError(
            f"an update of {load.batch_size * load.accumulation} images is more than the {len(train_images)} "
            "training images. Lower recipe.total_batch"
        )
    epochs = (train.epoch(epoch) for epoch in itertools.count())
    return OpenData(
        updates_per_epoch=train.updates,
        val_images=len(val_images),
        updates=itertools.chain.from_iterable(epochs),
        val_batches=_repeat(val),
        prefetch_factor=train.prefetch_factor,
        seconds=time.perf_counter() - started,
        synthetic_reason=synthetic_reason,
    )


def open_or_synthesize(data: DataSpec) -> tuple[CheckedDataset, CheckedDataset, str | None]:
    """Return training and validation images, and why they are synthetic, if they are. CIFAR is not downloaded.

    Raises:
        DataError: the images are missing, and their number is unknown.
    """
    try:
        train_images, val_images = open_images(data, download=False)
        return train_images, val_images, None
    except DataError as error:
        counts = IMAGENET if data.name == "imagenet" else KNOWN_SETS.get(data.source)
        if counts is None:
            raise
        train, val, size = counts
        if data.holdout:
            train, val = train - data.holdout, data.holdout
        noise = (SyntheticDataset(count, size, data.num_classes) for count in (train, val))
        train_images, val_images = (CheckedDataset(images, data.on_error) for images in noise)
        return train_images, val_images, first_line(error)


def _repeat(batches: Iterable[Batch]) -> Iterator[Batch]:
    while True:
        yield from batches
