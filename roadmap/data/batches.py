"""Batches that worker processes read and transform, each with random numbers of its own (order.py)."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from roadmap.data.order import ALONE, Batch, BatchPlan, Order, Share, plan_evaluation
from roadmap.data.sources import Images
from roadmap.data.transforms import Transform

TINY = 5_000  # images; below it, worker processes take longer to start than they save


class BatchDataset(Dataset[Batch]):
    """Whole batches by their plan, read and transformed where they are asked for."""

    def __init__(self, images: Images, transform: Transform):
        self.images = images
        self.transform = transform

    def __getitem__(self, plan: BatchPlan) -> Batch:
        with own_random_state(plan.seed):
            samples = [self.images[int(index)] for index in plan.indices]
            tensors = [self.transform(image) for image, _ in samples]
        return Batch(torch.stack(tensors), torch.tensor([label for _, label in samples]), plan.training_seed)


class TrainBatches:
    """The batches of an order, augmented."""

    def __init__(
        self,
        images: Images,
        transform: Transform,
        order: Order,
        *,
        workers: int | None = None,
        pin_memory: bool = False,
    ):
        self.order = order
        self.updates = order.updates
        self._plans: list[BatchPlan] = []
        self._loader = _build_loader(images, transform, self._plans, workers, pin_memory)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """This process's micro-batches of each update of `epoch` (from 0), from update `start` on."""
        self._plans[:] = self.order.plans(epoch, start)
        batches = iter(self._loader)
        for _ in range(start, self.updates):
            yield [next(batches) for _ in range(self.order.accumulation)]


class EvalBatches:
    """This process's share of the images, each once, in order."""

    def __init__(
        self,
        images: Images,
        transform: Transform,
        *,
        batch_size: int,
        share: Share = ALONE,
        workers: int | None = None,
        pin_memory: bool = False,
    ):
        plans = plan_evaluation(len(images), batch_size, share)
        self._loader = _build_loader(images, transform, plans, workers, pin_memory)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._loader)


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
