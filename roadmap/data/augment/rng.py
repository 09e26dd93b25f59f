"""Random numbers for the images of several batches, with one generator per batch.

numpy draws them on the host, so images can be sorted by the draws without waiting for a device, and the numbers are
the same on every device.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Noise = tuple[int, int]  # seed and count of one batch's normal numbers, which are drawn on the device


class BatchRng:
    """Generators of several batches: each batch's numbers depend only on its own seed.

    Args:
        seeds: one per batch.
        n: images per batch.
    """

    def __init__(self, seeds: Sequence[int], n: int):
        self.images = n * len(seeds)
        self._n = n
        self._seeds = seeds
        self._generators = [np.random.default_rng(seed) for seed in seeds]

    def uniform(self, *shape: int) -> np.ndarray:
        """Draw from 0 to 1, float64 (images, *shape)."""
        return np.concatenate([generator.random((self._n, *shape)) for generator in self._generators])

    def normal(self, *shape: int) -> np.ndarray:
        """Draw with mean 0 and standard deviation 1, float64 (images, *shape)."""
        return np.concatenate([generator.standard_normal((self._n, *shape)) for generator in self._generators])

    def below(self, bounds: np.ndarray | int) -> np.ndarray:
        """Draw integers from 0 to each bound (images,), inclusive; float64 (images,)."""
        return np.floor(self.uniform() * (np.asarray(bounds) + 1))

    def noise(self, counts: np.ndarray) -> list[Noise]:
        """Return the noise of each batch, with `counts` (images,) numbers per image, for `make_noise`."""
        each = counts.reshape(len(self._seeds), self._n).sum(1).tolist()
        return list(zip(self._seeds, each, strict=True))


def make_noise(batches: Sequence[Noise], device: torch.device) -> Tensor:
    """Draw the numbers of all batches, float32."""
    counts = [count for _, count in batches]
    noise = torch.empty(sum(counts), device=device)
    for (seed, _), part in zip(batches, noise.split(counts), strict=True):
        part.normal_(generator=torch.Generator(device).manual_seed(seed))
    return noise
