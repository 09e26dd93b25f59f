"""Small data on the device: decoded once to uint8, augmented in batches, with nothing to wait for."""

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import Resize
from torchvision.transforms.functional import InterpolationMode

from roadmap.data.augment import crop_and_flip, erase
from roadmap.data.batches import Batch, derive_seed
from roadmap.data.sources import Images
from roadmap.data.spec import AugmentSpec, Crop, DataSpec
from roadmap.errors import DataError

BUDGET = 0.25  # of the device's memory


class ResidentImages:
    """All images of a set, uint8 (N, S, S, 3), and labels (N,), on the device."""

    def __init__(self, images: Images, data: DataSpec, device: torch.device):
        pixels, labels = _decode(images, data)
        self.pixels = torch.from_numpy(pixels).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.mean = 255 * torch.tensor(data.mean, device=device).view(1, 3, 1, 1)
        self.std = 255 * torch.tensor(data.std, device=device).view(1, 3, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def normalize(self, images: Tensor) -> Tensor:
        """Float images (N, 3, S, S) in 0..255 to mean 0 and deviation 1 a channel."""
        return (images - self.mean) / self.std


class ResidentTrainBatches:
    """Shuffled, augmented batches of equal size; the counterpart of batches.TrainBatches."""

    def __init__(
        self,
        images: ResidentImages,
        augment: AugmentSpec,
        *,
        mirror: bool,
        batch_size: int,
        accumulation: int,
        seed: int,
    ):
        self.images = images
        self.augment = augment
        self.mirror = mirror
        self.batch_size = batch_size
        self.accumulation = accumulation
        self.seed = seed
        self.updates = len(images) // (batch_size * accumulation)

    def epoch(self, epoch: int) -> Iterator[list[Batch]]:
        """The micro-batches of each update of `epoch` (from 0)."""
        device = self.images.labels.device
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
        places = torch.from_numpy(order).to(device)
        for update in range(self.updates):
            first = update * self.accumulation
            yield [self._batch(places, epoch, number) for number in range(first, first + self.accumulation)]

    def _batch(self, order: Tensor, epoch: int, number: int) -> Batch:
        chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
        generator = torch.Generator(chosen.device).manual_seed(derive_seed(self.seed, epoch, number))
        images = crop_and_flip(self.images.pixels[chosen], self.augment, self.mirror, generator)
        images = erase(self.images.normalize(images), self.augment.erasing, generator)
        return images, self.images.labels[chosen]


class ResidentEvalBatches:
    """Every image once, in order; the last batch may be smaller."""

    def __init__(self, images: ResidentImages, batch_size: int):
        self.images = images
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.images), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            pixels = self.images.pixels[chosen].permute(0, 3, 1, 2).float()
            yield self.images.normalize(pixels), self.images.labels[chosen]


def find_obstacle(images: Images, data: DataSpec, augment: AugmentSpec, device: torch.device) -> str | None:
    """Why a set can't be kept on the device with the same distribution of training images; None if it can.

    The first image speaks for the size of all; `_decode` checks the others.
    """
    size = data.image_size
    width, height = images[0][0].size
    if augment.rand_augment is not None:
        return "RandAugment is made image by image"
    if data.crop_pct != 1 or width != height:
        return "only square images that are evaluated whole can"
    if width != size and augment.crop is not Crop.padded:
        return f"a resized crop needs the images' own {width} pixels, not {size}"
    if 3 * size * size * len(images) > BUDGET * _memory(device):
        return f"{len(images):,} images of {size} pixels take more than {BUDGET:.0%} of its memory"
    return None


def _decode(images: Images, data: DataSpec) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 (N, S, S, 3), enlarged or shrunk to S as the per-image transforms do, and labels (N,)."""
    size = data.image_size
    resize = Resize((size, size), InterpolationMode(data.interpolation.value))
    pixels = np.empty((len(images), size, size, 3), dtype=np.uint8)
    labels = np.empty(len(images), dtype=np.int64)
    first = images[0][0].size
    for index in range(len(images)):
        image, labels[index] = images[index]
        if image.size != first:
            raise DataError(
                f"image {index} of {data.name} has {image.size} pixels, the first one {first}: images of several "
                "sizes can't be kept on the device. Choose hardware.resident=false"
            )
        pixels[index] = np.asarray(image if image.size == (size, size) else resize(image))
    return pixels, labels


def _memory(device: torch.device) -> int:
    """Bytes of the device, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
