"""Geometric operations on batches: images float32 (G, 3, S, S) of whole levels 0 to 255.

They follow Pillow's Image.transform: an output pixel's center is mapped into the input. Outside of the input, the
pixel gets the fill color. Inside, it is interpolated from neighbours (beyond the border, from the border's pixels)
and truncated.
"""

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from roadmap.data.augment.interpolation import TRANSFORMING, weigh_taps
from roadmap.data.spec import Interpolation

ROUNDING = 5e-4  # of a level; a sum that is whole up to float32's rounding must not be truncated to the level below


def shift(
    rows: Tensor, columns: Tensor, values: Tensor, fill: Tensor, interpolation: Interpolation
) -> tuple[Tensor, Tensor]:
    """Shift rows of some images and columns of others, together, since calls cost more than pixels.

    Row y takes pixels from slope * (y + 1/2) + offset to its right (ShearX has a slope, TranslateX an offset);
    column x takes them from slope * (x + 1/2) + offset below.

    Args:
        rows, columns: images (G, 3, S, S) and (H, 3, S, S).
        values: slope and offset of each, in pixels, (G + H, 2).
        fill: (3,), levels.
    """
    size = rows.shape[3]
    images = torch.cat([rows, columns.transpose(2, 3)])
    steps = torch.arange(size, device=images.device) + 0.5
    shifts = torch.addcmul(values[:, 1:], values[:, :1], steps)[:, None, :, None]  # (G + H, 1, S, 1)
    whole = shifts.floor()
    weights = weigh_taps(shifts - whole, interpolation, TRANSFORMING)
    first = 1 - len(weights) // 2
    padded = torch.arange(first, first + size + len(weights) - 1, device=images.device)
    source = (whole + padded).clamp_(0, size - 1).long()
    window = images.gather(3, source.expand(-1, 3, -1, -1))
    moved = torch.zeros_like(images)
    for tap, weight in enumerate(weights):
        moved.addcmul_(window[..., tap : tap + size], weight)
    moved = _finish(moved, (shifts + steps - size / 2).abs_(), fill)
    return moved[: len(rows)], moved[len(rows) :].transpose(2, 3)


def rotate(images: Tensor, degrees: Tensor, fill: Tensor, interpolation: Interpolation) -> Tensor:
    """Rotate counterclockwise around the center, by degrees (G,)."""
    n, _, size, _ = images.shape
    steps = torch.arange(size, device=images.device) + 0.5 - size / 2
    position = _turn(steps, degrees) + size / 2  # (2, G, S, S): rows and columns
    start = (position - 0.5).floor_()
    weights = torch.stack(weigh_taps(position - 0.5 - start, interpolation, TRANSFORMING))
    reach = len(weights) // 2  # pixels on each side
    first = torch.arange(n, dtype=torch.int32, device=images.device).view(n, 1, 1) * (size * (size + 1)) + 1
    left = start[1].clamp_(-1, size - 1).int().add_(first)
    taps = torch.arange(1 - reach, 1 + reach, device=images.device).view(-1, 1, 1, 1)
    places = (start[0] + taps).clamp_(0, size - 1).int().mul_(size + 1).add_(left)  # (2 * reach, G, S, S)
    of_rows, of_columns = (weights[:, direction].flatten(1).t().contiguous() for direction in range(2))
    # Weighted sums of rows, then of their pixels: a third of the time of 16 gathers of pixels on a CPU.
    columns = _sum_weighted(_row_windows(images, reach), places.flatten(1).t().contiguous(), of_rows)
    pixels = torch.arange(columns.numel() // 3, dtype=torch.int32, device=images.device)
    moved = _sum_weighted(columns.view(-1, 3), pixels.view(-1, 2 * reach), of_columns)
    moved = moved.t().contiguous().view(3, n, size, size)  # short last dimensions are slow
    farthest = torch.maximum(*(position - size / 2).abs_())
    return _finish(moved.transpose(0, 1), farthest[:, None], fill)


def _sum_weighted(table: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """Return sums (P, D) of the table's rows (M, D) at `places` (P, K) times weights (P, K)."""
    return embedding_bag(places, table, mode="sum", per_sample_weights=weights)


def _turn(steps: Tensor, degrees: Tensor) -> Tensor:
    """Return positions (2, G, S, S), rows and columns, of `steps` (S,) from the center rotated by (G,) degrees."""
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    along_y = torch.stack([cos, -sin])[..., None] * steps  # (2, G, S)
    along_x = torch.stack([sin, cos])[..., None] * steps
    return along_y[..., None] + along_x[..., None, :]


def _row_windows(images: Tensor, reach: int) -> Tensor:
    """Return all windows of 2 * reach pixels in a row, (G * S * (S + 1), 2 * reach * 3); the border is repeated."""
    n, _, size, _ = images.shape
    padded = pad(images, (reach, reach, 0, 0), mode="replicate").permute(0, 2, 3, 1).contiguous()
    width = 3 * (size + 2 * reach)
    strides = (size * width, width, 3, 1)
    return padded.as_strided((n, size, size + 1, 6 * reach), strides).reshape(-1, 6 * reach)


def _finish(moved: Tensor, distance: Tensor, fill: Tensor) -> Tensor:
    """Truncate to whole levels; fill where the distance (G, 1, S, S) from the center is beyond the border."""
    inside = distance.neg_().add_(moved.shape[3] / 2).sign_().clamp_(0)
    color = fill.view(1, 3, 1, 1)
    return moved.add_(ROUNDING).clamp_(0, 255).floor_().sub_(color).mul_(inside).add_(color)
