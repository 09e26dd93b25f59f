"""Sampler: the images of each batch, and its random seeds, as functions of (seed, epoch, batch) only.

They depend neither on the number of dataloader workers nor on earlier work. So an epoch can start at any update,
and several ranks that share an update get the same batches as a single process.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor


class Batch(NamedTuple):
    """A micro-batch, the input of the network."""

    images: Tensor  # float32 (N, 3, S, S)
    labels: Tensor  # int64 (N,)
    seed: int | None = None  # of mixing and stochastic depth


class MicroBatches:
    """Lazily yields one update's micro-batches, to bound device memory."""

    def __init__(self, batches: Iterator[Batch], count: int):
        self._batches, self._count = batches, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        """Iterate once, before the next update's micro-batches, which come from the same iterator."""
        for _ in range(self._count):
            yield next(self._batches)  # raises if there are too few


@dataclass(frozen=True)
class Shard:
    """The share of the batches that this rank processes."""

    rank: int = 0
    world_size: int = 1


UNSHARDED = Shard()


@dataclass(frozen=True)
class BatchPlan:
    indices: np.ndarray
    seed: int  # of its augmentation
    training_seed: int  # of mixing and stochastic depth


@dataclass(frozen=True)
class EpochSampler:
    """Shuffled batches of equal size; images that do not fill an update are left out of the epoch."""

    images: int
    batch_size: int  # images per micro-batch
    accumulation: int  # micro-batches per update in each process
    seed: int
    shard: Shard = UNSHARDED

    @property
    def updates(self) -> int:
        """Updates per epoch."""
        return self.images // (self.batch_size * self.accumulation * self.shard.world_size)

    def plans(self, epoch: int, start: int = 0) -> list[BatchPlan]:
        """Return this rank's micro-batches of `epoch` (from 0), from update `start` on."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
        per_update = self.accumulation * self.shard.world_size
        numbers = range(start * per_update + self.shard.rank, self.updates * per_update, self.shard.world_size)
        size, seed = self.batch_size, (self.seed, epoch)
        return [
            BatchPlan(order[n * size : (n + 1) * size], derive_seed(*seed, n), derive_seed(*seed, n, 1))
            for n in numbers
        ]


def plan_evaluation(images: int, batch_size: int, shard: Shard) -> list[BatchPlan]:
    """Return batches of every image once, in order, over all ranks; the last batch may be smaller."""
    starts = range(shard.rank * batch_size, images, shard.world_size * batch_size)
    return [BatchPlan(np.arange(start, min(start + batch_size, images)), 0, 0) for start in starts]


def derive_seed(*numbers: int) -> int:
    """Derive one seed for random, numpy and torch from several numbers, well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
