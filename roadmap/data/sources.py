"""Sources of images: embedded digits, torchvision's CIFAR, registered ones, folders, tar archives, Hugging Face.

`digits.npz` holds UCI's Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998; CC BY 4.0), the 1,797
images of its test part with 0 to 16 in each pixel: scikit-learn's load_digits, which takes a second to import.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100

from roadmap.data.archives import HubDataset, TarDataset
from roadmap.data.array_dataset import ArrayDataset, wrap_split
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.class_folders import FolderImages
from roadmap.data.classes import Classes, are_numbers, list_names, match_classes, match_recorded, warn_of_empty
from roadmap.data.custom_sources import SOURCES
from roadmap.data.image_dataset import ImageDataset, Subset
from roadmap.data.inspect_folder import HUB, check_class_count, check_root
from roadmap.data.locate_train_val import TRAINING_NAMES, VALIDATION_NAMES, find_split
from roadmap.data.spec import DataSpec, Source
from roadmap.errors import DataError

DEFAULT_ROOT = Path("data")
DIGITS = Path(__file__).with_name("digits.npz")
HOLDOUT_SEED = 0  # independent of the run's seed
DIGITS_HELD_OUT = 5  # every fifth image of each class is for validation


def open_images(
    data: DataSpec, download: bool = True, recorded: Classes | None = None
) -> tuple[CheckedDataset, CheckedDataset]:
    """Return training and validation images; with data.holdout, both come from the training images.

    Classes are indexed by the training images' class names; the validation images may lack some.

    Args:
        download: download CIFAR if it is missing.
        recorded: the classes that weights were trained on, whose indices are then used.

    Raises:
        DataError: a folder is missing or empty, there are validation images of other classes, the number of classes
            is not data.num_classes, or data.holdout leaves no training images; names the path and the expected.
    """
    train, val = _open_source(data, download)
    if isinstance(train, ArrayDataset) and len(train.classes) > data.num_classes:
        raise DataError(
            f"{data.name} has {len(train.classes)} classes ({list_names(train.classes)}): "
            f"data.num_classes={data.num_classes} is too few"
        )
    match_recorded(train, recorded)
    match_classes(val, Classes(train.classes, train.root))
    warn_of_empty(train)
    if data.holdout:
        kept, held = _hold_out(train, data.holdout)
        warn_of_empty(kept, f" without the images of data.holdout={data.holdout}")
        return CheckedDataset(kept, data.on_error), CheckedDataset(held, data.on_error)
    warn_of_empty(val)
    return CheckedDataset(train, data.on_error), CheckedDataset(val, data.on_error)


def _open_source(data: DataSpec, download: bool) -> tuple[ImageDataset, ImageDataset]:
    if data.source is Source.digits:
        return _open_digits()
    if data.source in SOURCES:
        return _open_custom(data)
    root = Path(data.root) if data.root is not None else DEFAULT_ROOT
    if data.source is Source.folder:
        return _open_splits(root, data)
    kind = CIFAR10 if data.source is Source.cifar10 else CIFAR100
    if data.root is None or not (root / "train").is_dir():  # the default root may be a project's own image folder
        return _open_cifar(kind, root, download)
    if (root / kind.base_folder).is_dir():
        raise DataError(
            f"{root / 'train'} and {root / kind.base_folder} both exist: for the first choose "
            "data=imagefolder, for the second another data.root"
        )
    return _open_splits(root, data)


def _open_splits(root: Path, data: DataSpec) -> tuple[ImageDataset, ImageDataset]:
    train = _open_files(root, TRAINING_NAMES, data.num_classes)
    check_class_count(train.root, train.classes, data.num_classes)
    return train, train if data.holdout else _open_files(root, VALIDATION_NAMES, data.num_classes)


def _hold_out(images: ImageDataset, count: int) -> tuple[Subset, Subset]:
    """Split off `count` images; return the others and these."""
    if count >= len(images):
        raise DataError(f"data.holdout={count}: there are only {len(images):,} training images")
    drawn = np.random.default_rng(HOLDOUT_SEED).permutation(len(images))
    return Subset(images, np.sort(drawn[count:])), Subset(images, np.sort(drawn[:count]))


def open_validation(data: DataSpec, recorded: Classes | None = None) -> CheckedDataset:
    """Return the validation images; training images are not needed.

    Args:
        recorded: the classes that weights were trained on, whose indices are then used; the images may lack some.

    Raises:
        DataError: as open_images.
    """
    if data.source is not Source.folder or data.holdout:
        return open_images(data, recorded=recorded)[1]
    images = _open_files(Path(data.root or DEFAULT_ROOT), VALIDATION_NAMES, data.num_classes)
    if not match_recorded(images, recorded):
        if are_numbers(images.classes):
            match_classes(images, Classes([str(number) for number in range(data.num_classes)], "data.num_classes"))
        check_class_count(images.root, images.classes, data.num_classes)
    warn_of_empty(images)
    return CheckedDataset(images, data.on_error)


def _open_custom(data: DataSpec) -> tuple[ImageDataset, ImageDataset]:
    opened = SOURCES[data.source].open_parts(data)
    if not isinstance(opened, tuple | list) or len(opened) != 2:
        raise DataError(
            f"data={data.source}: its function returned {type(opened).__name__}: must return the training and the "
            "validation images"
        )
    train, val = (wrap_split(part, data.source, data.num_classes) for part in opened)
    return train, val


def _open_digits() -> tuple[ArrayDataset, ArrayDataset]:
    with np.load(DIGITS) as digits:
        gray, labels = np.round(digits["images"] * (255 / 16)).astype(np.uint8), digits["labels"]  # (1797, 8, 8)
    images = np.repeat(gray[..., None], 3, axis=-1)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        held_out[np.flatnonzero(labels == label)[::DIGITS_HELD_OUT]] = True
    train, val = (ArrayDataset(images[part], labels[part], root="digits") for part in (~held_out, held_out))
    return train, val


def _open_cifar(kind: Callable[..., CIFAR10], root: Path, download: bool) -> tuple[ArrayDataset, ArrayDataset]:
    is_new = not root.exists()
    try:
        train, val = (kind(root, train=is_train, download=download) for is_train in (True, False))
    except Exception as error:  # errors of urllib, torchvision and the file system have no common base
        if not download:
            raise DataError(f"{kind.__name__} has not been downloaded") from error
        if is_new:
            with suppress(OSError):  # torchvision made none, or something was downloaded
                root.rmdir()
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"{kind.__name__} is not in {root.absolute()} and can't be downloaded: {reason}. Put torchvision's "
            "files there, or name a folder with train/CLASS/* and val/CLASS/* with data.root=FOLDER"
        ) from error
    first, second = (
        ArrayDataset(part.data, np.array(part.targets), part.classes, root=kind.__name__) for part in (train, val)
    )
    return first, second


def _open_files(root: Path, names: tuple[str, ...], num_classes: int) -> ImageDataset:
    """Return the training or validation images of a root, from Hugging Face, archives or folders."""
    if str(root).startswith(HUB):
        return HubDataset(str(root).removeprefix(HUB), names, num_classes)
    check_root(root)
    part = find_split(root, names)
    return FolderImages(part) if isinstance(part, Path) else TarDataset(part, num_classes)
