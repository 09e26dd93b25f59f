"""Classes by name: which a set has, and the numbers that another set or a checkpoint gives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from roadmap.console import warn
from roadmap.data.pixels import Pixels
from roadmap.errors import DataError, in_one_line

LISTED = 20  # classes that a message names


@dataclass(frozen=True)
class Classes:
    """Names in the order of their numbers, and what gives them these numbers, for errors."""

    names: Sequence[str]
    source: str


class ClassedImages(Protocol):
    """Images with named classes, and the place that errors name."""

    classes: list[str]
    root: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Pixels, int]: ...

    @property
    def labels(self) -> Sequence[int] | np.ndarray:
        """The class number of each image."""

    def renumber(self, numbers: Sequence[int], classes: Sequence[str]) -> None:
        """Gives the images of each class another number: numbers[old] is the new one, classes[new] its name."""


def are_numbers(names: Sequence[str]) -> bool:
    """Whether nothing is known of classes but their numbers, as in many a WebDataset."""
    return list(names) == [str(number) for number in range(len(names))]


def match_classes(images: ClassedImages, known: Classes) -> None:
    """Numbers a set's classes as `known` does, by name; the set may lack some of them.

    Raises:
        DataError: it has images of other classes; names these.
    """
    if unknown := find_unknown(images, known):
        raise DataError(
            f"{images.root} has images of {list_names(unknown)}: no class of {known.source}, which has "
            f"{list_names(known.names)}"
        )
    if list(images.classes) != list(known.names):
        numbers = {name: number for number, name in enumerate(known.names)}
        images.renumber([numbers.get(name, -1) for name in images.classes], known.names)


def match_recorded(images: ClassedImages, recorded: Classes | None) -> bool:
    """As match_classes, with the classes that weights were trained on; returns whether there were names to match.

    If one side has names and the other only numbers, these are taken as they are, with a warning.
    """
    if recorded is None:
        return False
    own = Classes(images.classes, images.root)
    has_numbers = are_numbers(own.names)
    if has_numbers == are_numbers(recorded.names) or not find_unknown(images, recorded):
        match_classes(images, recorded)
        return True
    named, numbered = (recorded, own) if has_numbers else (own, recorded)
    warn(
        f"{numbered.source} has class numbers without names: they are taken for the classes of {named.source} in "
        f"this order: {list_names(named.names)}"
    )
    return False


def find_unknown(images: ClassedImages, known: Classes) -> list[str]:
    """The classes that a set has images of and that are not known."""
    names = set(known.names)
    counts = np.bincount(images.labels, minlength=len(images.classes))
    return [name for name, count in zip(images.classes, counts, strict=True) if count and name not in names]


def warn_of_empty(images: ClassedImages) -> None:
    """Warns if a set has no image of some of its classes."""
    counts = np.bincount(images.labels, minlength=len(images.classes))
    empty = [name for name, count in zip(images.classes, counts, strict=True) if not count]
    if empty:
        warn(f"{images.root} has no images of {len(empty)} of {len(counts)} classes: {list_names(empty)}")


def list_names(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    shown = ", ".join(in_one_line(name) or "(no name)" for name in names[:LISTED]) or "none"
    return shown + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
