"""Images in class folders, CLASS/**/*.jpg, as torchvision's ImageFolder but without hidden and system files."""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from roadmap.data.classes import list_names
from roadmap.data.image_dataset import ImageDataset
from roadmap.data.image_files import (
    ENDINGS,
    class_name,
    describe_left_out,
    ending_of,
    is_ignored,
    is_image,
    walk_images,
)
from roadmap.data.image_io import Pixels, read_image
from roadmap.errors import DataError
from roadmap.system.console import warn


class FolderImages(ImageDataset):
    """Images of class folders: classes sorted by name, and the files of a class by folder and name.

    Hidden files and folders are ignored; a warning counts the other files that are not images.

    Raises:
        DataError: there are no class folders, or no images in them. A class may be empty.
    """

    allows_threads = True

    def __init__(self, root: Path):
        self.root = str(root)
        with os.scandir(root) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if not is_ignored(entry.name))
        folders = [name for name, is_folder in found if is_folder]
        if not folders:
            raise DataError(f"{root.absolute()} is not an image folder: it has no folder of a class")
        self.classes = list(dict.fromkeys(class_name(folder) for folder in folders))
        numbers = {name: number for number, name in enumerate(self.classes)}
        self.paths: list[str] = []
        labels: list[int] = []
        left_out = Counter(_kind_outside(name) for name, is_folder in found if not is_folder)
        for folder in folders:
            paths, others = walk_images(os.path.join(root, folder))
            self.paths += paths
            labels += [numbers[class_name(folder)]] * len(paths)
            left_out += others
        if left_out:
            warn(describe_left_out(root, left_out))
        if not self.paths:
            raise DataError(
                f"{root.absolute()} is not an image folder: no images ({', '.join(ENDINGS)}) in its classes "
                f"{list_names(self.classes)}"
            )
        self.labels = np.array(labels)

    def pixels_of(self, index: int) -> Pixels:
        return read_image(self.paths[index])

    def name_of(self, index: int) -> str:
        return self.paths[index]

    def entry_of(self, index: int) -> str:
        return f"{self.classes[self.labels[index]]}/{os.path.basename(self.paths[index])}"

    def size_of(self, index: int) -> int:
        return os.path.getsize(self.paths[index])

    def origin_of(self, index: int) -> str:
        facts = os.stat(self.paths[index])
        path = os.path.abspath(self.paths[index])
        return f"\0{path}\0{self.labels[index]}\0{facts.st_size}\0{facts.st_mtime_ns}"


def _kind_outside(name: str) -> str:
    return "images outside of the class folders" if is_image(name) else ending_of(name)
