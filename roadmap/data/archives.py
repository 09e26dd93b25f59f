"""Images in tar archives, including WebDataset shards, and in Hugging Face data sets.

timm's own datasets silently replace a damaged image by the next one, and its WebDataset reader streams, so an epoch
cannot be resumed. Here an archive is listed once, and each image is read at its offset.
"""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from timm.data.readers import create_reader

from roadmap.data.archive_samples import key_of, list_samples
from roadmap.data.image_dataset import ImageDataset
from roadmap.data.image_files import describe_left_out
from roadmap.data.image_io import Pixels, check_length, decode_image
from roadmap.data.labels import Label, check_numbers, number_labels, number_names
from roadmap.data.locate_train_val import warn_if_ambiguous
from roadmap.errors import DataError, first_line
from roadmap.system.console import warn

UNLABELED = (-1, None)  # in a Hugging Face split


class TarDataset(ImageDataset):
    """Images of uncompressed tar archives, which several threads and processes may read.

    Classes are as in timm. A WebDataset's are numbers or names, in `.cls` or as `label` in `.json`. If no image has
    a label, the class is the first folder below those that all images share, as in an image folder, or the archive
    if an image is in no folder. Names are sorted as in an image folder; timm's order differs if they differ in case
    or contain numbers, and its class is the last folder.

    Raises:
        DataError: an archive is unreadable or has no images, or some of its labels are unusable.
    """

    allows_threads = True

    def __init__(self, archives: Sequence[Path], num_classes: int):
        self.root = os.path.commonpath([str(path) for path in archives])
        listed = [(path, list_samples(path)) for path in archives]
        left_out = sum((samples.left_out for _, samples in listed), Counter[str]())
        if any(samples.labels for _, samples in listed):
            left_out += sum((samples.keep_one_image_per_sample() for _, samples in listed), Counter[str]())
        if left_out:
            warn(describe_left_out(self.root, left_out))
        found = [
            (path, image, samples.labels.get(key_of(image.name)))
            for path, samples in listed
            for image in samples.images
        ]
        if not found:
            raise DataError(
                f"{self.root} has no images: expected CLASS/*.jpg, or *.jpg with *.cls, in its archives"
            )
        self.classes, numbers = number_labels(
            [label for _, _, label in found],
            lambda index: f"{found[index][0]}: {found[index][1].name}",
            num_classes,
        ) or number_names(_list_classes([(path, image.name) for path, image, _ in found], len(archives)))
        # By class and name, as in a folder, so that the same files have the same batches and held-out images.
        order = sorted(range(len(found)), key=lambda index: (numbers[index], os.path.split(found[index][1].name)))
        self.labels = np.array(numbers)[order]
        self.times = {path: path.stat().st_mtime_ns for path in archives}
        self.members = [found[index][:2] for index in order]

    def pixels_of(self, index: int) -> Pixels:
        archive, image = self.members[index]
        with archive.open("rb") as file:
            file.seek(image.offset)
            return decode_image(bytearray(file.read(check_length(image.size))))

    def name_of(self, index: int) -> str:
        archive, image = self.members[index]
        return f"{archive}: {image.name}"

    def entry_of(self, index: int) -> str:
        return f"{self.classes[self.labels[index]]}/{os.path.basename(self.members[index][1].name)}"

    def size_of(self, index: int) -> int:
        return self.members[index][1].size

    def origin_of(self, index: int) -> str:
        archive, image = self.members[index]
        place = f"\0{os.path.abspath(archive)}\0{image.name}\0{image.offset}\0{image.size}"
        return f"{place}\0{self.labels[index]}\0{self.times[archive]}"


class HubDataset(ImageDataset):
    """A split of a Hugging Face data set with the columns `image` and `label`, on disk or downloaded.

    Labels are numbers, with or without names, or names. A split without labels (marked by -1) is skipped.

    Raises:
        DataError: the library is missing, the data set or its split cannot be loaded, or a label is unusable.
    """

    def __init__(self, name: str, splits: Sequence[str], num_classes: int):
        self.root = f"hfds/{name}"
        self.reader, self.split, labels = _open_split(name, splits)
        self.classes = sorted(self.reader.class_to_idx, key=self.reader.class_to_idx.__getitem__)
        if self.classes:
            numbers = [label if isinstance(label, int) else -1 for label in labels]
            check_numbers(numbers, self.name_of, len(self.classes))
        else:
            self.classes, numbers = number_labels(labels, self.name_of, num_classes) or ([], [])
        self.labels = np.array(numbers)

    def pixels_of(self, index: int) -> Pixels:
        file, _ = self.reader[index]
        with file:
            return decode_image(bytearray(file.read()))

    def name_of(self, index: int) -> str:
        return f"image {index} of {self.root}, {self.split}"

    def size_of(self, index: int) -> int:
        file, _ = self.reader[index]
        with file:
            return file.seek(0, os.SEEK_END)

    def origin_of(self, index: int) -> str:
        fingerprint = self.reader.dataset._fingerprint  # of the data set's content
        return f"\0{self.root}\0{self.split}\0{fingerprint}\0{index}\0{self.labels[index]}"


def _list_classes(images: Sequence[tuple[Path, str]], archives: int) -> list[str]:
    """Return each image's class, by its archive and its name in there.

    An image beside the folders of the classes, as all are if there is one class, has its own folder as class.
    """
    folders = [PurePosixPath(name).parent.parts for _, name in images]  # without "."
    levels = zip(*folders, strict=False)  # down to the shortest
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    return [
        folder[shared] if len(folder) > shared else folder[-1] if folder else archive.stem if archives > 1 else ""
        for (archive, _), folder in zip(images, folders, strict=True)
    ]


def _open_split(name: str, splits: Sequence[str]) -> tuple[Any, str, list[Label | None]]:
    """Return timm's reader of the first split that has labels, the split's name, and its labels."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"data.root=hfds/{name} needs Hugging Face's library: pip install datasets") from error
    unlabeled = None
    try:
        found = datasets.get_dataset_split_names(name)
        for split in (split for split in splits if split in found):
            reader = create_reader(f"hfds/{name}", split=split)
            if "label" not in reader.dataset.column_names:
                columns = ", ".join(reader.dataset.column_names)
                raise DataError(f"hfds/{name} has the columns {columns}; expected image and label")
            labels = reader.dataset.select_columns("label")[:]["label"]
            if any(label not in UNLABELED for label in labels):
                warn_if_ambiguous(
                    f"hfds/{name}", [split, *(other for other in splits if other in found and other != split)]
                )
                return reader, split, labels
            unlabeled = split
    except DataError:
        raise
    except Exception as error:  # errors of the library, the network and the file system have no common base
        raise DataError(f"hfds/{name} can't be loaded: {first_line(error)}") from error
    if unlabeled:
        raise DataError(f"hfds/{name} has no labels in its split {unlabeled}")
    raise DataError(f"hfds/{name} has the splits {', '.join(found)}; expected one of {', '.join(splits)}")
