"""Checks and measures of a data folder without torch: existence, classes, and the size of the images."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from statistics import median

from roadmap.data.image_files import class_name, is_ignored, list_names, walk_images
from roadmap.data.locate_train_val import TRAINING_NAMES, find_split
from roadmap.errors import ConfigError, DataError

HUB = "hfds/"  # prefix of a root that names a Hugging Face data set, in timm's notation
SAMPLE = 20  # images whose size is read
TINY, SMALL, LARGEST = 16, 32, 224  # image sizes that are chosen: 16, and multiples of 32 up to the paper's


def check_root(root: Path) -> None:
    """Raise DataError if there is no folder of data."""
    if not root.is_dir():
        raise DataError(
            f"there is no data folder {root.absolute()}; expected train/CLASS/* and val/CLASS/* (or test/) "
            "below it. Name another with data.root=FOLDER"
        )


def check_class_count(root: str, classes: Sequence[str], num_classes: int) -> None:
    """Raise DataError if the number of classes is not data.num_classes; lists the classes."""
    if len(classes) != num_classes:
        fitting = f"data.num_classes={len(classes)} if all of these are meant"
        way_out = fitting if len(classes) > 1 else "expected images of at least two classes"
        count = "1 class" if len(classes) == 1 else f"{len(classes)} classes"
        raise DataError(
            f"{root} has {count} ({list_names(classes)}), the configuration says {num_classes}: {way_out}"
        )


def list_classes(folder: Path) -> list[str]:
    """Return the classes of a folder of class folders, by name."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not is_ignored(entry.name))
    return list(dict.fromkeys(class_name(name) for name in names))


def find_training_folder(root: str) -> Path | None:
    """Return the folder of the training images; None for archives and Hugging Face data sets.

    Raises:
        DataError: there is no data.
    """
    if root.startswith(HUB):
        return None
    check_root(Path(root))
    part = find_split(Path(root), TRAINING_NAMES)
    return part if isinstance(part, Path) else None


def count_classes(root: str) -> int:
    """Return the number of classes in an image folder.

    Raises:
        DataError: there is no data, or there are less than two classes.
        ConfigError: the data is in archives, whose classes are counted only when they are read.
    """
    folder = find_training_folder(root)
    if folder is None:
        raise ConfigError(f"no value yet for data.num_classes: the classes of {root} are counted in folders only")
    classes = list_classes(folder)
    if len(classes) < 2:
        found = f"one folder of a class, {classes[0]}" if classes else "no folder of a class"
        raise DataError(f"{folder} has {found}; expected one folder for each of at least two classes")
    return len(classes)


def fit_image_size(root: str) -> int:
    """Return the image size that suits the images of a folder.

    Raises:
        DataError: there is no data, or no image can be read.
        ConfigError: the data is in archives.
    """
    folder = find_training_folder(root)
    if folder is None:
        raise ConfigError(
            f"no value yet for data.image_size: the images of {root} are measured in folders only: give one, as in "
            "data.image_size=32"
        )
    side = measure_short_side(folder)
    if side is None:
        raise DataError(f"{folder} has no image that can be read, expected {folder / 'CLASS'}/*.jpg or the like")
    return fit_size(side)


def fit_size(side: float) -> int:
    """Return the image size that is nearest to a short side."""
    return TINY if side < (TINY + SMALL) / 2 else min(max(1, int(side / SMALL + 0.5)) * SMALL, LARGEST)


def fit_stem_stride(image_size: object) -> int:
    """Return the stem stride that suits an image size.

    The paper's 4 also gave the best accuracy for its time on 32 pixels (results/cifar10-search); the last stage
    of all steps needs 2 on less.
    """
    is_tiny = isinstance(image_size, int) and image_size < SMALL  # another type is reported by the spec of the data
    return 2 if is_tiny else 4


def measure_short_side(folder: Path) -> float | None:
    """Return the median short side in pixels of some images of class folders; None if none can be read."""
    from PIL import Image  # imported late, so that a mistyped command does not wait for it

    sides: list[int] = []
    for name in list_classes(folder):
        paths = walk_images(folder / name)[0] if len(sides) < SAMPLE else []
        for path in islice(paths, 2):
            try:
                with Image.open(path) as image:
                    sides.append(min(image.size))
            except (OSError, Image.DecompressionBombError):  # reported when it is read
                continue
    return median(sides) if sides else None
