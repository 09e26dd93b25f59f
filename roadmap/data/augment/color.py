"""Colour operations on batches: images float32 (G, 3, S, S) of whole levels 0 to 255, arguments (G, 1, 1, 1).

Each gives exactly the levels of Pillow's operation of the same name; tests/data/test_rand_augment.py checks this.
"""

import torch
from torch import Tensor

LUMA = (19595, 38470, 7471)  # of 65536; Pillow's weights of red, green and blue in a gray image


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits; none if `bits` is 0 or less, all if it is 8 or more."""
    step = torch.exp2((8 - bits).clamp(0, 8))
    return (images / step).floor_().mul_(step)


def _is_at_least(images: Tensor, threshold: Tensor | int) -> Tensor:
    """Return 1 or 0, for whole levels; a comparison is five times as slow on a CPU."""
    return (images - (threshold - 1)).clamp_(0, 1)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert levels that are at least the threshold; a threshold of 0 inverts the image."""
    return (images - 255 * _is_at_least(images, threshold)).abs_()


def solarize_add(images: Tensor, added: Tensor) -> Tensor:
    """Add to levels below 128."""
    dark = 1 - _is_at_least(images, 128)
    return torch.minimum(dark.mul_(added), 255 - images).add_(images)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp_(0, 255).floor_()


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    mean = (_gray(images).mean((1, 2, 3), keepdim=True) + 0.5).floor_()
    return _blend(mean, images, factor)


def color(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(_gray(images), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image smoothed by ((1, 1, 1), (1, 5, 1), (1, 1, 1)) / 13, which leaves the border as it is."""
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = images[:, :, 1:-1, 1:-1]
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = box.add_(inner, alpha=4).div_(13).add_(0.5).floor_()
    return _blend(smooth, images, factor)


def auto_contrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretch each channel to 0..255; a channel of one level stays unchanged."""
    low, high = (_whole_or_double(levels) for levels in (images.amin((2, 3)), images.amax((2, 3))))
    stretched = high > low
    # Not 255 / (high - low), which torch computes as 255 times the reciprocal and so rounds twice.
    scale = torch.where(stretched, torch.full_like(high, 255) / (high - low), 1.0)[..., None, None]
    offset = torch.where(stretched, -low, 0.0)[..., None, None] * scale
    return (_whole_or_double(images) * scale).add_(offset).clamp_(0, 255).floor_().float()


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """Equalize each channel's histogram; a channel of one level stays unchanged.

    Integers are Pillow's: a step is (pixels - those of the highest level) // 255, and a level becomes
    (step // 2 + pixels below it) // step.
    """
    levels = images.flatten(2).long()  # (G, 3, S*S)
    counts = _histogram(levels)
    below = counts.cumsum(2) - counts
    highest = counts.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - highest) // 255
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return table.gather(2, levels).view(images.shape).float()


def _histogram(levels: Tensor) -> Tensor:
    """Return counts (G, 3, 256) of levels (G, 3, P)."""
    if levels.device.type != "cpu":
        return histogram_by_product(levels)
    channels = levels.shape[0] * levels.shape[1]
    first = 256 * torch.arange(channels).view(*levels.shape[:2], 1)
    return torch.bincount((levels + first).flatten(), minlength=256 * channels).view(*levels.shape[:2], 256)


def histogram_by_product(levels: Tensor) -> Tensor:
    """Return the counts on a GPU, where bincount waits for the device and atomic additions are not deterministic.

    Multiplies the one-hot high and low halves of a level; the counts, below 2^24, are exact in float32.
    """
    digits = torch.arange(16, device=levels.device)
    high = (levels[:, :, None] // 16 == digits[:, None]).float()  # (G, 3, 16, P)
    low = (levels[..., None] % 16 == digits).float()  # (G, 3, P, 16)
    return (high @ low).flatten(2).round().long()


def _gray(images: Tensor) -> Tensor:
    """Return Pillow's gray (G, 1, S, S). Its sums stay below 2^24, so float32 holds them exactly."""
    red, green, blue = (images[:, channel : channel + 1] * weight for channel, weight in enumerate(LUMA))
    return red.add_(green).add_(blue).add_(32768).div_(65536).floor_()


def _blend(start: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Blend from `start` (factor 0) to the images (1) and beyond; truncate like Pillow."""
    return (images - start).mul_(factor).add_(start).clamp_(0, 255).floor_()


def _whole_or_double(images: Tensor) -> Tensor:
    """Convert to double precision, as in Pillow, if the device has it (Apple's do not)."""
    return images if images.device.type == "mps" else images.double()
