"""Normalization and random erasing of the dataloader workers' batches, on the training device."""

import torch
from torch import Tensor

from roadmap.data.augment.crop_erase import draw_erased_boxes
from roadmap.data.augment.rng import BatchRng
from roadmap.data.sampler import Batch
from roadmap.data.spec import DataSpec

# Below this number of elements, torch runs a CPU operation on one thread; more threads would compete with the
# dataloader workers for cores.
ONE_THREAD = 32_767


class NormalizeAndErase:
    """Convert batches of levels, uint8 (N, 3, S, S), to the network's input, float32 on the device.

    Args:
        erasing: probability of random erasing, which is per-pixel noise in one rectangle; table 5.
    """

    def __init__(self, data: DataSpec, device: torch.device, erasing: float = 0.0):
        self.device = device
        self.erasing = erasing
        # Repeated for every pixel of a row in memory order, the fast layout on a CPU.
        mean, std = (255 * torch.tensor(values).repeat(data.image_size) for values in (data.mean, data.std))
        self.scale, self.shift = (1 / std).to(device), (-mean / std).to(device)

    def __call__(self, batch: Batch, seed: int) -> Batch:
        """Return the normalized and erased batch without waiting for the device; `seed` is its plan's."""
        levels, labels = (part.to(self.device, non_blocking=True) for part in batch[:2])
        if not len(labels):
            return batch
        images = self._normalize(levels)
        if self.erasing:
            erase_boxes(images, self.erasing, seed)
        return Batch(images, labels, batch.seed)

    def _normalize(self, levels: Tensor) -> Tensor:
        """Normalize to mean 0 and standard deviation 1 per channel, in channels_last."""
        images = torch.empty(levels.shape, device=levels.device, memory_format=torch.channels_last)
        lines, results = (tensor.permute(0, 2, 3, 1).flatten(2).flatten(0, 1) for tensor in (levels, images))
        at_once = _lines_at_once(lines)
        for line, result in zip(lines.split(at_once), results.split(at_once), strict=True):  # (_, 3 * S)
            torch.addcmul(self.shift, result.copy_(line), self.scale, out=result)
        return images


def erase_boxes(images: Tensor, probability: float, seed: int) -> None:
    """Put noise in one box of some of the images (N, 3, S, S), like `crop_erase.erase`, but one image at a time.

    Draws noise for one box; for small images, `crop_erase.erase` draws it for the pixels of all boxes at once.
    """
    chosen, boxes = draw_erased_boxes(images.shape[3], probability, BatchRng([seed], len(images)))
    generator = torch.Generator(images.device).manual_seed(seed)
    for index, (top, left, height, width) in zip(chosen.tolist(), boxes.tolist(), strict=True):
        box = images[index, :, top : top + height, left : left + width].permute(1, 2, 0)  # in memory order
        for lines in box.split(_lines_at_once(box)) if len(box) else ():
            lines.copy_(torch.randn(lines.shape, generator=generator, device=lines.device))


def _lines_at_once(lines: Tensor) -> int:
    """Return the number of lines (the first dimension) that one operation processes."""
    return max(ONE_THREAD // max(lines[0].numel(), 1), 1) if lines.device.type == "cpu" else len(lines)
