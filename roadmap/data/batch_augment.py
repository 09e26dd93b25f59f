"""The recipe's whole augmentation on batches, in timm's order; the counterpart of transforms.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from roadmap.data.augment import Crops, Erasures, crop_and_flip, erase
from roadmap.data.rand_augment import RandAugment
from roadmap.data.rand_policy import Draws, RandPolicy
from roadmap.data.spec import AugmentSpec, DataSpec


@dataclass(frozen=True)
class BatchDraws:
    """All that is drawn for the images of a batch."""

    n: int
    crops: Crops
    ops: Draws | None
    erasures: Erasures


class BatchAugment:
    """Crop, flip, RandAugment, normalization and erasing, with everything drawn for each image from a seed."""

    def __init__(self, data: DataSpec, augment: AugmentSpec, device: torch.device):
        self.data = data
        self.augment = augment
        self.device = device
        self.rand_augment = None
        if augment.rand_augment is not None:
            policy = RandPolicy.parse(augment.rand_augment)
            assert policy is not None, "find_obstacle lets only a known policy through"
            self.rand_augment = RandAugment(policy, data, device)

    def draw(self, n: int, size: int, seed: int) -> BatchDraws:
        """For `n` images of `size` pixels; the same for the same seed, whatever else is drawn."""
        generator = torch.Generator(self.device).manual_seed(seed)
        host = np.random.default_rng(seed)
        crops = Crops.draw(n, size, self.augment, self.data, generator)
        ops = self.rand_augment.policy.draw(n, host) if self.rand_augment else None
        return BatchDraws(n, crops, ops, Erasures.draw(n, size, self.augment.erasing, generator, host))

    def __call__(self, images: Tensor, draws: BatchDraws, normalize: Callable[[Tensor], Tensor]) -> Tensor:
        """Images uint8 (N, 3, S, S) to normalized ones, float32 (N, 3, S, S), channels_last."""
        levels = crop_and_flip(images, draws.crops, self.augment, self.data)
        if self.rand_augment is not None and draws.ops is not None:
            levels = self.rand_augment.apply(levels, draws.ops)
        return erase(normalize(levels), draws.erasures).contiguous(memory_format=torch.channels_last)


def join(parts: Sequence[BatchDraws]) -> BatchDraws:
    """The draws of several batches, for their images one after the other."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(part.n for part in parts)])
    ops = [part.ops for part in parts if part.ops is not None]
    return BatchDraws(
        int(starts[-1]),
        Crops.join([part.crops for part in parts]),
        Draws.join(ops) if ops else None,
        Erasures.join([part.erasures for part in parts], starts[:-1].tolist()),
    )
