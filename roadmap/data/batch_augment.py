"""The recipe's whole augmentation on batches, in timm's order; the counterpart of transforms.py."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from roadmap.data.augment import crop_and_flip, erase
from roadmap.data.rand_augment import RandAugment
from roadmap.data.rand_policy import RandPolicy
from roadmap.data.spec import AugmentSpec, DataSpec


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

    def __call__(self, images: Tensor, normalize: Callable[[Tensor], Tensor], seed: int) -> Tensor:
        """Images uint8 (N, 3, S, S) to normalized ones, float32 (N, 3, S, S), channels_last."""
        generator = torch.Generator(self.device).manual_seed(seed)
        host = np.random.default_rng(seed)
        levels = crop_and_flip(images, self.augment, self.data, generator)
        if self.rand_augment is not None:
            levels = self.rand_augment(levels, host)
        erased = erase(normalize(levels), self.augment.erasing, generator, host)
        return erased.contiguous(memory_format=torch.channels_last)
