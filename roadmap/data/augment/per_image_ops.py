"""RandAugment's operations on one image, uint8 (H, W, 3), if they are faster than Pillow's.

Levels equal Pillow's, except that the rounding of a shift changes some by 1 of 255. Batches of small images use
geometric.py and color.py; sharpness is shared, but their shift takes twice as long for one image.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from PIL import Image
from timm.data.auto_augment import RandAugment

from roadmap.data.augment.color import sharpness
from roadmap.data.augment.geometric import ROUNDING
from roadmap.data.augment.interpolation import TRANSFORMING, weigh_taps
from roadmap.data.image_io import Pixels
from roadmap.data.spec import Interpolation

FILTERS = {
    int(Image.Resampling.BILINEAR): Interpolation.bilinear,
    int(Image.Resampling.BICUBIC): Interpolation.bicubic,
}
REACH = 2  # most pixels that a filter uses on each side of a position
EDGE = 2 * REACH  # width in pixels of the outer margin where a filter may have mixed in pixels from inside

Operation = Callable[..., Pixels]  # takes an image, timm's argument if it has one, and options


def shift_rows(image: Pixels, slope: float, offset: float, fill: tuple[int, ...], filter_: Interpolation) -> Pixels:
    """Shift row y to take pixels from slope * (y + 1/2) + offset to its right; `fill` where there are none.

    Each row of the result is a weighted sum of a few windows of the row, which begin at neighbouring pixels.
    """
    height, width, _ = image.shape
    shifts = slope * (np.arange(height) + 0.5) + offset  # (H,)
    whole = np.floor(shifts)
    weights = weigh_taps((shifts - whole).astype(np.float32), filter_, TRANSFORMING)
    first = 1 - len(weights) // 2
    starts = whole.clip(-width - EDGE, width + EDGE).astype(np.int64) + first
    stretch = _take_stretches(image, starts, width + len(weights) - 1, fill)
    levels = torch.from_numpy(stretch.astype(np.float32))  # (H, 3 * (W + 1 or 3))
    moved = torch.full((height, 3 * width), ROUNDING)
    for tap, weight in enumerate(weights):
        moved.addcmul_(levels[:, 3 * tap : 3 * (tap + width)], torch.from_numpy(weight)[:, None])
    result = moved.clamp_(0, 255).numpy().astype(np.uint8).reshape(image.shape)  # numpy's is seven times as fast
    _fill_edges(result, shifts, fill)
    return result


def _take_stretches(image: Pixels, starts: np.ndarray, length: int, fill: tuple[int, ...]) -> np.ndarray:
    """Return (H, 3 * length): the pixels of each row from its start in `starts` on.

    The two pixels beyond each border repeat the border's, and pixels farther outside have the fill color.
    """
    height, width, _ = image.shape
    margin = int(np.abs(starts).max()) + length - width + REACH
    padded = np.empty((height, width + 2 * margin, 3), dtype=np.uint8)
    padded[:, margin : margin + width] = image
    outside = np.array(fill * (margin - REACH), dtype=np.uint8)
    lines = padded.reshape(height, -1)
    lines[:, : len(outside)] = lines[:, lines.shape[1] - len(outside) :] = outside
    padded[:, margin - REACH : margin] = image[:, :1]
    padded[:, margin + width : margin + width + REACH] = image[:, -1:]
    line, _, _ = padded.strides
    windows = as_strided(padded, (height, width + 2 * margin - length + 1, 3 * length), (line, 3, 1))
    return windows[np.arange(height), starts + margin]


def _fill_edges(image: Pixels, shifts: np.ndarray, fill: tuple[int, ...]) -> None:
    """Set the fill color in pixels x near the border for which x + 1/2 + shift is not between 0 and W."""
    width = image.shape[1]
    first = np.where(shifts < 0, np.ceil(-shifts - 0.5) - EDGE, np.ceil(width - 0.5 - shifts))
    columns = first.clip(-EDGE, width).astype(np.int64)[:, None] + np.arange(EDGE)
    positions = columns + 0.5 + shifts[:, None]
    outside = (columns >= 0) & (columns < width) & ((positions < 0) | (positions >= width))
    rows, offsets = outside.nonzero()
    image[rows, columns[rows, offsets]] = fill


def _shear_x(image: Pixels, slope: float, *, fillcolor: tuple[int, ...], resample: int) -> Pixels:
    return shift_rows(image, slope, 0.0, fillcolor, FILTERS[resample])


def _shear_y(image: Pixels, slope: float, **options: Any) -> Pixels:
    return _transpose(_shear_x(_transpose(image), slope, **options))


def _translate_x(image: Pixels, part: float, *, fillcolor: tuple[int, ...], resample: int) -> Pixels:
    return shift_rows(image, 0.0, part * image.shape[1], fillcolor, FILTERS[resample])


def _translate_y(image: Pixels, part: float, **options: Any) -> Pixels:
    return _transpose(_translate_x(_transpose(image), part, **options))


def _transpose(image: Pixels) -> Pixels:
    """Transpose rows and columns; moves whole pixels."""
    return np.ascontiguousarray(np.ascontiguousarray(image).view("V3")[..., 0].T)[..., None].view(np.uint8)


def _sharpen(image: Pixels, factor: float, **_: Any) -> Pixels:
    levels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    sharpened = sharpness(levels, torch.full((1, 1, 1, 1), factor))[0].permute(1, 2, 0)
    return sharpened.contiguous().numpy().astype(np.uint8)


def _invert(image: Pixels, **_: Any) -> Pixels:
    return ~image


def _posterize(image: Pixels, bits: int, **_: Any) -> Pixels:
    return image & np.uint8(256 - 2 ** min(max(8 - bits, 0), 8))


def _solarize(image: Pixels, threshold: int, **_: Any) -> Pixels:
    return image ^ np.uint8(255) * (image >= threshold)


def _by_pillow(operation: Callable[..., Image.Image], image: Pixels, *arguments: float, **options: Any) -> Pixels:
    return np.array(operation(Image.fromarray(image), *arguments, **options))


SHIFTS: dict[str, Operation] = {
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateXRel": _translate_x,
    "TranslateYRel": _translate_y,
}  # by timm's names
COLORS: dict[str, Operation] = {
    "Sharpness": _sharpen,
    "Invert": _invert,
    "Posterize": _posterize,
    "Solarize": _solarize,
}


def patch_for_arrays(augment: RandAugment) -> None:
    """Patch timm's operations to work on arrays, by the faster functions if available; draws stay the same."""
    for operation in augment.ops:
        name = operation.name.removesuffix("Increasing")
        known = SHIFTS | COLORS if operation.kwargs["resample"] in FILTERS else COLORS
        # If timm draws the filter too, shifts stay Pillow's.
        operation.aug_fn = known.get(name, partial(_by_pillow, operation.aug_fn))
