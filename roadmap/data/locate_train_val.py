"""Finds the training or validation split below a data root: a folder, or archives."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from roadmap.data.image_files import is_ignored
from roadmap.errors import DataError
from roadmap.system.console import warn

TRAINING_NAMES = ("train",)
VALIDATION_NAMES = ("val", "test", "validation")


def find_split(root: Path, names: Sequence[str]) -> Path | list[Path]:
    """Return the folder or the archives of the first existing name.

    Archives are train.tar, train/*.tar, or shards such as imagenet1k-train-0001.tar.

    Raises:
        DataError: none exists, or it exists twice, for example as an archive and unpacked.
    """
    existing = [name for name in names if _find_forms(root, name)]
    if not existing:
        if names == TRAINING_NAMES:
            folder = root.absolute() / names[0]
            raise DataError(f"there is no folder {folder}; expected one folder of images for each class in it")
        raise DataError(f"{root.absolute()} has no validation folder; expected one of {', '.join(names)}")
    forms = _find_forms(root, existing[0])
    if len(forms) > 1:
        first, second = (form[0] if isinstance(form, list) else form for form in forms[:2])
        raise DataError(
            f"{first} and {second} both exist, and may differ: keep one of them, or name another folder with "
            "data.root=FOLDER"
        )
    warn_if_ambiguous(str(root), existing)
    return forms[0]


def warn_if_ambiguous(root: str, existing: Sequence[str]) -> None:
    """Warn if the first of the existing splits may not be the expected one."""
    if "validation" in existing[1:]:
        warn(f"{root}: {existing[0]} is evaluated, although validation exists too")


def _find_forms(root: Path, name: str) -> list[Path | list[Path]]:
    """Return the forms in which a split exists: a folder, or lists of archives."""
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
