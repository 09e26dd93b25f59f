"""Batches in an order, and with an augmentation, that depend on (seed, epoch, batch) and on nothing else.

The number of worker processes and what ran before don't matter: a batch draws
its random numbers from a seed of its own.
"""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from roadmap.data.sources import Images
from roadmap.data.transforms import Transform

Batch = tuple[Tensor, Tensor]  # images float32 (N, 3, S, S), labels int64 (N,)
TINY = 5_000  # images; below it, worker processes take longer to start than they save


@dataclass(frozen=True)
class BatchPlan:
    """Which images make a batch, and the seed of their augmentation."""

    indices: np.ndarray
    seed: int


class BatchDataset(Dataset[Batch]):
    """Whole batches by their plan, read and transformed where they are asked for."""

    def __init__(self, images: Images, transform: Transform):
        self.images = images
        self.transform = transform

    def __getitem__(self, plan: BatchPlan) -> Batch:
        with own_random_state(plan.seed):
            samples = [self.images[int(index)] for index in plan.indices]
            tensors = [self.transform(image) for image, _ in samples]
        return torch.stack(tensors), torch.tensor([label for _, label in samples])


class TrainBatches:
    """Shuffled batches of equal size; the images that don't fill an update are left out of the epoch.

    Args:
        batch_size: images of one micro-batch.
        accumulation: micro-batches of one update.
    """

    def __init__(
        self,
        images: Images,
        transform: Transform,
        *,
        batch_size: int,
        accumulation: int = 1,
        seed: int,
        workers: int | None = None,
        pin_memory: bool = False,
    ):
        self.images = images
        self.batch_size = batch_size
        self.accumulation = accumulation
        self.seed = seed
        self.updates = len(images) // (batch_size * accumulation)
        self._plans: list[BatchPlan] = []
        self._loader = _build_loader(images, transform, self._plans, workers, pin_memory)

    def epoch(self, epoch: int) -> Iterator[list[Batch]]:
        """The micro-batches of each update of `epoch` (from 0)."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
        self._plans[:] = [
            BatchPlan(
                order[number * self.batch_size : (number + 1) * self.batch_size],
                derive_seed(self.seed, epoch, number),
            )
            for number in range(self.updates * self.accumulation)
        ]
        batches = iter(self._loader)
        for _ in range(self.updates):
            yield [next(batches) for _ in range(self.accumulation)]


class EvalBatches:
    """Every image once, in order; the last batch may be smaller."""

    def __init__(
        self,
        images: Images,
        transform: Transform,
        *,
        batch_size: int,
        workers: int | None = None,
        pin_memory: bool = False,
    ):
        plans = [
            BatchPlan(np.arange(start, min(start + batch_size, len(images))), seed=0)
            for start in range(0, len(images), batch_size)
        ]
        self.images = images
        self._loader = _build_loader(images, transform, plans, workers, pin_memory)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._loader)


def derive_seed(*numbers: int) -> int:
    """One seed for random, numpy and torch from several numbers, well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Python's, numpy's and torch's CPU generators start at `seed` inside and are put back afterwards."""
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


def _build_loader(
    images: Images, transform: Transform, plans: list[BatchPlan], workers: int | None, pin_memory: bool
) -> DataLoader[Batch]:
    if workers is None:
        workers = 0 if len(images) <= TINY else max(len(os.sched_getaffinity(0)) - 1, 1)
    return DataLoader(
        BatchDataset(images, transform),
        batch_size=None,
        sampler=plans,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
    )
