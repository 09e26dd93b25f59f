"""Definition of an image file, for folders, archives and `scripts/shrink_images.py`. Does not import torch."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from roadmap.errors import in_one_line

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # those of ImageFolder
LISTED = 20  # names in a message
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir")  # metadata and thumbnails of macOS and Synology disks


def list_names(names: Sequence[str], limit: int = LISTED) -> str:
    """Return the first `limit` names and the number of the others, for a message."""
    shown = ", ".join(in_one_line(name) or "(no name)" for name in names[:limit]) or "none"
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def is_image(name: str) -> bool:
    """Return True if the file's ending is an image's, in any case."""
    return name.lower().endswith(ENDINGS)


def is_ignored(path: str) -> bool:
    """Return True if part of a path is hidden, such as ._1.jpg or .ipynb_checkpoints, or is a system folder."""
    return any((part[:1] == "." and part not in (".", "..")) or part in SYSTEM_FOLDERS for part in path.split("/"))


def ending_of(name: str) -> str:
    """Return the ending in lower case, for counts."""
    return os.path.splitext(name)[1].lower() or "without an ending"


def class_name(name: str) -> str:
    """Normalize a class name to composed Unicode, since some systems write é as one character and others as two."""
    return unicodedata.normalize("NFC", name)


def walk_images(folder: str | Path) -> tuple[list[str], Counter[str]]:
    """Return the images in a folder and below it, in torchvision's order, and the endings of its other files.

    Follows links, except to a folder that contains the link, which would never end.
    """
    images: list[str] = []
    left_out: Counter[str] = Counter()
    for parent, names in sorted(_walk(str(folder))):
        for name in sorted(names):
            if is_ignored(name):
                continue
            if is_image(name):
                images.append(os.path.join(parent, name))
            else:
                left_out[ending_of(name)] += 1
    return images, left_out


def describe_left_out(root: str | Path, left_out: Counter[str]) -> str:
    """Count the files that are not images, by ending, for a warning."""
    counts = ", ".join(f"{count:,} {ending}" for ending, count in left_out.most_common())
    return f"{root}: files left out: {left_out.total():,} ({counts}). Images are {', '.join(ENDINGS)}"


def _walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not is_ignored(name) and not _is_loop(parent, name)]
        yield parent, names


def _is_loop(parent: str, name: str) -> bool:
    """Return True if a folder is a link to one that contains it."""
    path = os.path.join(parent, name)
    if not os.path.islink(path):
        return False
    target, here = os.path.realpath(path), os.path.realpath(parent)
    return os.path.commonpath([target, here]) == target
