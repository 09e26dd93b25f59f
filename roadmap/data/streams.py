"""Random numbers for the images of several batches, each batch's from a generator of its own.

They are drawn by numpy on the host, so that images can be sorted by what was drawn without waiting for a device,
and so that they are the same on every device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """Normal numbers of one batch, which the device draws: a pixel's value decides nothing on the host."""

    seed: int
    count: int


class Streams:
    """A batch gets the numbers that it would get alone, and what follows from them is computed for all in one go.

    Args:
        seeds: of each batch.
        n: images of each batch.
    """

    def __init__(self, seeds: Sequence[int], n: int):
        self.images = n * len(seeds)
        self._n = n
        self._seeds = seeds
        self._generators = [np.random.default_rng(seed) for seed in seeds]

    def uniform(self, *shape: int) -> np.ndarray:
        """From 0 to 1, float64 (images, *shape)."""
        return np.concatenate([generator.random((self._n, *shape)) for generator in self._generators])

    def normal(self, *shape: int) -> np.ndarray:
        """Of mean 0 and deviation 1, float64 (images, *shape)."""
        return np.concatenate([generator.standard_normal((self._n, *shape)) for generator in self._generators])

    def below(self, bounds: np.ndarray | int) -> np.ndarray:
        """Whole numbers from 0 to each bound (images,), both included; float64 (images,)."""
        return np.floor(self.uniform() * (np.asarray(bounds) + 1))

    def noise(self, counts: np.ndarray) -> list[Noise]:
        """What `make_noise` needs for `counts` (images,) numbers for each image, one after the other."""
        each = counts.reshape(len(self._seeds), self._n).sum(1).tolist()
        return [Noise(seed, count) for seed, count in zip(self._seeds, each, strict=True)]


def make_noise(batches: Sequence[Noise], device: torch.device) -> Tensor:
    """Those of all batches, float32."""
    counts = [batch.count for batch in batches]
    noise = torch.empty(sum(counts), device=device)
    for batch, part in zip(batches, noise.split(counts), strict=True):
        part.normal_(generator=torch.Generator(device).manual_seed(batch.seed))
    return noise
