"""Operations of RandAugment on one image of Pillow's, for the ones that Pillow is slow at.

Levels are Pillow's, but for the rounding of a shift: there some differ by 1 of 255. For batches of small images
there are geometric_ops.py and color_ops.py; sharpness is theirs, but a shift of one image takes them twice as long.
Of an image of 224 pixels, by Pillow and here: shear 2.3 and 0.5 ms, translation 2.0 and 0.5 ms, sharpness 0.94 and
0.41 ms (medians of 32 images, 1 thread of an AMD EPYC, Pillow 12, numpy 2.4, torch 2.14, 2026-11-25).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from PIL import Image
from timm.data.auto_augment import RandAugment

from roadmap.data.color_ops import sharpness
from roadmap.data.geometric_ops import ROUNDING
from roadmap.data.interpolation import TRANSFORMING, weigh_taps
from roadmap.data.pixels import Pixels
from roadmap.data.spec import Interpolation

TRANSPOSE = Image.Transpose.TRANSPOSE
FILTERS = {
    int(Image.Resampling.BILINEAR): Interpolation.bilinear,
    int(Image.Resampling.BICUBIC): Interpolation.bicubic,
}
REACH = 2  # pixels on each side of a position that a filter may take


def shift_rows(image: Pixels, slope: float, offset: float, fill: tuple[int, ...], filter_: Interpolation) -> Pixels:
    """Row y takes pixels from slope * (y + 1/2) + offset to its right; `fill` where there are none.

    Each row of the result is a weighted sum of a few stretches of the row, which all begin at neighbouring pixels.
    """
    height, width, _ = image.shape
    shifts = slope * (np.arange(height) + 0.5) + offset  # (H,)
    whole = np.floor(shifts).clip(-width - REACH, width + REACH).astype(np.int64)
    fraction = torch.from_numpy((shifts - np.floor(shifts)).astype(np.float32))[:, None]
    weights = weigh_taps(fraction, filter_, TRANSFORMING)
    first = 1 - len(weights) // 2
    stretch = _take_stretches(image, whole + first, width + len(weights) - 1)
    levels = torch.from_numpy(stretch.astype(np.float32))  # (H, 3 * (W + 1 or 3))
    moved = torch.full((height, 3 * width), ROUNDING)
    for tap, weight in enumerate(weights):
        moved.addcmul_(levels[:, 3 * tap : 3 * (tap + width)], weight)
    result = moved.clamp_(0, 255).numpy().astype(np.uint8)  # numpy's is seven times as fast as torch's
    _fill_outside(result, shifts, fill)
    return result.reshape(image.shape)


def _take_stretches(image: Pixels, starts: np.ndarray, length: int) -> np.ndarray:
    """Of each row (H, 3 * length), from pixel `starts` on; two pixels beyond the border are the border's.

    What is farther outside is left to chance: it is filled later.
    """
    height, width, _ = image.shape
    margin = int(np.abs(starts).max()) + length - width + REACH
    padded = np.empty((height, width + 2 * margin, 3), dtype=np.uint8)
    padded[:, margin : margin + width] = image
    padded[:, margin - REACH : margin] = image[:, :1]
    padded[:, margin + width : margin + width + REACH] = image[:, -1:]
    line, _, _ = padded.strides
    windows = as_strided(padded, (height, width + 2 * margin - length + 1, 3 * length), (line, 3, 1))
    return windows[np.arange(height), starts + margin]


def _fill_outside(rows: np.ndarray, shifts: np.ndarray, fill: tuple[int, ...]) -> None:
    """Gives the fill color to pixels x of rows (H, 3 * W) whose x + 1/2 + shift is not between 0 and W."""
    width = rows.shape[1] // 3
    # Rows are stretches of one line: W pixels outside, W inside, W outside.
    starts = 3 * (width + np.floor(shifts + 0.5).clip(-width, width).astype(np.int64))
    inside = np.zeros(9 * width, dtype=np.uint8)
    inside[3 * width : 6 * width] = 255
    kept = as_strided(inside, (6 * width + 1, 3 * width), (1, 1))[starts]
    color = np.tile(np.array(fill, dtype=np.uint8), width)
    rows &= kept
    rows |= color & ~kept


def _by_rows(
    image: Image.Image, slope: float, offset: float, *, resample: int, fillcolor: tuple[int, ...], **_: Any
) -> Image.Image:
    return Image.fromarray(shift_rows(np.asarray(image), slope, offset, fillcolor, FILTERS[resample]))


def _shear_x(image: Image.Image, slope: float, **how: Any) -> Image.Image:
    return _by_rows(image, slope, 0.0, **how)


def _shear_y(image: Image.Image, slope: float, **how: Any) -> Image.Image:
    return _shear_x(image.transpose(TRANSPOSE), slope, **how).transpose(TRANSPOSE)


def _translate_x(image: Image.Image, part: float, **how: Any) -> Image.Image:
    return _by_rows(image, 0.0, part * image.width, **how)


def _translate_y(image: Image.Image, part: float, **how: Any) -> Image.Image:
    return _translate_x(image.transpose(TRANSPOSE), part, **how).transpose(TRANSPOSE)


def _sharpen(image: Image.Image, factor: float, **_: Any) -> Image.Image:
    levels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    sharpened = sharpness(levels, torch.full((1, 1, 1, 1), factor))[0].permute(1, 2, 0)
    return Image.fromarray(sharpened.contiguous().numpy().astype(np.uint8))


FASTER: dict[str, Callable[..., Image.Image]] = {
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateXRel": _translate_x,
    "TranslateYRel": _translate_y,
    "Sharpness": _sharpen,
    "SharpnessIncreasing": _sharpen,
}  # by timm's names


def use_faster_operations(augment: RandAugment) -> None:
    """Puts them in place of Pillow's; what is drawn is as before."""
    for operation in augment.ops:
        if operation.kwargs["resample"] in FILTERS:  # timm may draw the filter, too: then Pillow's stay
            operation.aug_fn = FASTER.get(operation.name, operation.aug_fn)
