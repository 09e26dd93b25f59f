"""Reused shared memory, in which dataloader workers pass batches to the training process."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

PREFETCH_FACTOR = 2  # batches per dataloader worker
# A worker gets its next plan when one of its batches is taken, and by then earlier batches are finished. So besides
# the prefetched batches, only the last taken one is still read.
SLOTS = PREFETCH_FACTOR + 1


class SharedMemoryBatches:
    """Stacks images into the memory of earlier batches, each of which must be read before SLOTS more are stacked.

    New memory for each batch would cost a page fault per 4 KiB.
    """

    def __init__(self) -> None:
        self._slots = [torch.empty(0)] * SLOTS
        self._count = 0

    def stack(self, images: Sequence[Tensor]) -> Tensor:
        """Stack images of one shape and type, like torch.stack; in shared memory if this is a worker process."""
        if get_worker_info() is None:
            return torch.stack(tuple(images))
        slot, number = self._count % SLOTS, len(images)
        self._count += 1
        if self._slots[slot].shape[1:] != images[0].shape or len(self._slots[slot]) < number:
            shape = (number, *images[0].shape)
            self._slots[slot] = torch.empty(shape, dtype=images[0].dtype).share_memory_()
        return torch.stack(tuple(images), out=self._slots[slot][:number])
