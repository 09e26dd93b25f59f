"""Base class of all sets of images: pixels, classes and names by index, and what shows a change of an image."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from roadmap.data.image_io import Pixels

Sample = tuple[Pixels, int]  # an image of any size, and its class index


class ImageDataset(ABC):
    """Images by index, with the index of each one's class."""

    allows_threads = False  # True if several threads may read images at the same time
    root: str  # location, for errors
    classes: list[str]  # names by index
    labels: np.ndarray  # class indices (N,)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        return self.pixels_of(index), int(self.labels[index])

    @abstractmethod
    def pixels_of(self, index: int) -> Pixels:
        """Read an image."""

    def name_of(self, index: int) -> str:
        """Return an image's file, for errors."""
        return f"image {index}"

    def entry_of(self, index: int) -> str:
        """Return an image's class and file, such as cat/1.jpg, which do not depend on the location of the data."""
        return f"{self.classes[self.labels[index]]}/{index}"

    def size_of(self, index: int) -> int:
        """Return the size of an image's file in bytes; a checksum of its pixels if it is not in a file.

        Raises:
            OSError: its file cannot be found.
        """
        return zlib.crc32(self.pixels_of(index).tobytes())

    def origin_of(self, index: int) -> str | None:
        """Return everything that an image and its class depend on, to detect a change; None if it is not in a file.

        Raises:
            OSError: its file cannot be found.
        """
        return None

    def renumber(self, numbers: Sequence[int], classes: Sequence[str]) -> None:
        """Change the class indices: numbers[old] is the new index, classes[new] its name."""
        self.labels, self.classes = np.array(numbers)[self.labels], list(classes)


class Subset(ImageDataset):
    def __init__(self, images: ImageDataset, indices: np.ndarray):
        self.images, self.indices = images, indices
        self.root, self.classes, self.labels = images.root, images.classes, images.labels[indices]
        self.allows_threads = images.allows_threads

    def pixels_of(self, index: int) -> Pixels:
        return self.images.pixels_of(int(self.indices[index]))

    def name_of(self, index: int) -> str:
        return self.images.name_of(int(self.indices[index]))

    def entry_of(self, index: int) -> str:
        return self.images.entry_of(int(self.indices[index]))

    def size_of(self, index: int) -> int:
        return self.images.size_of(int(self.indices[index]))

    def origin_of(self, index: int) -> str | None:
        return self.images.origin_of(int(self.indices[index]))
