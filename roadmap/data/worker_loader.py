"""Batches that dataloader workers read and transform, each with its own random seeds (sampler.py)."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.util import Finalize
from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from roadmap.data.augment.normalize_erase import NormalizeAndErase
from roadmap.data.augment.per_image import Transform
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.sampler import UNSHARDED, Batch, BatchPlan, EpochSampler, MicroBatches, Shard, plan_evaluation
from roadmap.data.shared_memory import PREFETCH_FACTOR, SharedMemoryBatches
from roadmap.data.worker_errors import explain_worker_errors, watch_workers
from roadmap.errors import DataError
from roadmap.system.machine import count_cores_per_process, keep_freed_memory

TINY = 5_000  # images; below it, starting dataloader workers takes longer than they save


class BatchDataset(Dataset[Batch | DataError]):
    """Batches by their plan, read and transformed on access.

    Returns a DataError, which `_deliver` raises, since DataLoader would add the worker's traceback to it.
    """

    def __init__(self, images: CheckedDataset, transform: Transform, keep_size: bool):
        self.images = images
        self.transform = transform
        self.keep_size = keep_size  # replace a skipped image by the next one
        self.shared = SharedMemoryBatches()

    def __getitem__(self, plan: BatchPlan) -> Batch | DataError:
        read = self.images.read_from if self.keep_size else self.images.read
        try:
            with isolated_random_state(plan.seed):
                samples = [sample for index in plan.indices if (sample := read(int(index))) is not None]
                levels = [torch.from_numpy(self.transform(image)) for image, _ in samples]
        except DataError as error:
            return error
        images = self.shared.stack(levels).permute(0, 3, 1, 2) if levels else torch.empty(0)
        return Batch(images, torch.tensor([label for _, label in samples]), plan.training_seed)


class _WorkerLoader:
    """Batches of dataloader workers, which end once the loader is freed."""

    def __init__(
        self, dataset: BatchDataset, plans: list[BatchPlan], normalize_erase: NormalizeAndErase, workers: int | None
    ):
        self._plans, self.normalize_erase = plans, normalize_erase
        if workers is None:
            workers = 0 if len(dataset.images) <= TINY else max(count_cores_per_process() - 1, 1)
        exiting = torch.zeros(1, dtype=torch.uint8).share_memory_()  # 1 once this process ends
        # Runs before multiprocessing ends the workers and waits for them.
        Finalize(None, exiting.fill_, args=(1,), exitpriority=0)
        self._loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=plans,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCH_FACTOR if workers else None,
            pin_memory=normalize_erase.device.type == "cuda",
            worker_init_fn=partial(prepare_worker, exiting),
        )
        watch_workers(self._loader)
        # torch ends them at the exit, or when the iterator is collected. If an error's traceback holds that in a
        # cycle, its queues may be closed by then, and torch waits 10 s for each worker.
        finalize(self, _end_workers, self._loader).atexit = False

    def _deliver(self) -> Iterator[Batch]:
        """Yield the workers' batches, one for each plan, normalized and erased.

        Raises:
            DataError: an image cannot be read, or a dataloader worker died.
        """
        with explain_worker_errors():
            for batch, plan in zip(self._loader, list(self._plans), strict=True):
                if isinstance(batch, DataError):
                    raise batch
                yield self.normalize_erase(batch, plan.seed)


class WorkerTrainLoader(_WorkerLoader):
    """The sampler's batches, augmented by dataloader workers, then normalized and erased on the device."""

    def __init__(
        self,
        images: CheckedDataset,
        transform: Transform,
        normalize_erase: NormalizeAndErase,
        sampler: EpochSampler,
        *,
        workers: int | None = None,
    ):
        super().__init__(BatchDataset(images, transform, True), [], normalize_erase, workers)
        self.sampler = sampler
        self.total, self.updates = sampler.images, sampler.updates
        self.prefetch_factor = self._loader.num_workers * (self._loader.prefetch_factor or 0)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[MicroBatches]:
        """Yield this rank's micro-batches of each update of `epoch` (from 0), from update `start` on."""
        self._plans[:] = self.sampler.plans(epoch, start)
        batches = self._deliver()
        for _ in range(start, self.updates):
            yield MicroBatches(batches, self.sampler.accumulation)


class WorkerEvalLoader(_WorkerLoader):
    """This rank's share of the images, each once, in order."""

    def __init__(
        self,
        images: CheckedDataset,
        transform: Transform,
        normalize_erase: NormalizeAndErase,
        *,
        batch_size: int,
        shard: Shard = UNSHARDED,
        workers: int | None = None,
    ):
        self.total = len(images)
        plans = plan_evaluation(len(images), batch_size, shard)
        super().__init__(BatchDataset(images, transform, False), plans, normalize_erase, workers)

    def __iter__(self) -> Iterator[Batch]:
        return (batch for batch in self._deliver() if len(batch.labels))


@contextmanager
def isolated_random_state(seed: int) -> Iterator[None]:
    """Seed the generators of Python, numpy and torch's CPU inside the context, and restore them afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002, timm draws from it
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def _end_workers(loader: DataLoader[Any]) -> None:
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()


def prepare_worker(exiting: Tensor, _: int) -> None:
    """Set up a dataloader worker, which ignores signals that are sent to all processes, such as Ctrl-C.

    The training process handles them. It sends SIGTERM to its workers when it ends, after setting `exiting`, or if
    they do not end by themselves. So a second SIGTERM ends a worker.
    """
    keep_freed_memory()

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if exiting:
            os._exit(0)

    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
