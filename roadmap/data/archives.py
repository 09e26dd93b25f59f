"""Images in tar archives, WebDataset's shards among them, and in Hugging Face's data sets.

timm's own datasets replace a damaged image by the next one without a word, and its WebDataset reader streams, so
that an epoch can't begin in its middle. Here an archive is listed once, and each image is read at its place.
"""

import json
import os
import re
import tarfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Protocol

from timm.data.readers import create_reader
from timm.data.readers.img_extensions import get_img_extensions

from roadmap.data.pixels import Pixels, decode_image
from roadmap.errors import DataError, first_line

LABELS = (".cls", ".json")  # files beside an image of a WebDataset that hold its class


class ClassedImages(Protocol):
    """Images with named classes, and the place that errors name."""

    classes: list[str]
    root: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Pixels, int]: ...


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

    Classes are as timm's: those of a WebDataset are numbers, in `.cls` or as `label` in `.json` beside an image;
    others are named by the folder of an image, or by its archive where it is in none. These are numbered as in an
    image folder, by plain order of the names; timm's order differs where they differ in case or hold numbers.

    Raises:
        DataError: an archive can't be read, or has no images.
    """

    def __init__(self, archives: Sequence[Path]):
        self.root = os.path.commonpath([str(path) for path in archives])
        found = [(path, *_list_archive(path)) for path in archives]
        named = [
            (path, image, labels.get(_key(image.name)), _folder_of(image.name) or _class_of_archive(path, archives))
            for path, images, labels in found
            for image in images
        ]
        if not named:
            raise DataError(
                f"{self.root} has no images: expected CLASS/*.jpg, or *.jpg with *.cls, in its archives"
            )
        numbers = [number for _, _, number, _ in named if number is not None]
        if len(numbers) == len(named):
            self.classes = [str(number) for number in range(1 + max(numbers))]
        else:
            self.classes = sorted({folder for _, _, _, folder in named})
            numbers = [self.classes.index(folder) for _, _, _, folder in named]
        times = {path: path.stat().st_mtime_ns for path in archives}
        self.members = [
            Member(path, image.name, image.offset_data, image.size, number, times[path])
            for (path, image, _, _), number in zip(named, numbers, strict=True)
        ]

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

    Raises:
        DataError: the library is missing, or the data set or its split can't be loaded.
    """

    def __init__(self, name: str, splits: Sequence[str]):
        self.root = f"hfds/{name}"
        self.reader, self.split = _open_split(name, splits)
        self.classes = sorted(self.reader.class_to_idx, key=self.reader.class_to_idx.__getitem__)

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        file, label = self.reader[index]
        with file:
            return decode_image(bytearray(file.read())), label

    def name_of(self, index: int) -> str:
        return f"image {index} of {self.root}, {self.split}"

    def origin_of(self, index: int) -> str:
        """See `reading.origin_of`. The library gives what is in a data set a fingerprint."""
        return f"\0{self.root}\0{self.split}\0{self.reader.dataset._fingerprint}\0{index}"


def find_archives(root: Path, names: Sequence[str]) -> list[Path]:
    """The archives of one part: train.tar, train/*.tar, or shards such as imagenet1k-train-0001.tar."""
    for name in names:
        shard = re.compile(rf"(.*-)?{name}(-\d+)?\.tar")
        inside = sorted((root / name).glob("*.tar"))
        found = inside or sorted(path for path in root.glob("*.tar") if shard.fullmatch(path.name))
        if found:
            return found
    return []


def _list_archive(path: Path) -> tuple[list[tarfile.TarInfo], dict[str, int]]:
    """Its images, and the classes that are written beside them, by the images' names without their ending."""
    images, labels = [], {}
    endings = get_img_extensions(as_set=True)
    try:
        with tarfile.open(path, "r:") as archive:
            end = 0
            for member in archive:
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                ending = os.path.splitext(member.name)[1].lower()
                if member.isfile() and ending in endings:
                    images.append(member)
                elif member.isfile() and ending in LABELS:
                    label = _read_label(archive.extractfile(member), ending)
                    if label is not None:
                        labels[_key(member.name)] = label
        if path.stat().st_size < end + tarfile.BLOCKSIZE:  # tarfile takes a broken header for the end
            raise tarfile.ReadError("it ends too early, without the empty block that closes an archive")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as an uncompressed tar archive: {first_line(error)}") from error
    return images, labels


def _read_label(file: IO[bytes] | None, ending: str) -> int | None:
    content = file.read() if file is not None else b""
    if ending == ".cls":
        return int(content)
    description = json.loads(content)
    label = description.get("label") if isinstance(description, dict) else None
    return label if isinstance(label, int) else None


def _key(name: str) -> str:
    """What the files of one WebDataset sample share: everything up to the first dot of the last part."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.split(".", 1)[0])


def _folder_of(name: str) -> str:
    return os.path.basename(os.path.dirname(os.path.normpath(name)))  # tar -C FOLDER . begins with ./


def _class_of_archive(path: Path, archives: Sequence[Path]) -> str:
    return path.stem if len(archives) > 1 else ""


def _open_split(name: str, splits: Sequence[str]) -> tuple:
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"data.root=hfds/{name} needs Hugging Face's library: pip install datasets") from error
    try:
        found = datasets.get_dataset_split_names(name)
        split = next((split for split in splits if split in found), None)
        if split is not None:
            return create_reader(f"hfds/{name}", split=split), split
    except Exception as error:  # the library's, the network's and the file system's errors share no base
        raise DataError(f"hfds/{name} can't be loaded: {first_line(error)}") from error
    raise DataError(f"hfds/{name} has the splits {', '.join(found)}; expected one of {', '.join(splits)}")
