"""Overrides that a run was started with: overrides.yaml in its folder."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from roadmap.errors import DamagedError
from roadmap.runs.atomic import replace_file
from roadmap.runs.read_files import load_yaml

OVERRIDES = "overrides.yaml"


def write_overrides(folder: Path, overrides: Sequence[str] | None) -> None:
    """Write the overrides that reproduce the run; None (unknown) removes the file."""
    if overrides is None:
        (folder / OVERRIDES).unlink(missing_ok=True)
    else:
        text = yaml.safe_dump(list(overrides), allow_unicode=True, width=2**20)
        replace_file(folder / OVERRIDES, text.encode())


def read_overrides(folder: Path) -> tuple[str, ...] | None:
    """Return the recorded overrides; None for a run of an earlier version.

    Raises:
        DamagedError: the file cannot be read or is not a list of strings.
    """
    path = folder / OVERRIDES
    try:
        overrides = load_yaml(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except DamagedError as error:
        raise DamagedError(f"{error}; remove it") from error
    if not isinstance(overrides, list) or not all(isinstance(one, str) and one.isprintable() for one in overrides):
        raise DamagedError(f"{path} is damaged (not a list of overrides); remove it")
    return tuple(overrides)
