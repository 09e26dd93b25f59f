"""Class names: matching a set's classes to the indices of another set or of a checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roadmap.data.image_dataset import ImageDataset
from roadmap.data.image_files import list_names
from roadmap.errors import DataError
from roadmap.system.console import warn


@dataclass(frozen=True)
class Classes:
    """Class names by index, and the source of these indices, for errors."""

    names: Sequence[str]
    source: str


def are_numbers(names: Sequence[str]) -> bool:
    """Return True if the class names are just 0 to N - 1, as in many WebDatasets."""
    return list(names) == [str(number) for number in range(len(names))]


def match_classes(images: ImageDataset, known: Classes) -> None:
    """Renumber a set's classes as in `known`, by name; the set may lack some of them.

    Raises:
        DataError: it has images of other classes; names them.
    """
    if unknown := find_unknown(images, known):
        raise DataError(
            f"{images.root} has images of {list_names(unknown)}: no class of {known.source}, which has "
            f"{list_names(known.names)}"
        )
    if list(images.classes) != list(known.names):
        numbers = {name: number for number, name in enumerate(known.names)}
        images.renumber([numbers.get(name, -1) for name in images.classes], known.names)


def match_recorded(images: ImageDataset, recorded: Classes | None) -> bool:
    """Match the classes that weights were trained on; return True if they were matched by name.

    If only one side has names, keep the class numbers and warn.
    """
    if recorded is None:
        return False
    found = Classes(images.classes, images.root)
    has_numbers = are_numbers(found.names)
    if has_numbers == are_numbers(recorded.names) or not find_unknown(images, recorded):
        match_classes(images, recorded)
        return True
    named, numbered = (recorded, found) if has_numbers else (found, recorded)
    warn(
        f"{numbered.source} has class numbers without names: they are taken for the classes of {named.source} in "
        f"this order: {list_names(named.names)}"
    )
    return False


def find_unknown(images: ImageDataset, known: Classes) -> list[str]:
    """Return the classes of the images that are not in `known`."""
    names = set(known.names)
    counts = np.bincount(images.labels, minlength=len(images.classes))
    return [name for name, count in zip(images.classes, counts, strict=True) if count and name not in names]


def warn_of_empty(images: ImageDataset, part: str = "") -> None:
    """Warn if a set has no images of some of its classes; `part` says which of the folder's images it has."""
    counts = np.bincount(images.labels, minlength=len(images.classes))
    empty = [name for name, count in zip(images.classes, counts, strict=True) if not count]
    if empty:
        warn(f"{images.root}{part} has no images of {len(empty)} of {len(counts)} classes: {list_names(empty)}")
