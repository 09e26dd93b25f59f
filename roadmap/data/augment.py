"""The recipe's augmentation on whole batches, with parameters drawn for each image.

The counterpart of transforms.py for images that stay in memory: the same operations and distributions as
timm's and torchvision's, a batch at a time. Random numbers come from a generator that the caller seeds.
"""

import math

import torch
from torch import Tensor

from roadmap.data.spec import AugmentSpec, Crop

ATTEMPTS = 10  # timm draws a rectangle up to ten times until it fits
RATIO = (3 / 4, 4 / 3)  # width / height of a resized crop
ERASED_AREA = (0.02, 1 / 3)  # timm's RandomErasing
ERASED_RATIO = (0.3, 1 / 0.3)


def crop_and_flip(images: Tensor, augment: AugmentSpec, mirror: bool, generator: torch.Generator) -> Tensor:
    """Images uint8 (N, S, S, 3) to float32 (N, 3, S, S) in 0..255, channels_last, cropped and flipped."""
    flip = _uniform(len(images), generator) < (augment.flip if mirror else 0.0)
    if augment.crop is Crop.padded:
        return _crop_padded(images, flip, generator)
    boxes = draw_crop_boxes(len(images), images.shape[1], augment.scale, generator)
    return crop_resized(images, boxes, flip)


def _crop_padded(images: Tensor, flip: Tensor, generator: torch.Generator) -> Tensor:
    """Zeros around, an eighth of the size, and a crop of the image's own size; one gather for crop and flip."""
    n, size = images.shape[:2]
    padding = max(size // 8, 1)
    offsets = torch.randint(2 * padding + 1, (2, n, 1), generator=generator, device=images.device)
    steps = torch.arange(size, device=images.device)
    rows = offsets[0] + steps  # (N, S), in the padded image
    columns = offsets[1] + torch.where(flip[:, None], steps.flip(0), steps)
    padded = torch.nn.functional.pad(images, (0, 0, padding, padding, padding, padding))
    sample = torch.arange(n, device=images.device)[:, None, None]
    return padded[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float()


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


def crop_resized(images: Tensor, boxes: Tensor, flip: Tensor) -> Tensor:
    """Boxes (N, 4) of images uint8 (N, S, S, 3), enlarged to S by Pillow's bicubic filter.

    The filter is separable, so each image is multiplied by two small matrices. Pillow rounds to whole levels
    after each direction, which is done here too.
    """
    size = images.shape[1]
    top, left, height, width = boxes.unbind(1)
    vertical = _bicubic_matrix(top, height, size)  # (N, S out, S in)
    horizontal = _bicubic_matrix(left, width, size)
    horizontal = torch.where(flip[:, None, None], horizontal.flip(1), horizontal)
    channels_first = images.permute(0, 3, 1, 2).float()
    narrow = (channels_first @ horizontal[:, None].transpose(2, 3)).round().clamp(0, 255)
    resized = (vertical[:, None] @ narrow).round().clamp(0, 255)
    return resized.contiguous(memory_format=torch.channels_last)


def _bicubic_matrix(start: Tensor, extent: Tensor, size: int) -> Tensor:
    """Weights (N, size, size) of input pixels (last) for output pixels, for a crop [start, start + extent)."""
    scale = extent[:, None] / size  # at most 1: enlarging, so the filter is not widened
    center = (torch.arange(size, device=start.device) + 0.5) * scale  # in the crop
    pixel = torch.arange(size, device=start.device)
    inside = (pixel >= start[:, None]) & (pixel < (start + extent)[:, None])  # (N, S in)
    distance = (pixel + 0.5 - start[:, None])[:, None, :] - center[:, :, None]
    weights = _bicubic(distance.abs()) * inside[:, None, :]
    return weights / weights.sum(2, keepdim=True)


def _bicubic(x: Tensor, a: float = -0.5) -> Tensor:
    """Keys' kernel with Pillow's a (torch's interpolate has -0.75)."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def erase(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Per-pixel normal noise in one rectangle of some of the normalized images (N, 3, S, S); table 5."""
    if probability == 0:
        return images
    n, _, size, _ = images.shape
    area = size * size * (_uniform((n, ATTEMPTS), generator) * (ERASED_AREA[1] - ERASED_AREA[0]) + ERASED_AREA[0])
    ratio = _log_uniform((n, ATTEMPTS), ERASED_RATIO, generator)
    height, width = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (width < size) & (height < size)
    height, width = (_first_fit(value, fits, fallback=0) for value in (height, width))
    top, left = (_below(size - extent, generator) for extent in (height, width))
    chosen = _uniform(n, generator) < probability
    steps = torch.arange(size, device=images.device)
    rows = (steps >= top[:, None]) & (steps < (top + height)[:, None]) & chosen[:, None]
    columns = (steps >= left[:, None]) & (steps < (left + width)[:, None])
    mask = rows[:, None, :, None] & columns[:, None, None, :]
    noise = torch.empty_like(images).normal_(generator=generator)
    return torch.where(mask, noise, images)


def _uniform(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _log_uniform(shape: tuple[int, ...], bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    low, high = math.log(bounds[0]), math.log(bounds[1])
    return (_uniform(shape, generator) * (high - low) + low).exp()


def _first_fit(values: Tensor, fits: Tensor, fallback: int) -> Tensor:
    """Of each row (N, ATTEMPTS) the first value that fits."""
    first = values.gather(1, fits.float().argmax(1, keepdim=True)).squeeze(1)
    return torch.where(fits.any(1), first, float(fallback))


def _below(bounds: Tensor, generator: torch.Generator) -> Tensor:
    """Whole numbers from 0 to each bound, both included."""
    return (_uniform(len(bounds), generator) * (bounds + 1)).floor().clamp(max=bounds)
