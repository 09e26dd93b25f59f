"""Duration of a run on this device, estimated from a few updates on its own batches.

Measures what `trainer.py` repeats: an update including reading and augmenting its images, an evaluation, a
checkpoint. Several runs take turns, as in `profile.py`. All runs on the same data share one endless stream of
batches. Batches that dataloader workers have prefetched are dropped before the clock starts, since a queue that was
filled between timings would look like a fast loader.
"""

import gc
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from roadmap.data.image_io import Pixels
from roadmap.data.loaders import EvalLoader, LoaderSpec, TrainLoader, open_eval_loader, open_train_loader
from roadmap.data.sampler import Batch, MicroBatches
from roadmap.data.sources import LabeledDataset, open_images
from roadmap.data.spec import AugmentSpec, DataSpec, OnError, Source
from roadmap.errors import ConfigError, DataError, MeasurementError, first_line
from roadmap.training.checkpoint import save_checkpoint
from roadmap.training.device import seed_everything
from roadmap.training.profile import NO_LR, SEED, Workload, find_bound, wait
from roadmap.training.state import build_train_state
from roadmap.training.step import TrainState, evaluate, train_step
from roadmap.training.work import CORE_BYTES, CountedBatches, Work, check_work

MIN_SECONDS = 1.0  # of one timing; shorter ones are repeated
FEWEST = 3  # updates, or evaluation batches, per timing
POOL = 64  # different synthetic images; the rest repeat them
# Training and validation images of sets whose files may be missing, and their size in pixels (width, height).
KNOWN_SETS = {
    Source.cifar10: (50_000, 10_000, (32, 32)),
    Source.cifar100: (50_000, 10_000, (32, 32)),
}
IMAGENET = (1_281_167, 50_000, (500, 375))  # the most frequent size; the mean is near it


class SyntheticDataset:
    """Noise in place of missing images, with the same number and size: already decoded, so reading is free."""

    def __init__(self, count: int, size: tuple[int, int], num_classes: int):
        width, height = size
        self.pool = np.random.default_rng(SEED).integers(256, size=(POOL, height, width, 3), dtype=np.uint8)
        self.count = count
        self.num_classes = num_classes

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.pool[index % POOL], index % self.num_classes


@dataclass
class OpenData:
    """Batches of one data set under one recipe, shared by all runs that use them."""

    train: TrainLoader
    val_images: int
    updates: Iterator[MicroBatches]  # endless
    val_batches: Iterator[Batch]  # endless
    prefetch_factor: int  # micro-batches that dataloader workers may have prefetched
    seconds: float  # to open it, in each run
    made_up: str | None  # why the images are noise; None for real ones


@dataclass
class Forecast:
    """The measured parts of a run; each list has one value per round."""

    updates_per_epoch: int
    evaluations: int  # passes over the validation images per epoch: two with a moving average
    update: list[float] = field(default_factory=list)  # seconds
    evaluation: list[float] = field(default_factory=list)  # seconds of one pass
    checkpoint: list[float] = field(default_factory=list)  # seconds
    start: list[float] = field(default_factory=list)  # seconds to build the network, plus the first update's excess

    def epoch_seconds(self) -> float:
        parts = (
            (self.updates_per_epoch, self.update),
            (self.evaluations, self.evaluation),
            (1, self.checkpoint),
        )
        return sum(times * statistics.median(seconds) for times, seconds in parts)


def open_data(data: DataSpec, augment: AugmentSpec, load: LoaderSpec) -> OpenData:
    """Open the batches of a run; with noise of the same number and size if the files are missing.

    Raises:
        ConfigError: there are fewer images than an update needs.
        DataError: as find_images.
    """
    started = time.perf_counter()
    train_images, val_images, made_up = find_images(data)
    train = open_train_loader(train_images, data, augment, load)
    val = open_eval_loader(val_images, data, augment, load)
    if train.updates < 1:
        raise ConfigError(
            f"an update of {load.batch_size * load.accumulation} images is more than the {len(train_images)} "
            "training images. Lower recipe.total_batch"
        )
    epochs = (train.epoch(epoch) for epoch in itertools.count())
    return OpenData(
        train=train,
        val_images=len(val_images),
        updates=itertools.chain.from_iterable(epochs),
        val_batches=_repeat(val),
        prefetch_factor=train.prefetch_factor,
        seconds=time.perf_counter() - started,
        made_up=made_up,
    )


def find_images(data: DataSpec) -> tuple[LabeledDataset, LabeledDataset, str | None]:
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
        noise = [SyntheticDataset(count, size, data.num_classes) for count in (train, val)]
        return noise[0], noise[1], first_line(error)


def _repeat(batches: EvalLoader) -> Iterator[Batch]:
    while True:
        yield from batches


def forecast(
    workloads: Sequence[tuple[Workload, OpenData]],
    folder: Path,
    rounds: int,
    report: Callable[[str], None] = lambda name: None,
) -> list[Forecast]:
    """Time each run in `rounds` rounds; `report` gets each name beforehand. `folder` is for checkpoints."""
    results = [
        Forecast(data.train.updates, evaluations=1 + (workload.recipe.ema_decay is not None))
        for workload, data in workloads
    ]
    for _ in range(rounds):
        for (workload, data), result in zip(workloads, results, strict=True):
            report(workload.name)
            _take_turn(workload, data, folder, result)
            gc.collect()
            if workload.device.type != "cpu":
                torch.accelerator.empty_cache()
    return results


def _take_turn(workload: Workload, data: OpenData, folder: Path, result: Forecast) -> None:
    bounds = {is_update: find_bound(workload, is_update) for is_update in (True, False)}
    started = time.perf_counter()
    seed_everything(SEED)
    network = workload.build()
    train_state = build_train_state(
        network, workload.data, workload.recipe, workload.hardware, workload.device, workload.batch_size
    )
    built = time.perf_counter() - started
    for micro_batches in itertools.islice(data.updates, data.prefetch_factor):
        list(micro_batches)

    def time_updates(count: int) -> float:
        seconds, work = run_updates(train_state, data.updates, count)
        check_updates(workload, count, work, seconds, bounds[True])
        return seconds

    first = time_updates(1)
    time_updates(1)
    update = _repeat_until_long(time_updates)
    result.update.append(update)
    result.start.append(built + max(first - update, 0.0))
    result.evaluation.append(_time_evaluation(workload, train_state, data, bounds[False]))
    result.checkpoint.append(_time_checkpoint(train_state, folder))


def run_updates(train_state: TrainState, updates: Iterator[MicroBatches], count: int) -> tuple[float, Work]:
    """Seconds of `count` updates, as the trainer makes them, and their work; losses stay on the device."""
    losses = torch.zeros(count, device=train_state.device)
    images = 0
    wait(train_state.device)
    started = time.perf_counter()
    for index in range(count):
        batches = CountedBatches(next(updates))
        losses[index] = train_step(train_state, batches, NO_LR)
        images += batches.images
    wait(train_state.device)
    seconds = time.perf_counter() - started
    return seconds, Work(images, losses.mean().item() if losses.all() else 0.0)


def check_updates(workload: Workload, count: int, work: Work, seconds: float, bound: float) -> None:
    """Raises MeasurementError if the updates did not do their work; skipped images may be missing in a batch."""
    images = count * workload.recipe.total_batch
    if workload.data.on_error is OnError.skip:
        images = min(images, max(work.images, 1))
    check_work(f"{workload.name}, {count} updates", work, images, seconds, bound)


def _time_evaluation(workload: Workload, train_state: TrainState, data: OpenData, bound: float) -> float:
    """Seconds of a pass over all validation images, from as many batches as a timing needs."""
    images = 0

    def take(count: int) -> Iterator[Batch]:
        nonlocal images
        for batch in itertools.islice(data.val_batches, count):
            images += len(batch.labels)
            yield batch

    def run(count: int) -> float:
        nonlocal images
        images, started = 0, time.perf_counter()
        found = evaluate(train_state.model, take(count), train_state)
        seconds = time.perf_counter() - started
        check_work(f"{workload.name}, evaluation", Work(found.images, found.loss), images, seconds, bound)
        return seconds

    run(1 + data.prefetch_factor)
    count = FEWEST
    while (seconds := run(count)) < MIN_SECONDS and images < data.val_images:
        count *= 2
    return seconds * data.val_images / images


def _time_checkpoint(train_state: TrainState, folder: Path) -> float:
    """Return the seconds of a save, including the check of all weights before it."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path, previous = Path(place) / "checkpoint.pt", Path(place) / "previous.pt"
        started = time.perf_counter()
        assert all(bool(weights.isfinite().all()) for weights in train_state.model.parameters())
        content = {
            "model": train_state.model.state_dict(),
            "optimizer": train_state.optimizer.state_dict(),
            "ema": train_state.ema.state_dict() if train_state.ema is not None else None,
        }
        save_checkpoint(path, previous, content)
        seconds = time.perf_counter() - started
        _check_saved(path, train_state, seconds)
        return seconds


def _check_saved(path: Path, train_state: TrainState, seconds: float) -> None:
    """Raises MeasurementError if a checkpoint is smaller than its weights, or was written faster than memory is."""
    least = sum(weights.numel() * weights.element_size() for weights in train_state.model.parameters())
    size = path.stat().st_size if path.exists() else 0
    if size < least or size > seconds * CORE_BYTES:
        raise MeasurementError(
            f"checkpoint: {size:,} bytes in {seconds:.2g} s, but the weights alone are {least:,}: it was not saved"
        )


def _repeat_until_long(run: Callable[[int], float]) -> float:
    """Return the seconds per call of `run`, with as many calls as take MIN_SECONDS."""
    count = FEWEST
    while (seconds := run(count)) < MIN_SECONDS:
        count *= max(2, min(8, round(1.2 * MIN_SECONDS / seconds)))
    return seconds / count
