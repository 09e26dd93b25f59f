"""Images in class folders, CLASS/**/*.jpg, as torchvision's ImageFolder but without hidden and system files."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from roadmap.data.classes import list_names
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


class FolderImages:
    """Images of class folders: classes sorted by name, and the files of a class by folder and name.

    Hidden files and folders are ignored; a warning counts the other files that are not images.

    Raises:
        DataError: there are no class folders, or no images in them. A class may be empty.
    """

    def __init__(self, root: Path):
        self.root = str(root)
        with os.scandir(root) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if not is_ignored(entry.name))
        folders = [name for name, is_folder in found if is_folder]
        if not folders:
            raise DataError(f"{root.absolute()} is not an image folder: it has no folder of a class")
        self.classes = list(dict.fromkeys(class_name(folder) for folder in folders))
        numbers = {name: number for number, name in enumerate(self.classes)}
        self.samples: list[tuple[str, int]] = []
        left_out = Counter(_kind_outside(name) for name, is_folder in found if not is_folder)
        for folder in folders:
            paths, others = walk_images(os.path.join(root, folder))
            self.samples += [(path, numbers[class_name(folder)]) for path in paths]
            left_out += others
        if left_out:
            warn(describe_left_out(root, left_out))
        if not self.samples:
            raise DataError(
                f"{root.absolute()} is not an image folder: no images ({', '.join(ENDINGS)}) in its classes "
                f"{list_names(self.classes)}"
            )

    @property
    def labels(self) -> list[int]:
        return [label for _, label in self.samples]

    def renumber(self, numbers: Sequence[int], classes: Sequence[str]) -> None:
        self.samples = [(path, numbers[label]) for path, label in self.samples]
        self.classes = list(classes)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        path, label = self.samples[index]
        return read_image(path), label

    def name_of(self, index: int) -> str:
        return self.samples[index][0]

    def entry_of(self, index: int) -> str:
        path, label = self.samples[index]
        return f"{self.classes[label]}/{os.path.basename(path)}"

    def size_of(self, index: int) -> int:
        return os.path.getsize(self.samples[index][0])

    def origin_of(self, index: int) -> str:
        path, label = self.samples[index]
        facts = os.stat(path)
        return f"\0{os.path.abspath(path)}\0{label}\0{facts.st_size}\0{facts.st_mtime_ns}"


def _kind_outside(name: str) -> str:
    return "images outside of the class folders" if is_image(name) else ending_of(name)
