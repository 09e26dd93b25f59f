"""Images in tar archives, WebDataset's shards among them, and in Hugging Face's data sets.

timm's own datasets replace a damaged image by the next one without a word, and its WebDataset reader streams, so
that an epoch can't begin in its middle. Here an archive is listed once, and each image is read at its place.
"""

import os
import re
import tarfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import IO, Any

from timm.data.readers import create_reader
from timm.data.readers.img_extensions import get_img_extensions

from roadmap.data.labels import ENDINGS, Label, check_numbers, number_labels, number_names, parse_label
from roadmap.data.pixels import Pixels, decode_image
from roadmap.errors import DataError, first_line

UNLABELED = (-1, None)  # in a split of Hugging Face


@dataclass(frozen=True)
class Member:
    """One image of an archive: a stretch of its bytes."""

    archive: Path
    name: str
    offset: int
    size: int
    label: int
    time: int  # when the archive was changed, ns


class TarImages:
    """The images of uncompressed tar archives, which may be read by several threads and processes.

    Classes are as timm's: those of a WebDataset are numbers or names, in `.cls` or as `label` in `.json` beside an
    image; if no image has a label, they are named by the folder of an image, or by its archive where it is in none.
    Names are numbered as in an image folder, by their plain order; timm's order differs where they differ in case
    or hold numbers.

    Raises:
        DataError: an archive can't be read or has no images, or some of its labels can't be used.
    """

    def __init__(self, archives: Sequence[Path], num_classes: int):
        self.root = os.path.commonpath([str(path) for path in archives])
        listed = [(path, *_list_archive(path)) for path in archives]
        found = [(path, image, labels.get(_key(image.name))) for path, images, labels in listed for image in images]
        if not found:
            raise DataError(
                f"{self.root} has no images: expected CLASS/*.jpg, or *.jpg with *.cls, in its archives"
            )
        self.classes, numbers = number_labels(
            [label for _, _, label in found],
            lambda index: f"{found[index][0]}: {found[index][1].name}",
            num_classes,
        ) or number_names([_folder_of(image.name) or _class_of_archive(path, archives) for path, image, _ in found])
        times = {path: path.stat().st_mtime_ns for path in archives}
        self.members = [
            Member(path, image.name, image.offset_data, image.size, number, times[path])
            for (path, image, _), number in zip(found, numbers, strict=True)
        ]

    @property
    def labels(self) -> list[int]:
        return [member.label for member in self.members]

    def renumber(self, numbers: Sequence[int], classes: Sequence[str]) -> None:
        """See `classes.ClassedImages`."""
        self.members = [replace(member, label=numbers[member.label]) for member in self.members]
        self.classes = list(classes)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        member = self.members[index]
        with member.archive.open("rb") as file:
            file.seek(member.offset)
            content = bytearray(file.read(member.size))
        return decode_image(content), member.label

    def name_of(self, index: int) -> str:
        return f"{self.members[index].archive}: {self.members[index].name}"

    def origin_of(self, index: int) -> str:
        """See `reading.origin_of`."""
        archive, name, *numbers = astuple(self.members[index])
        return "\0".join(["", os.path.abspath(archive), name, *map(str, numbers)])


class HubImages:
    """A split of one of Hugging Face's data sets with the columns `image` and `label`, on disk or downloaded.

    Labels are numbers, with or without names, or names. A split that has none, which the hub marks by -1, is passed
    over.

    Raises:
        DataError: the library is missing, the data set or its split can't be loaded, or a label can't be used.
    """

    def __init__(self, name: str, splits: Sequence[str], num_classes: int):
        self.root = f"hfds/{name}"
        self.reader, self.split, labels = _open_split(name, splits)
        self.classes = sorted(self.reader.class_to_idx, key=self.reader.class_to_idx.__getitem__)
        if self.classes:
            self.labels = [label if isinstance(label, int) else -1 for label in labels]
            check_numbers(self.labels, self.name_of, len(self.classes))
        else:
            self.classes, self.labels = number_labels(labels, self.name_of, num_classes) or ([], [])

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        file, _ = self.reader[index]
        with file:
            return decode_image(bytearray(file.read())), self.labels[index]

    def renumber(self, numbers: Sequence[int], classes: Sequence[str]) -> None:
        """See `classes.ClassedImages`."""
        self.labels = [numbers[label] for label in self.labels]
        self.classes = list(classes)

    def name_of(self, index: int) -> str:
        return f"image {index} of {self.root}, {self.split}"

    def origin_of(self, index: int) -> str:
        """See `reading.origin_of`. The library gives what is in a data set a fingerprint."""
        fingerprint = self.reader.dataset._fingerprint
        return f"\0{self.root}\0{self.split}\0{fingerprint}\0{index}\0{self.labels[index]}"


def find_archives(root: Path, names: Sequence[str]) -> list[Path]:
    """The archives of one part: train.tar, train/*.tar, or shards such as imagenet1k-train-0001.tar."""
    for name in names:
        shard = re.compile(rf"(.*-)?{name}(-\d+)?\.tar")
        inside = sorted((root / name).glob("*.tar"))
        found = inside or sorted(path for path in root.glob("*.tar") if shard.fullmatch(path.name))
        if found:
            return found
    return []


def _list_archive(path: Path) -> tuple[list[tarfile.TarInfo], dict[str, Label]]:
    """Its images, and the labels that are written beside them, by the images' names without their ending."""
    images: list[tarfile.TarInfo] = []
    beside: dict[str, dict[str, Label]] = {ending: {} for ending in ENDINGS}
    endings = get_img_extensions(as_set=True)
    try:
        with tarfile.open(path, "r:") as archive:
            end = 0
            for member in archive:
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                ending = os.path.splitext(member.name)[1].lower()
                if member.isfile() and ending in endings:
                    images.append(member)
                elif member.isfile() and ending in ENDINGS and len(_key(member.name) + ending) == len(member.name):
                    label = _read_label(path, member.name, archive.extractfile(member), ending)
                    if label is not None:
                        beside[ending][_key(member.name)] = label
        if path.stat().st_size < end + tarfile.BLOCKSIZE:  # tarfile takes a broken header for the end
            raise tarfile.ReadError("it ends too early, without the empty block that closes an archive")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as an uncompressed tar archive: {first_line(error)}") from error
    return images, _join_labels(path, beside[".cls"], beside[".json"])


def _read_label(path: Path, name: str, file: IO[bytes] | None, ending: str) -> Label | None:
    try:
        return parse_label(file.read() if file is not None else b"", ending)
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or no label
        raise DataError(f"{path}: {name} can't be read as a label: {first_line(error)}") from error


def _join_labels(path: Path, plain: dict[str, Label], described: dict[str, Label]) -> dict[str, Label]:
    """Those of .cls files and of .json files, which may name the class that the former number."""
    for key in sorted(plain.keys() & described.keys()):
        if type(plain[key]) is type(described[key]) and plain[key] != described[key]:
            raise DataError(f"{path}: {key}.cls has the label {plain[key]}, {key}.json {described[key]}")
    return described | plain


def _key(name: str) -> str:
    """What the files of one WebDataset sample share: everything up to the first dot of the last part."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.split(".", 1)[0])


def _folder_of(name: str) -> str:
    return os.path.basename(os.path.dirname(os.path.normpath(name)))  # tar -C FOLDER . begins with ./


def _class_of_archive(path: Path, archives: Sequence[Path]) -> str:
    return path.stem if len(archives) > 1 else ""


def _open_split(name: str, splits: Sequence[str]) -> tuple[Any, str, list[Label | None]]:
    """timm's reader of the first of the splits that has labels, that split, and its labels."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"data.root=hfds/{name} needs Hugging Face's library: pip install datasets") from error
    without = None
    try:
        found = datasets.get_dataset_split_names(name)
        for split in (split for split in splits if split in found):
            reader = create_reader(f"hfds/{name}", split=split)
            if "label" not in reader.dataset.column_names:
                columns = ", ".join(reader.dataset.column_names)
                raise DataError(f"hfds/{name} has the columns {columns}; expected image and label")
            labels = reader.dataset.select_columns("label")[:]["label"]
            if any(label not in UNLABELED for label in labels):
                return reader, split, labels
            without = split
    except DataError:
        raise
    except Exception as error:  # the library's, the network's and the file system's errors share no base
        raise DataError(f"hfds/{name} can't be loaded: {first_line(error)}") from error
    if without:
        raise DataError(f"hfds/{name} has no labels in its split {without}")
    raise DataError(f"hfds/{name} has the splits {', '.join(found)}; expected one of {', '.join(splits)}")
