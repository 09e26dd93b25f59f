"""Labels in files beside the images of a WebDataset: class numbers or class names."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from roadmap.data.image_files import class_name
from roadmap.errors import DataError

ENDINGS = (".cls", ".json")
NUMBER = re.compile(r"[+-]?[0-9]+")

Label = int | str


def parse_label(content: bytes, ending: str) -> Label | None:
    """Parse the label in a `.cls` file, or under `label` in a `.json` file; None if the latter has none.

    A numeric string is a number.

    Raises:
        ValueError: it is neither a number nor a name.
    """
    label: Any = content.decode() if ending == ".cls" else json.loads(content)
    if ending != ".cls":
        label = label.get("label") if isinstance(label, dict) else None
    if isinstance(label, str):
        label = label.strip()
        if not label:
            raise ValueError("it is empty; expected a class number or a class name")
        return int(label) if NUMBER.fullmatch(label) else label
    if isinstance(label, float) and label.is_integer():
        return int(label)
    if label is not None and (isinstance(label, bool) or not isinstance(label, int)):
        raise ValueError(f"its label {json.dumps(label)} is neither a class number nor a class name")
    return label


def number_labels(
    labels: Sequence[Label | None], name_of: Callable[[int], str], num_classes: int
) -> tuple[list[str], list[int]] | None:
    """Return the class names by index and each sample's class index; None if no sample has a label.

    Args:
        labels: one per sample. Numeric labels also serve as class names.
        name_of: returns a sample's name, for errors.

    Raises:
        DataError: a sample has no label or a number outside 0 to num_classes - 1, or some labels are numbers and
            others are names; names the first such sample.
    """
    missing = [index for index, label in enumerate(labels) if label is None]
    if len(missing) == len(labels):
        return None
    if missing:
        raise DataError(
            f"{name_of(missing[0])} has no label ({len(missing):,} of {len(labels):,} have none): each needs "
            "a class number or name, in .cls or as label in .json"
        )
    numbers = [label for label in labels if isinstance(label, int)]
    names = [label for label in labels if isinstance(label, str)]
    if numbers and names:
        raise DataError(
            f"{name_of(labels.index(numbers[0]))} has the class number {numbers[0]} and "
            f"{name_of(labels.index(names[0]))} the class name {names[0]}: write all labels as numbers, or all as "
            "names"
        )
    if names:
        return number_names(names)
    check_numbers(numbers, name_of, num_classes)
    return [str(number) for number in range(1 + max(numbers))], numbers


def number_names(names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the classes sorted by name, and the class index of each sample."""
    names = [class_name(name) for name in names]
    classes = sorted(set(names))
    numbers = {name: number for number, name in enumerate(classes)}
    return classes, [numbers[name] for name in names]


def check_numbers(numbers: Sequence[int], name_of: Callable[[int], str], num_classes: int) -> None:
    """Raise DataError if a class number is out of range; names its sample."""
    for index, number in enumerate(numbers):
        if not 0 <= number < num_classes:
            raise DataError(
                f"{name_of(index)} has the class number {number}; data.num_classes={num_classes} allows 0 to "
                f"{num_classes - 1}. Fix the label, or change data.num_classes"
            )
