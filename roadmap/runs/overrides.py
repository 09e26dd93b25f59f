"""Overrides that a run was started with: overrides.yaml in its folder."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from roadmap.errors import DamagedError
from roadmap.runs.atomic import replace_file
from roadmap.runs.read_files import load_yaml

OVERRIDES = "overrides.yaml"


def write_overrides(folder: Path, overrides: Sequence[str] | None) -> None:
    """Write the words of `python train.py` that train the run again; None (unknown) removes the file."""
    if overrides is None:
        (folder / OVERRIDES).unlink(missing_ok=True)
    else:
        text = yaml.safe_dump(list(overrides), allow_unicode=True, width=2**20)
        replace_file(folder / OVERRIDES, text.encode())


def read_overrides(folder: Path) -> tuple[str, ...] | None:
    """Return the recorded words; None for a run that an earlier version trained.

    Raises:
        DamagedError: the file cannot be read or is no list of strings.
    """
    path = folder / OVERRIDES
    try:
        words = load_yaml(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except DamagedError as error:
        raise DamagedError(f"{error}; remove it") from error
    if not isinstance(words, list) or not all(isinstance(word, str) and word.isprintable() for word in words):
        raise DamagedError(f"{path} is damaged (no list of overrides); remove it")
    return tuple(words)
