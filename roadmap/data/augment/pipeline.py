"""The recipe's complete augmentation on batches, in timm's order; the counterpart of per_image.py.

kornia is not used: its RandAugment draws the operations once per batch, and it takes about four times as long.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from roadmap.data.augment.crop_erase import Crops, Erasures, crop_and_flip, erase, to_device
from roadmap.data.augment.rand_augment import Plan, RandAugment
from roadmap.data.augment.rand_policy import RandPolicy
from roadmap.data.augment.rng import BatchRng
from roadmap.data.spec import AugmentSpec, DataSpec


@dataclass(frozen=True)
class BatchDraws:
    """Parameters drawn on the host for the images of some batches, and the order in which they are augmented.

    Crops are in the plan's order. Erasures are in the batches' order, which the indices `back` (N,) restore.
    """

    crops: Crops
    plan: Plan
    back: np.ndarray
    erasures: Erasures


class BatchAugment:
    """Crop, flip, RandAugment, normalization and erasing, with all parameters drawn for each image.

    Args:
        normalize: maps levels float32 (N, 3, S, S) to the network's input, possibly in place.
    """

    def __init__(
        self, data: DataSpec, augment: AugmentSpec, device: torch.device, normalize: Callable[[Tensor], Tensor]
    ):
        self.data = data
        self.augment = augment
        self.device = device
        self.normalize = normalize
        policy = RandPolicy(layers=0) if augment.rand_augment is None else RandPolicy.parse(augment.rand_augment)
        assert policy is not None, "find_obstacle refuses unknown policies"
        self.rand_augment = RandAugment(policy, data, device)

    def draw(self, n: int, size: int, seeds: Sequence[int]) -> BatchDraws:
        """Draw for batches of `n` images of `size` pixels; a batch's draws depend only on its seed."""
        rng = BatchRng(seeds, n)
        crops = Crops.draw(size, self.augment, self.data, rng)
        plan = Plan(self.rand_augment.policy.draw(rng), size)
        erasures = Erasures.draw(size, self.augment.erasing, rng)
        return BatchDraws(crops.sort(plan.order), plan, np.argsort(plan.order), erasures)

    def __call__(self, pixels: Tensor, chosen: Tensor, draws: BatchDraws) -> Tensor:
        """Augment images `chosen` (N,) of uint8 (M, 3, S, S); return float32 (N, 3, S, S), channels_last."""
        images = pixels.index_select(0, chosen[to_device(draws.plan.order, self.device)])
        levels = crop_and_flip(images, draws.crops, self.augment, self.data)
        self.rand_augment.apply(levels, draws.plan)
        ordered = levels.index_select(0, to_device(draws.back, self.device))
        return erase(self.normalize(ordered).contiguous(memory_format=torch.channels_last), draws.erasures)
