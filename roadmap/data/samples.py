"""The images of a tar archive, and in a WebDataset the labels beside them: KEY.jpg, KEY.cls, KEY.json."""

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

LONGEST_LABEL = 1 << 24  # bytes; a description may hold more than a label


@dataclass
class Samples:
    """An archive's images, its labels by the samples' keys, and the endings of its other files."""

    images: list[Entry]
    labels: dict[str, Label]
    left_out: Counter[str]

    def drop_parts(self) -> Counter[str]:
        """Keeps one image of each sample of a WebDataset, and returns the endings of the others.

        That is KEY with the first of the images' endings, jpg before png, as timm has it: KEY.seg.png is a mask.
        """
        order = {ending: place for place, ending in enumerate(image_files.ENDINGS)}
        chosen: dict[str, Entry] = {}
        for image in sorted(self.images, key=lambda image: order.get(_ending_of(image.name), len(order))):
            if _ending_of(image.name) in order:
                chosen.setdefault(key_of(image.name), image)
        kept = {image.name for image in chosen.values()}
        parts = Counter(_ending_of(image.name) for image in self.images if image.name not in kept)
        self.images = [image for image in self.images if image.name in kept]
        return parts


def list_samples(path: Path) -> Samples:
    """What of an archive can be trained on.

    Raises:
        DataError: it can't be read, or a label in it can't.
    """
    entries, others = list_files(path)
    images: list[Entry] = []
    beside: dict[str, dict[str, Label]] = {ending: {} for ending in labels.ENDINGS}
    left_out = Counter("links to nothing in it, or devices" for name in others if is_image(name))
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
                    beside[ending][key_of(entry.name)] = label
            else:
                left_out[image_files.ending_of(entry.name)] += 1
    return Samples(images, _join_labels(path, beside[".cls"], beside[".json"]), left_out)


def key_of(name: str) -> str:
    """What the files of one WebDataset sample share: everything up to the first dot of the last part."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.split(".", 1)[0])


def _ending_of(name: str) -> str:
    """The rest, in small letters."""
    return name[len(key_of(name)) :].lower()


def _read_label(path: Path, entry: Entry, file: IO[bytes], ending: str) -> Label | None:
    try:
        if entry.size > LONGEST_LABEL:
            raise ValueError(f"it has {entry.size:,} bytes")
        file.seek(entry.offset)
        return parse_label(file.read(entry.size), ending)
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or no label
        raise DataError(f"{path}: {entry.name} can't be read as a label: {first_line(error)}") from error


def _join_labels(path: Path, plain: dict[str, Label], described: dict[str, Label]) -> dict[str, Label]:
    """Those of .cls files and of .json files, which may name the class that the former number."""
    for key in sorted(plain.keys() & described.keys()):
        if type(plain[key]) is type(described[key]) and plain[key] != described[key]:
            raise DataError(f"{path}: {key}.cls has the label {plain[key]}, {key}.json {described[key]}")
    return described | plain
