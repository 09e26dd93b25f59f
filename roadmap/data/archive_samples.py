"""Images of a tar archive and, for a WebDataset, their labels: KEY.jpg, KEY.cls, KEY.json."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from roadmap.data import image_files, labels
from roadmap.data.image_files import is_ignored, is_image
from roadmap.data.labels import Label, parse_label
from roadmap.data.tar import Entry, list_files
from roadmap.errors import DataError, first_line

MAX_LABEL_BYTES = 1 << 24  # a .json file may hold more than a label


@dataclass
class Samples:
    """An archive's images, its labels by sample key, and the file name endings that were left out."""

    images: list[Entry]
    labels: dict[str, Label]
    left_out: Counter[str]

    def keep_one_image_per_sample(self) -> Counter[str]:
        """Keep one image per WebDataset sample, and return the endings of the dropped ones.

        As in timm, the image is KEY with the first image ending, jpg before png. KEY.seg.png is a mask.
        """
        order = {ending: rank for rank, ending in enumerate(image_files.ENDINGS)}
        chosen: dict[str, Entry] = {}
        for image in sorted(self.images, key=lambda image: order.get(_ending_of(image.name), len(order))):
            if _ending_of(image.name) in order:
                chosen.setdefault(key_of(image.name), image)
        kept = {image.name for image in chosen.values()}
        dropped = Counter(_ending_of(image.name) for image in self.images if image.name not in kept)
        self.images = [image for image in self.images if image.name in kept]
        return dropped


def list_samples(path: Path) -> Samples:
    """Return the images and labels of an archive.

    Raises:
        DataError: the archive or a label in it cannot be read.
    """
    entries, others = list_files(path)
    images: list[Entry] = []
    found: dict[str, dict[str, Label]] = {ending: {} for ending in labels.ENDINGS}
    left_out = Counter("broken links or devices" for name in others if is_image(name))
    with path.open("rb") as file:
        for entry in entries:
            ending = _ending_of(entry.name)
            if is_ignored(entry.name):
                continue
            if is_image(entry.name):
                images.append(entry)
            elif ending in labels.ENDINGS:
                label = _read_label(path, entry, file, ending)
                if label is not None:
                    found[ending][key_of(entry.name)] = label
            else:
                left_out[image_files.ending_of(entry.name)] += 1
    return Samples(images, _join_labels(path, found[".cls"], found[".json"]), left_out)


def key_of(name: str) -> str:
    """Return a WebDataset sample's key: the path up to the first dot of the file name."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.split(".", 1)[0])


def _ending_of(name: str) -> str:
    """Return everything after the key, in lower case."""
    return name[len(key_of(name)) :].lower()


def _read_label(path: Path, entry: Entry, file: IO[bytes], ending: str) -> Label | None:
    try:
        if entry.size > MAX_LABEL_BYTES:
            raise ValueError(f"it has {entry.size:,} bytes")
        file.seek(entry.offset)
        return parse_label(file.read(entry.size), ending)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or no label
        raise DataError(f"{path}: {entry.name} can't be read as a label: {first_line(error)}") from error


def _join_labels(path: Path, plain: dict[str, Label], described: dict[str, Label]) -> dict[str, Label]:
    """Merge the labels of .cls and .json files; if both exist, .cls wins, and equal kinds must agree."""
    for key in sorted(plain.keys() & described.keys()):
        if type(plain[key]) is type(described[key]) and plain[key] != described[key]:
            raise DataError(f"{path}: {key}.cls has the label {plain[key]}, {key}.json {described[key]}")
    return described | plain
