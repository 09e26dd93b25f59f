"""Data set that may have damaged images: an error names the file, and stops the run or skips the image."""

from collections.abc import Callable

import torch
from torch import Tensor

from roadmap.data.image_dataset import ImageDataset, Sample
from roadmap.data.image_files import list_names
from roadmap.data.spec import OnError
from roadmap.errors import DataError, first_line, in_one_line
from roadmap.system.console import Console

LISTED = 5  # skipped files named in a report


class CheckedDataset:
    """Images whose errors name their file.

    Skipped images are recorded in shared memory, so that failures in dataloader workers are counted too.
    """

    def __init__(self, images: ImageDataset, on_error: OnError):
        self.images = images
        self.on_error = on_error
        self._skipped = torch.zeros(len(images), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Return the image, regardless of on_error.

        Raises:
            DataError: it cannot be read; names its file and the cause.
        """
        try:
            return self.images[index]
        except MemoryError:
            raise
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and others
            raise DataError(f"{self.name_of(index)} can't be read: {_cause(error)}{self._hint(error)}") from error

    def name_of(self, index: int) -> str:
        """Return an image's file, for messages."""
        return in_one_line(self.images.name_of(index))

    def _hint(self, error: Exception) -> str:
        if self.on_error is OnError.skip or _is_system_error(error):
            return ""
        return ". Replace it, or skip such images with data.on_error=skip"

    def read(self, index: int) -> Sample | None:
        """Return the image, or None if it cannot be decoded under data.on_error=skip.

        Raises:
            DataError: it cannot be decoded under `raise`, or the file system fails, which skipping cannot fix.
        """
        try:
            return self[index]
        except DataError as error:
            if self.on_error is OnError.stop or _is_system_error(error.__cause__):
                raise
            if not self._skipped[index]:
                self._skipped[index] = 1
                Console(stderr=True).print(f"skipped: {first_line(error)}", markup=False, soft_wrap=True)
            return None

    def read_from(self, index: int) -> Sample:
        """Return the image, or the next readable one if it is skipped, so that a batch keeps its size."""
        for step in range(len(self)):
            sample = self.read((index + step) % len(self))
            if sample is not None:
                return sample
        raise DataError(f"none of the {len(self):,} images can be read, such as {self.name_of(index)}")

    def describe_skipped(self, reduce: Callable[[Tensor], Tensor] = torch.clone) -> str | None:
        """Name the images that this process and its dataloader workers have skipped so far; None if there are none.

        Args:
            reduce: combines the flags of all ranks, uint8 (images,).
        """
        names = [self.name_of(index) for index in reduce(self._skipped).nonzero().flatten().tolist()]
        return f"{len(names)} of {len(self):,} images were skipped: {list_names(names, LISTED)}" if names else None

    def skipped_indices(self) -> list[int]:
        """Return the indices of the images that this process and its dataloader workers have skipped so far."""
        return self._skipped.nonzero().flatten().tolist()

    def mark_skipped(self, indices: list[int]) -> None:
        """Count images that an earlier process skipped when it cached this set."""
        self._skipped[indices] = 1


def _is_system_error(error: BaseException | None) -> bool:
    """Return True for errors such as no permission or too many open files; decoders' errors have no errno."""
    return isinstance(error, OSError) and error.errno is not None


def _cause(error: Exception) -> str:
    text = first_line(error)
    return "it is not an image of a known format" if text.startswith("cannot identify image file") else text
