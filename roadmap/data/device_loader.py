"""Loaders for small data sets that stay on the device: decoded once to uint8, augmented in batches."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from roadmap.data.augment.crop_erase import to_device
from roadmap.data.augment.pipeline import BatchAugment, BatchDraws
from roadmap.data.augment.rand_policy import RandPolicy
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.decode import decode
from roadmap.data.prefetch import Prefetcher
from roadmap.data.sampler import Batch, BatchPlan, EpochSampler, MicroBatches, Shard, plan_evaluation
from roadmap.data.spec import AugmentSpec, Crop, DataSpec
from roadmap.system.machine import count_memory

RESIDENT = 0.25  # of the device's memory, unless hardware.resident=true
PIXELS_AT_ONCE = 512 * 64 * 64  # pixels augmented at once: for a small batch, the calls cost more than the pixels
GPU_PIXELS_AT_ONCE = 8192 * 64 * 64  # launching the 560 kernels takes as long there as an update of a small network
MAX_PRODUCTS = 2**15  # images; cuBLAS takes up to 65,535 matrix products in one call
AUGMENT_FRACTION = 1 / 32  # of a GPU's memory
BYTES_PER_PIXEL = 50  # at the peak of augmentation, for all three channels

BatchGroup = tuple[Sequence[BatchPlan], BatchDraws]  # micro-batches that are augmented at once


class DeviceDataset:
    """All images of a set, uint8 (N, 3, S, S), and their labels (N,), on the device."""

    def __init__(self, images: CheckedDataset, data: DataSpec, device: torch.device):
        decoded = decode(images, data)
        self.pixels = torch.from_numpy(decoded.pixels).to(device)
        self.labels = torch.from_numpy(decoded.labels).to(device)
        self.mean = 255 * torch.tensor(data.mean, device=device).view(1, 3, 1, 1)
        self.std = 255 * torch.tensor(data.std, device=device).view(1, 3, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def normalize(self, images: Tensor) -> Tensor:
        """Normalize levels, float32 (N, 3, S, S), in place to mean 0 and standard deviation 1 per channel."""
        return images.sub_(self.mean).div_(self.std)


@dataclass(frozen=True)
class BatchGrouping:
    """Groups the sampler's micro-batches, and draws the parameters of their augmentation.

    Holds no reference to the loader, since such a cycle would keep the images on the device.
    """

    sampler: EpochSampler
    augment: BatchAugment
    size: int  # of the images, in pixels
    group_size: int  # micro-batches per group

    def draw(self, epoch: int, start: int) -> Iterator[BatchGroup]:
        """Yield the groups of `epoch` (from 0), from micro-batch `start` on, which must begin a group."""
        plans = self.sampler.plans(epoch)
        for first in range(start, len(plans), self.group_size):
            group = plans[first : first + self.group_size]
            yield group, self.augment.draw(self.sampler.batch_size, self.size, [plan.seed for plan in group])


class DeviceTrainLoader:
    """The sampler's batches, augmented on the device; the counterpart of WorkerTrainLoader.

    The batches do not depend on the group size. Groups are counted from the epoch's first batch even if it is
    resumed later, since a GPU may use another kernel for another number of images.
    """

    def __init__(self, images: DeviceDataset, data: DataSpec, augment: AugmentSpec, sampler: EpochSampler):
        self.images = images
        self.device = images.labels.device
        self.augment = BatchAugment(data, augment, self.device, images.normalize)
        self.sampler = sampler
        self.total, self.updates = sampler.images, sampler.updates
        self.prefetch_factor = 0
        group_size = max(count_images_at_once(images.pixels) // sampler.batch_size, 1)
        self.grouping = BatchGrouping(sampler, self.augment, images.pixels.shape[3], group_size)
        self._next_epoch: tuple[int, Iterable[BatchGroup]] | None = None  # its number and prefetched groups

    def epoch(self, epoch: int, start: int = 0) -> Iterator[MicroBatches]:
        """Yield this rank's micro-batches of each update of `epoch` (from 0), from update `start` on."""
        first = start * self.sampler.accumulation
        batches = islice(self._augment(self._open(epoch, first)), first % self.grouping.group_size, None)
        for _ in range(start, self.updates):
            yield MicroBatches(batches, self.sampler.accumulation)
        if can_prefetch(self.device):  # while the network is evaluated
            self._next_epoch = epoch + 1, Prefetcher(self.grouping.draw(epoch + 1, 0))

    def _open(self, epoch: int, first: int) -> Iterable[BatchGroup]:
        """Return the groups, starting with the one that has micro-batch `first`."""
        prefetched, self._next_epoch = self._next_epoch, None
        if prefetched is not None and (prefetched[0], 0) == (epoch, first):
            return prefetched[1]
        groups = self.grouping.draw(epoch, first - first % self.grouping.group_size)
        return Prefetcher(groups) if can_prefetch(self.device) else groups

    def _augment(self, groups: Iterable[BatchGroup]) -> Iterator[Batch]:
        n = self.sampler.batch_size
        for plans, draws in groups:
            indices = to_device(np.concatenate([plan.indices for plan in plans]), self.device)
            images = self.augment(self.images.pixels, indices, draws)
            batches = zip(plans, images.split(n), self.images.labels[indices].split(n), strict=True)
            yield from (Batch(batch, labels, plan.training_seed) for plan, batch, labels in batches)


def can_prefetch(device: torch.device) -> bool:
    """Return True if the host can draw while the device computes; on a CPU all cores are busy already."""
    return device.type == "cuda"


def count_images_at_once(pixels: Tensor) -> int:
    """Return how many images of `pixels`, (M, 3, S, S), are augmented at once."""
    device = pixels.device
    if device.type != "cuda":
        return PIXELS_AT_ONCE // pixels.shape[3] ** 2
    affordable = int(AUGMENT_FRACTION * _total_memory(device)) // BYTES_PER_PIXEL
    return min(min(GPU_PIXELS_AT_ONCE, affordable) // pixels.shape[3] ** 2, MAX_PRODUCTS)


class DeviceEvalLoader:
    """This rank's share of the images, each once, in order."""

    def __init__(self, images: DeviceDataset, batch_size: int, shard: Shard):
        self.images = images
        self.total = len(images)
        self.plans = plan_evaluation(len(images), batch_size, shard)

    def __iter__(self) -> Iterator[Batch]:
        for plan in self.plans:
            chosen = slice(plan.indices[0], plan.indices[-1] + 1)
            images = self.images.normalize(self.images.pixels[chosen].float())
            yield Batch(images.contiguous(memory_format=torch.channels_last), self.images.labels[chosen])


def find_obstacle(
    images: CheckedDataset, data: DataSpec, augment: AugmentSpec, device: torch.device, budget: float = RESIDENT
) -> str | None:
    """Return why a set cannot stay on the device with the same distribution of training images; None if it can.

    Takes the first image's size for all; `decode` checks the others.

    Args:
        budget: the fraction of the device's memory that it may use.
    """
    size = data.image_size
    height, width, _ = images.read_from(0)[0].shape
    if augment.rand_augment is not None and RandPolicy.parse(augment.rand_augment) is None:
        return f"recipe.augment.rand_augment={augment.rand_augment} is applied to each image by timm"
    if data.crop_pct != 1 or width != height:
        return "only square images with data.crop_pct=1 can"
    if width != size and augment.crop is not Crop.padded:
        return f"a resized crop needs the images' own {width} pixels, not {size}"
    if 3 * size * size * len(images) > budget * _total_memory(device):
        return f"{len(images):,} images of {size} pixels take more than {budget:.0%} of its memory"
    return None


def _total_memory(device: torch.device) -> int:
    """Return the bytes of a GPU's memory, or of the machine's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return count_memory()
