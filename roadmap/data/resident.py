"""Small data on the device: decoded once to uint8, augmented in batches, with nothing to wait for."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from roadmap.data.batch_augment import BatchAugment
from roadmap.data.decode import decode
from roadmap.data.order import Batch, BatchPlan, MicroBatches, Order, Share, plan_evaluation
from roadmap.data.rand_policy import RandPolicy
from roadmap.data.reading import CheckedImages
from roadmap.data.spec import AugmentSpec, Crop, DataSpec
from roadmap.machine import count_memory

BUDGET = 0.25  # of the device's memory, where it was not asked for
TOGETHER = 512 * 64 * 64  # pixels that are augmented in one go: calls cost more than the pixels of a small batch


class ResidentImages:
    """All images of a set, uint8 (N, 3, S, S), and labels (N,), on the device."""

    def __init__(self, images: CheckedImages, data: DataSpec, device: torch.device):
        decoded = decode(images, data)
        self.pixels = torch.from_numpy(decoded.pixels).to(device)
        self.labels = torch.from_numpy(decoded.labels).to(device)
        self.mean = 255 * torch.tensor(data.mean, device=device).view(1, 3, 1, 1)
        self.std = 255 * torch.tensor(data.std, device=device).view(1, 3, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def normalize(self, images: Tensor) -> Tensor:
        """Levels float32 (N, 3, S, S), which are changed, to mean 0 and deviation 1 a channel."""
        return images.sub_(self.mean).div_(self.std)


class ResidentTrainBatches:
    """The batches of an order, augmented on the device; the counterpart of batches.TrainBatches."""

    def __init__(self, images: ResidentImages, data: DataSpec, augment: AugmentSpec, order: Order):
        self.images = images
        self.augment = BatchAugment(data, augment, images.labels.device, images.normalize)
        self.order = order
        self.updates = order.updates
        self.in_advance = 0

    def epoch(self, epoch: int, start: int = 0) -> Iterator[MicroBatches]:
        """This process's micro-batches of each update of `epoch` (from 0), from update `start` on."""
        device = self.images.labels.device
        plans = self.order.plans(epoch)
        chosen = torch.from_numpy(np.array([plan.indices for plan in plans])).to(device)  # at once, to wait once
        batches = self._batches(plans, chosen, start * self.order.accumulation)
        for _ in range(start, self.updates):
            yield MicroBatches(batches, self.order.accumulation)

    def _batches(self, plans: Sequence[BatchPlan], chosen: Tensor, start: int) -> Iterator[Batch]:
        """The micro-batches of `plans`, of images `chosen` (plans, N), from number `start` on.

        They are the same however many are made at once. Wherever it starts, those are made together that are from
        the beginning, since a GPU may take another kernel for another number of images.
        """
        size, n = self.images.pixels.shape[3], self.order.batch_size
        together = max(TOGETHER // (n * size**2), 1)
        batches = self._make(plans, chosen, start // together * together, together)
        return islice(batches, start % together, None)

    def _make(self, plans: Sequence[BatchPlan], chosen: Tensor, start: int, together: int) -> Iterator[Batch]:
        size, n = self.images.pixels.shape[3], self.order.batch_size
        for first in range(start, len(plans), together):
            some, places = plans[first : first + together], chosen[first : first + together].flatten()
            draws = self.augment.draw(n, size, [plan.seed for plan in some])
            images = self.augment(self.images.pixels, places, draws)
            parts = zip(some, images.split(n), self.images.labels[places].split(n), strict=True)
            yield from (Batch(part, labels, plan.training_seed) for plan, part, labels in parts)


class ResidentEvalBatches:
    """This process's share of the images, each once, in order."""

    def __init__(self, images: ResidentImages, batch_size: int, share: Share):
        self.images = images
        self.plans = plan_evaluation(len(images), batch_size, share)

    def __iter__(self) -> Iterator[Batch]:
        for plan in self.plans:
            chosen = slice(plan.indices[0], plan.indices[-1] + 1)
            images = self.images.normalize(self.images.pixels[chosen].float())
            yield Batch(images.contiguous(memory_format=torch.channels_last), self.images.labels[chosen])


def find_obstacle(
    images: CheckedImages, data: DataSpec, augment: AugmentSpec, device: torch.device, budget: float = BUDGET
) -> str | None:
    """Why a set can't be kept on the device with the same distribution of training images; None if it can.

    The first image speaks for the size of all; `decode` checks the others.

    Args:
        budget: the part of the device's memory that it may take.
    """
    size = data.image_size
    height, width, _ = images.read_from(0)[0].shape
    if augment.rand_augment is not None and RandPolicy.parse(augment.rand_augment) is None:
        return f"recipe.augment.rand_augment={augment.rand_augment} is made image by image, by timm"
    if data.crop_pct != 1 or width != height:
        return "only square images that are evaluated whole can"
    if width != size and augment.crop is not Crop.padded:
        return f"a resized crop needs the images' own {width} pixels, not {size}"
    if 3 * size * size * len(images) > budget * _memory(device):
        return f"{len(images):,} images of {size} pixels take more than {budget:.0%} of its memory"
    return None


def _memory(device: torch.device) -> int:
    """Bytes of the device, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return count_memory()
