"""The recipe's augmentation on whole batches, with parameters drawn for each image.

The counterpart of transforms.py for images that stay in memory: the same operations and distributions as
timm's and torchvision's, a batch at a time. What is drawn for a batch, from a generator that the caller seeds,
stands apart from what is done with it: so several batches made in one go are those that each would be alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from roadmap.data.interpolation import RESIZING, weigh_taps
from roadmap.data.spec import AugmentSpec, Crop, DataSpec, Interpolation

ATTEMPTS = 10  # timm draws a rectangle up to ten times until it fits
RATIO = (3 / 4, 4 / 3)  # width / height of a resized crop
ERASED_AREA = (0.02, 1 / 3)  # timm's RandomErasing
ERASED_RATIO = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class Crops:
    """Which part of each image is taken, and whether it is flipped."""

    flip: Tensor  # bool (N,)
    boxes: Tensor  # of a resized crop (N, 4): top, left, height, width; of a padded one (N, 2): top, left

    @classmethod
    def draw(cls, n: int, size: int, augment: AugmentSpec, data: DataSpec, generator: torch.Generator) -> Self:
        """For `n` images of `size` pixels."""
        flip = _uniform(n, generator) < (augment.flip if data.mirror else 0.0)
        if augment.crop is not Crop.padded:
            return cls(flip, draw_crop_boxes(n, size, augment.scale, generator))
        places = 2 * _padding(size) + 1
        return cls(flip, torch.randint(places, (2, n), generator=generator, device=generator.device).t())

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        return cls(torch.cat([part.flip for part in parts]), torch.cat([part.boxes for part in parts]))


def crop_and_flip(images: Tensor, crops: Crops, augment: AugmentSpec, data: DataSpec) -> Tensor:
    """Images uint8 (N, 3, S, S) to float32 of whole levels 0 to 255, cropped and flipped."""
    if augment.crop is Crop.padded:
        return _crop_padded(images, crops)
    return crop_resized(images, crops.boxes, crops.flip, data.interpolation)


def _padding(size: int) -> int:
    """Zeros on each side: an eighth of the size."""
    return max(size // 8, 1)


def _crop_padded(images: Tensor, crops: Crops) -> Tensor:
    """Zeros around, and a crop of the image's own size; one gather for crop and flip."""
    n, size = images.shape[0], images.shape[2]
    padding = _padding(size)
    top, left = crops.boxes[:, :1], crops.boxes[:, 1:]
    steps = torch.arange(size, device=images.device)
    rows = top + steps  # (N, S), in the padded image
    columns = left + torch.where(crops.flip[:, None], steps.flip(0), steps)
    padded = torch.nn.functional.pad(images, (padding, padding, padding, padding))
    places = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
    cropped = padded.flatten(2).gather(2, places.view(n, 1, -1).expand(-1, 3, -1))
    return cropped.view(images.shape).float()


def draw_crop_boxes(n: int, size: int, scale: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """Boxes (N, 4) of integers: top, left, height, width; timm's RandomResizedCrop on square images."""
    low, high = scale
    area = (_uniform((n, ATTEMPTS), generator) * (high - low) + low) * size * size
    ratio = _log_uniform((n, ATTEMPTS), RATIO, generator)
    width = (area * ratio).sqrt().round()
    height = (area / ratio).sqrt().round()
    fits = (width <= size) & (height <= size)
    width, height = (_first_fit(value, fits, fallback=size) for value in (width, height))
    top, left = (_below(size - extent, generator) for extent in (height, width))
    return torch.stack([top, left, height, width], dim=1).long()


def crop_resized(images: Tensor, boxes: Tensor, flip: Tensor, interpolation: Interpolation) -> Tensor:
    """Boxes (N, 4) of images uint8 (N, 3, S, S), enlarged to S as Pillow does.

    Its filters are separable: a column of the result is a weighted sum of a few columns, and then a row of rows.
    Pillow rounds to whole levels after each direction, which is done here too.
    """
    top, left, height, width = boxes.unbind(1)
    steps = torch.arange(images.shape[3], device=images.device)
    mirrored = torch.where(flip[:, None], steps.flip(0), steps)
    columns = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    rows = _resize(columns, mirrored, left, width, interpolation).transpose(1, 3).contiguous()
    return _resize(rows, steps, top, height, interpolation).transpose(1, 2)


def _resize(lines: Tensor, steps: Tensor, start: Tensor, extent: Tensor, interpolation: Interpolation) -> Tensor:
    """Of rows or columns (N, S, 3, S), the output's lines `steps` of crops [start, start + extent)."""
    n, size = lines.shape[:2]
    center = (steps + 0.5) * (extent[:, None] / size) - 0.5  # in the crop; it is enlarged: no filter is widened
    first = center.floor()
    weights = torch.stack(weigh_taps(center - first, interpolation, RESIZING), dim=2)  # (N, S, 2 or 4)
    reach = weights.shape[2] // 2
    tap = first[..., None] + torch.arange(1 - reach, 1 + reach, device=lines.device)
    weights *= (tap >= 0) & (tap < extent[:, None, None])  # Pillow leaves out what is beyond the crop
    weights /= weights.sum(2, keepdim=True)
    image = torch.arange(n, device=lines.device).view(-1, 1, 1)
    places = (tap.long() + start[:, None, None]).clamp_(0, size - 1) + size * image
    # At 64 px 1.67 times as fast as products with the whole (S, S) matrices (bicubic, batch 128, median of n = 7,
    # 1 thread of an AMD EPYC, torch 2.14.1, 2026-11-24).
    summed = embedding_bag(
        places.flatten(0, 1), lines.flatten(2).flatten(0, 1), mode="sum", per_sample_weights=weights.flatten(0, 1)
    )
    return summed.round_().clamp_(0, 255).view(lines.shape)


@dataclass(frozen=True)
class Erasures:
    """Per-pixel normal noise in one rectangle of some of the images; table 5."""

    images: np.ndarray  # which ones (K,): known on the host, so that nothing waits for their number
    boxes: Tensor  # (K, 4): top, left, height, width
    noise: Tensor  # float32 (K, 3, S, S)

    @classmethod
    def draw(
        cls, n: int, size: int, probability: float, generator: torch.Generator, host: np.random.Generator
    ) -> Self:
        """For `n` images of `size` pixels."""
        images = np.flatnonzero(host.random(n) < probability)
        k, device = len(images), generator.device
        if not k:
            return cls(images, torch.empty((0, 4), device=device), torch.empty((0, 3, size, size), device=device))
        boxes = draw_erased_boxes(k, size, generator)
        return cls(images, boxes, torch.randn((k, 3, size, size), generator=generator, device=device))

    @classmethod
    def join(cls, parts: Sequence[Self], starts: Sequence[int]) -> Self:
        """`starts` are the places of the parts' first images."""
        images = np.concatenate([part.images + start for part, start in zip(parts, starts, strict=True)])
        return cls(images, torch.cat([part.boxes for part in parts]), torch.cat([part.noise for part in parts]))


def draw_erased_boxes(n: int, size: int, generator: torch.Generator) -> Tensor:
    """Boxes (N, 4) of whole numbers: top, left, height, width; timm's RandomErasing."""
    low, high = ERASED_AREA
    area = size * size * (_uniform((n, ATTEMPTS), generator) * (high - low) + low)
    ratio = _log_uniform((n, ATTEMPTS), ERASED_RATIO, generator)
    height, width = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (width < size) & (height < size)
    height, width = (_first_fit(value, fits, fallback=0) for value in (height, width))
    top, left = (_below(size - extent, generator) for extent in (height, width))
    return torch.stack([top, left, height, width], dim=1)


def erase(images: Tensor, erasures: Erasures) -> Tensor:
    """Changes the normalized images (N, 3, S, S)."""
    if not len(erasures.images):
        return images
    chosen = to_device(erasures.images, images.device)
    top, left, height, width = erasures.boxes[..., None].unbind(1)
    steps = torch.arange(images.shape[3], device=images.device)
    rows = (steps >= top) & (steps < top + height)
    columns = (steps >= left) & (steps < left + width)
    mask = (rows[:, None, :, None] & columns[:, None, None, :]).float()
    kept = images.index_select(0, chosen)
    return images.index_copy_(0, chosen, (erasures.noise - kept).mul_(mask).add_(kept))


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Without waiting: from pinned memory, a copy to a GPU needs no synchronization."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _uniform(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _log_uniform(shape: tuple[int, ...], bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    low, high = math.log(bounds[0]), math.log(bounds[1])
    return (_uniform(shape, generator) * (high - low) + low).exp()


def _first_fit(values: Tensor, fits: Tensor, fallback: int) -> Tensor:
    """Of each row (N, ATTEMPTS) the first value that fits."""
    # Not by gather, which wakes all threads for a few numbers, and they wait for more with their cores taken.
    first = values[torch.arange(len(values), device=values.device), fits.float().argmax(1)]
    return torch.where(fits.any(1), first, float(fallback))


def _below(bounds: Tensor, generator: torch.Generator) -> Tensor:
    """Whole numbers from 0 to each bound, both included."""
    return (_uniform(len(bounds), generator) * (bounds + 1)).floor().clamp(max=bounds)
