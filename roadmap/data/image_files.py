"""Which files are images: one answer for folders, archives and `scripts/shrink_images.py`. No torch here."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's ImageFolder's
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir")  # of macOS's archives and of Synology's disks, with thumbnails


def is_image(name: str) -> bool:
    """Whether a file is an image by its ending, in small or capital letters."""
    return name.lower().endswith(ENDINGS)


def is_ignored(path: str) -> bool:
    """Whether a part of a relative path is hidden, such as ._1.jpg or .ipynb_checkpoints, or a system's folder."""
    parts = PurePosixPath(path).parts
    return any((part.startswith(".") and part != "..") or part in SYSTEM_FOLDERS for part in parts)


def ending_of(name: str) -> str:
    """In small letters, for counts."""
    return os.path.splitext(name)[1].lower() or "without an ending"


def class_name(name: str) -> str:
    """A class by its composed name, since one system writes é as one character and another as two."""
    return unicodedata.normalize("NFC", name)


def walk_images(folder: str | Path) -> tuple[list[str], Counter[str]]:
    """The images of a folder and those below it, in torchvision's order; and the endings of its other files.

    Links are followed, but not to a folder that they lie in, which would never end.
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


def describe_left_out(place: str | Path, left_out: Counter[str]) -> str:
    """A line for files that are no images by their ending."""
    counts = ", ".join(f"{count:,} {ending}" for ending, count in left_out.most_common())
    return f"{place}: {left_out.total():,} files are left out: {counts}. Images are {', '.join(ENDINGS)}"


def _walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not is_ignored(name) and not _is_loop(parent, name)]
        yield parent, names


def _is_loop(parent: str, name: str) -> bool:
    """Whether a folder is a link to one that it lies in."""
    path = os.path.join(parent, name)
    if not os.path.islink(path):
        return False
    target, here = os.path.realpath(path), os.path.realpath(parent)
    return os.path.commonpath([target, here]) == target
