"""Reading images that may be damaged: each failure names its file, and stops the run or is counted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from roadmap.console import Console
from roadmap.data.pixels import Pixels
from roadmap.data.spec import OnError
from roadmap.errors import DataError, first_line, in_one_line

Sample = tuple[Pixels, int]
LISTED = 5  # skipped files that a report names


class Images(Protocol):
    """Images by number: an image of any size, and its class from 0."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class Skipped:
    """Images that could not be read under data.on_error=skip."""

    names: list[str]
    images: int  # of the whole set

    def __str__(self) -> str:
        more = f" and {len(self.names) - LISTED} more" if len(self.names) > LISTED else ""
        return f"{len(self.names)} of {self.images:,} images were skipped: {', '.join(self.names[:LISTED])}{more}"


class CheckedImages:
    """Images whose failures are told with their file.

    Which ones were skipped is kept in shared memory, so that a worker process's failures are counted too.
    """

    def __init__(self, images: Images, on_error: OnError):
        self.images = images
        self.on_error = on_error
        self._skipped = torch.zeros(len(images), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """The image, whatever on_error says.

        Raises:
            DataError: it can't be read; names its file and the cause.
        """
        try:
            return self.images[index]
        except MemoryError:
            raise
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and others
            raise DataError(
                f"{name_of(self.images, index)} can't be read: {_cause(error)}{self._way_out(error)}"
            ) from error

    def _way_out(self, error: Exception) -> str:
        if self.on_error is OnError.skip or _is_system_error(error):
            return ""
        return ". Replace it, or go on without such images by data.on_error=skip"

    def read(self, index: int) -> Sample | None:
        """The image, or None where it can't be decoded under data.on_error=skip.

        Raises:
            DataError: it can't be decoded under `raise`, or the file system fails, which no skipping mends.
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
        """The image, or where it is skipped the next one that can be read, so that a batch keeps its size."""
        for step in range(len(self)):
            sample = self.read((index + step) % len(self))
            if sample is not None:
                return sample
        raise DataError(f"none of the {len(self):,} images can be read, such as {name_of(self.images, index)}")

    def skipped(self, join: Callable[[Tensor], Tensor] = torch.clone) -> Skipped:
        """What this process and its workers skipped until now.

        Args:
            join: of the flags of several processes, uint8 (images,), makes those of all.
        """
        places = join(self._skipped).nonzero().flatten().tolist()
        return Skipped([name_of(self.images, index) for index in places], len(self))

    def mark_skipped(self, places: list[int]) -> None:
        """Counts what an earlier process skipped when it made a cache of this set."""
        self._skipped[places] = 1


def checked(images: Images, on_error: OnError) -> CheckedImages:
    """The images, whose failures are told with their file."""
    return images if isinstance(images, CheckedImages) else CheckedImages(images, on_error)


def name_of(images: Images, index: int) -> str:
    """The file of an image, or its number where there is none."""
    name = getattr(images, "name_of", None)  # files
    return in_one_line(name(index)) if callable(name) else f"image {index}"


def origin_of(images: Images, index: int) -> str | None:
    """All that an image and its class come from, to notice a change; None for one that is in no file.

    Raises:
        OSError: its file can't be found.
    """
    origin = getattr(images, "origin_of", None)  # files, and parts of sets
    return origin(index) if callable(origin) else None


def _is_system_error(error: BaseException | None) -> bool:
    """Such as no permission, no such file, or too many open ones; what a decoder raises has no number."""
    return isinstance(error, OSError) and error.errno is not None


def _cause(error: Exception) -> str:
    text = first_line(error)
    return "it is not an image of a known format" if text.startswith("cannot identify image file") else text
