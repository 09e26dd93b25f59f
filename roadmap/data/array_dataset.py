"""Images in memory, or read by index from a user's data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torchvision.datasets.vision import StandardTransform

from roadmap.data.image_dataset import ImageDataset
from roadmap.data.image_io import Pixels
from roadmap.data.image_modes import as_rgb
from roadmap.data.inspect_folder import check_class_count
from roadmap.errors import DataError, first_line

IMAGE = "a Pillow image, or a uint8 array (H, W, 3) or (H, W)"
EXPECTED = "Return a pair of arrays (images, class indices), or a data set of pairs (image, class index)"


class ArrayDataset(ImageDataset):
    """Images in memory, uint8 (N, H, W, 3), with labels (N,) and class names."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, classes: Sequence[str] | None = None, root: str = "memory"
    ):
        self.images = images
        self.labels = labels
        self.classes = list(classes or map(str, range(int(labels.max()) + 1)))
        self.root = root

    def pixels_of(self, index: int) -> Pixels:
        return self.images[index]


class IndexedDataset(ImageDataset):
    """A user's data set, whose items are pairs of an image and its class index."""

    def __init__(self, pairs: Any, labels: np.ndarray, classes: list[str], root: str):
        self.pairs, self.labels, self.classes, self.root = pairs, labels, classes, root

    def pixels_of(self, index: int) -> Pixels:
        return as_pixels(self.pairs[index][0])


def as_pixels(image: Any) -> Pixels:
    """Return a Pillow image, or a uint8 array (H, W, 3) or (H, W), as RGB pixels.

    Raises:
        TypeError: it is neither; names its type.
    """
    if isinstance(image, Image.Image):
        return np.asarray(as_rgb(image))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        if image.ndim == 2:
            return np.repeat(image[..., None], 3, axis=-1)
        if image.ndim == 3 and image.shape[-1] == 3:
            return image
    kind = f"{image.dtype} {tuple(image.shape)}" if hasattr(image, "dtype") else f"a {type(image).__name__}"
    raise TypeError(f"{kind}, expected {IMAGE}")


def wrap_split(split: Any, name: str, num_classes: int) -> ImageDataset:
    """Return the training or validation images of a user's module; see `register_dataset`.

    Raises:
        DataError: it is neither arrays nor an indexable data set, is empty, or has a class index out of range.
    """
    is_pair = isinstance(split, tuple) and len(split) == 2
    try:
        images = np.stack([as_pixels(image) for image in split[0]]) if is_pair else split
        labels = np.asarray(split[1] if is_pair else _labels_of(split))
        fits = len(images) == len(labels) > 0 and labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise DataError(f"data={name}: {type(split).__name__}: {first_line(error)}. {EXPECTED}") from error
    if not fits:
        shape = f"{labels.dtype} {labels.shape}"
        raise DataError(f"data={name}: {len(images)} images, but class indices {shape}. {EXPECTED}")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            f"data={name}: class indices from {labels.min()} to {labels.max()}: must be from 0 to "
            f"{num_classes - 1}, with data.num_classes={num_classes}"
        )
    if not is_pair:
        _check_first_label(split, labels, name)
    classes = [str(one) for one in getattr(split, "classes", range(num_classes))]
    check_class_count(name, classes, num_classes)
    return (ArrayDataset if is_pair else IndexedDataset)(images, labels, classes, root=name)


def _labels_of(split: Any) -> Any:
    """Return the items' labels: the data set's `targets`, as in torchvision, unless it transforms them."""
    targets = getattr(split, "targets", None)
    if targets is None or _transforms_targets(split):
        return [split[index][1] for index in range(len(split))]
    return targets


def _transforms_targets(split: Any) -> bool:
    """Return True for a `target_transform`, or `transforms` of image and label together."""
    joint = getattr(split, "transforms", None)
    is_own = joint is not None and not isinstance(joint, StandardTransform)  # torchvision's of the separate ones
    return is_own or getattr(split, "target_transform", None) is not None


def _check_first_label(split: Any, labels: np.ndarray, name: str) -> None:
    """Raise DataError if the first item that can be read has another label than `labels`."""
    for index in range(len(split)):
        try:
            label = split[index][1]
        except Exception:  # of the user's code; a damaged image is reported when it is trained on
            continue
        if not np.array_equal(label, labels[index]):
            raise DataError(
                f"data={name}: item {index} of {type(split).__name__} has the label {label}, but `targets` says "
                f"{labels[index]}: make them agree, or leave out `targets`, so that the items' labels are read"
            )
        return
