"""The recipe's augmentation on whole batches, with parameters drawn for each image.

The counterpart of per_image.py for images in memory: the operations and distributions of timm and torchvision, on
a batch at a time. Drawing (on the host) is separate from applying.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from roadmap.data.augment.interpolation import RESIZING, weigh_taps
from roadmap.data.augment.rng import BatchRng, Noise, make_noise
from roadmap.data.spec import AugmentSpec, Crop, DataSpec, Interpolation

ATTEMPTS = 10  # timm draws a rectangle up to ten times until it fits
RATIO = (3 / 4, 4 / 3)  # width / height of a resized crop
ERASED_AREA = (0.02, 1 / 3)  # timm's RandomErasing
ERASED_RATIO = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class Crops:
    """Box of each image to crop, and whether to flip it."""

    flip: np.ndarray  # bool (N,)
    boxes: np.ndarray  # of a resized crop (N, 4): top, left, height, width; of a padded crop (N, 2): top, left

    @classmethod
    def draw(cls, size: int, augment: AugmentSpec, data: DataSpec, rng: BatchRng) -> Self:
        """Draw crops for images of `size` pixels."""
        flip = rng.uniform() < (augment.flip if data.mirror else 0.0)
        if augment.crop is not Crop.padded:
            return cls(flip, draw_crop_boxes(size, augment.scale, rng))
        offsets = [rng.below(2 * _padding(size)) for _ in ("top", "left")]
        return cls(flip, np.stack(offsets, axis=1).astype(np.int64))

    def sort(self, order: np.ndarray) -> Self:
        """Return the crops of the images in another order."""
        return type(self)(self.flip[order], self.boxes[order])


def crop_and_flip(images: Tensor, crops: Crops, augment: AugmentSpec, data: DataSpec) -> Tensor:
    """Crop and flip images uint8 (N, 3, S, S); return float32 of whole levels 0 to 255."""
    boxes, flip = (to_device(array, images.device) for array in (crops.boxes, crops.flip))
    if augment.crop is Crop.padded:
        return _crop_padded(images, boxes, flip)
    return crop_resized(images, boxes, flip, data.interpolation)


def _padding(size: int) -> int:
    """Return the zeros to pad on each side: an eighth of the size."""
    return max(size // 8, 1)


def _crop_padded(images: Tensor, boxes: Tensor, flip: Tensor) -> Tensor:
    """Pad with zeros and crop to the image's own size; one gather does crop and flip."""
    n, size = images.shape[0], images.shape[2]
    padding = _padding(size)
    top, left = boxes[:, :1], boxes[:, 1:]
    steps = torch.arange(size, device=images.device)
    rows = top + steps  # (N, S), in the padded image
    columns = left + torch.where(flip[:, None], steps.flip(0), steps)
    padded = torch.nn.functional.pad(images, (padding, padding, padding, padding))
    indices = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
    cropped = padded.flatten(2).gather(2, indices.view(n, 1, -1).expand(-1, 3, -1))
    return cropped.view(images.shape).float()


def draw_crop_boxes(size: int, scale: tuple[float, ...], rng: BatchRng) -> np.ndarray:
    """Draw boxes (N, 4): top, left, height, width; timm's RandomResizedCrop on square images."""
    height, width = _draw_sides(size, scale, RATIO, rng, largest=size, fallback=size)
    return _place(height, width, size, rng)


def crop_resized(images: Tensor, boxes: Tensor, flip: Tensor, interpolation: Interpolation) -> Tensor:
    """Resize boxes (N, 4) of images uint8 (N, 3, S, S) to S as Pillow does.

    Pillow's filters are separable: a column of the result is a weighted sum of a few columns, then the same for
    rows. Pillow rounds to whole levels after each direction, and so does this. Columns are a product with all
    weights, most of them 0, and rows are sums of a few, so neither needs a copy in another layout. Sums in both
    directions were slower on small images.
    """
    n, _, size, _ = images.shape
    top, left, height, width = boxes.float()[..., None].unbind(1)  # (N, 1) each
    steps = torch.arange(float(size), device=images.device).expand(n, -1)
    mirrored = torch.where(flip[:, None], steps.flip(1), steps)
    starts, extents = torch.cat([left, top]), torch.cat([width, height])
    both = _weigh_lines(torch.cat([mirrored, steps]), starts, extents, interpolation)
    (columns, across), (rows, down) = zip(*(each.split(n) for each in both), strict=True)
    matrices = torch.zeros(n, size, size, device=images.device)
    matrices.scatter_add_(1, columns.transpose(1, 2), across.transpose(1, 2))
    order = torch.arange(3 * size, device=images.device).view(3, size).t().flatten()
    by_rows = images.flatten(1, 2).index_select(1, order)  # a third of the time of a transposed copy
    with _products_of_fp32():
        products = torch.bmm(by_rows.float(), matrices)
    lines = products.round_().clamp_(0, 255).view(-1, 3 * size)
    places = rows + size * torch.arange(n, device=images.device).view(-1, 1, 1)
    summed = embedding_bag(places.flatten(0, 1), lines, mode="sum", per_sample_weights=down.flatten(0, 1))
    resized = torch.empty(images.shape, device=images.device)
    torch.round(summed.view(-1, size, 3, size).transpose(1, 2), out=resized).clamp_(0, 255)
    return resized


@contextmanager
def _products_of_fp32() -> Iterator[None]:
    """Disable TF32 even if the network uses it: it would change one pixel in 60, by up to two levels."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def _weigh_lines(
    steps: Tensor, start: Tensor, extent: Tensor, interpolation: Interpolation
) -> tuple[Tensor, Tensor]:
    """Return the input's lines that contribute to each output line, and their weights, (N, S, 2 or 4) each.

    Args:
        steps: for each output line, its index among the S lines of the crop, (N, S).
        start, extent: of the crop, in lines (N, 1).
    """
    size = steps.shape[1]
    center = (steps + 0.5) * (extent / size) - 0.5  # in the crop; a crop is only enlarged, so no filter is widened
    first = center.floor()
    weights = torch.stack(weigh_taps(center - first, interpolation, RESIZING))  # (2 or 4, N, S)
    reach = len(weights) // 2
    tap = first + torch.arange(1 - reach, 1 + reach, device=steps.device).view(-1, 1, 1)
    weights *= (tap + 1).clamp_(0, 1).mul_((extent - tap).clamp_(0, 1))  # Pillow excludes pixels beyond the crop
    weights /= weights.sum(0)
    places = tap.add_(start).clamp_(0, size - 1).long()
    return places.permute(1, 2, 0).contiguous(), weights.permute(1, 2, 0).contiguous()


@dataclass(frozen=True)
class Erasures:
    """Per-pixel normal noise in one rectangle of some of the images; table 5."""

    images: np.ndarray  # indices (K,)
    boxes: np.ndarray  # (K, 4): top, left, height, width
    noise: Sequence[Noise]  # of each batch, three numbers per pixel in its boxes

    @classmethod
    def draw(cls, size: int, probability: float, rng: BatchRng) -> Self:
        """Draw erasures for images of `size` pixels."""
        images, boxes = draw_erased_boxes(size, probability, rng)
        areas = np.zeros(rng.images, dtype=np.int64)
        areas[images] = boxes[:, 2] * boxes[:, 3]
        return cls(images, boxes, rng.noise(3 * areas))


def draw_erased_boxes(size: int, probability: float, rng: BatchRng) -> tuple[np.ndarray, np.ndarray]:
    """Draw the erased images (K,) and their boxes (K, 4): top, left, height, width; timm's RandomErasing."""
    images = np.flatnonzero(rng.uniform() < probability)
    width, height = _draw_sides(size, ERASED_AREA, ERASED_RATIO, rng, largest=size - 1, fallback=0)
    return images, _place(height, width, size, rng)[images]


def erase(images: Tensor, erasures: Erasures) -> Tensor:
    """Erase in the normalized images (N, 3, S, S), channels_last, in place."""
    if not len(erasures.images):
        return images
    size, device = images.shape[3], images.device
    chosen, boxes = (to_device(array, device) for array in (erasures.images, erasures.boxes))
    top, left, height, width = boxes[..., None].unbind(1)
    steps = torch.arange(size, device=device)
    rows = (steps >= top) & (steps < top + height)
    columns = (steps >= left) & (steps < left + width)
    mask = rows[:, :, None] & columns.repeat_interleave(3, 1)[:, None]  # (K, S, 3 * S)
    lines = images.permute(0, 2, 3, 1).flatten(2)  # in memory order
    erased = lines.index_select(0, chosen).masked_scatter_(mask, make_noise(erasures.noise, device))
    lines.index_copy_(0, chosen, erased)
    return images


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy to the device; to a GPU from pinned memory, without synchronization."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _draw_sides(
    size: int, areas: Sequence[float], ratios: Sequence[float], rng: BatchRng, *, largest: int, fallback: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return sides, float64 (N,) each, of at most `largest`, or `fallback` after ATTEMPTS.

    Args:
        areas: smallest and largest fraction of the image.
        ratios: smallest and largest ratio of the second side to the first, log-uniform.
    """
    low, high = areas
    start, end = map(math.log, ratios)
    chosen, turned = rng.uniform(ATTEMPTS), rng.uniform(ATTEMPTS)

    def propose(images: slice | np.ndarray, attempt: int) -> tuple[np.ndarray, np.ndarray]:
        area = (chosen[images, attempt] * (high - low) + low) * size * size
        ratio = np.exp(turned[images, attempt] * (end - start) + start)
        return np.sqrt(area / ratio).round(), np.sqrt(area * ratio).round()

    first, second = propose(slice(None), 0)
    missing = np.flatnonzero((first > largest) | (second > largest))
    for attempt in range(1, ATTEMPTS):
        first[missing], second[missing] = tries = propose(missing, attempt)
        missing = missing[(tries[0] > largest) | (tries[1] > largest)]
    first[missing] = second[missing] = fallback
    return first, second


def _place(height: np.ndarray, width: np.ndarray, size: int, rng: BatchRng) -> np.ndarray:
    """Return boxes (N, 4) of these sides at random places: top, left, height, width."""
    top, left = (rng.below(size - extent) for extent in (height, width))
    return np.stack([top, left, height, width], axis=1).astype(np.int64)
