"""Location of the training or validation images of a folder: in their own folder, or in archives."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from roadmap.data.image_files import is_ignored
from roadmap.errors import DataError
from roadmap.system.console import warn

TRAINING_NAMES = ("train",)
VALIDATION_NAMES = ("val", "test", "validation")


def find_part(root: Path, names: Sequence[str]) -> Path | list[Path]:
    """Return the folder or the archives of the first of the names that exists.

    Archives are train.tar, train/*.tar, or shards such as imagenet1k-train-0001.tar.

    Raises:
        DataError: none exists, or one exists in several forms, for example after an archive was unpacked.
    """
    there = [name for name in names if _find_forms(root, name)]
    if not there:
        if names == TRAINING_NAMES:
            folder = root.absolute() / names[0]
            raise DataError(f"there is no folder {folder}; expected one folder of images for each class in it")
        raise DataError(f"{root.absolute()} has no validation folder; expected one of {', '.join(names)}")
    forms = _find_forms(root, there[0])
    if len(forms) > 1:
        first, second = (form[0] if isinstance(form, list) else form for form in forms[:2])
        raise DataError(
            f"{first} and {second} are both there, with the same images or others: keep one of them, or name "
            "another folder by data.root=FOLDER"
        )
    note_choice(str(root), there)
    return forms[0]


def note_choice(root: str, there: Sequence[str]) -> None:
    """Warn if the first existing name may not be the expected one."""
    if "validation" in there[1:]:
        warn(f"{root}: {there[0]} is evaluated, though there is validation, too")


def _find_forms(root: Path, name: str) -> list[Path | list[Path]]:
    """Return the forms in which a part exists."""
    shard = re.compile(rf"((.*-)?{name}-\d+|.*-{name})\.tar", re.IGNORECASE)
    beside, inside = _list_archives(root), _list_archives(root / name)
    archives = (
        inside,
        [path for path in beside if path.name.lower() == f"{name}.tar"],
        [path for path in beside if shard.fullmatch(path.name)],
    )
    forms: list[Path | list[Path]] = [found for found in archives if found]
    if (root / name).is_dir() and (not forms or _has_folders(root / name)):
        forms.insert(0, root / name)
    return forms


def _list_archives(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(".tar") and not is_ignored(name))
    return [folder / name for name in names]


def _has_folders(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.is_dir() and not is_ignored(entry.name) for entry in entries)
