"""Checkpoints: written atomically, verified when read, with the previous one kept as a fallback."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from roadmap.errors import RunError
from roadmap.model.torch_file import UnusableFile, read_torch_file, write_sealed
from roadmap.runs.atomic import replace_file

FORMAT = 2  # version 1 had neither a digest nor this number

# Returns why a checkpoint's content cannot be resumed by the run; None if it can.
Check = Callable[[dict[str, Any]], str | None]


def save_checkpoint(path: Path, previous: Path, content: dict[str, Any]) -> None:
    """Replace the checkpoint at `path` atomically; the old one is moved to `previous`.

    `content` holds tensors, numbers, strings and containers. torch.load can read the file, which ends with a digest
    of all its bytes.

    Raises:
        RunError: the disk is full; names the path and the bytes. Both files are unchanged.
    """
    replace_file(path, write_sealed({"format": FORMAT, **content}), previous)


def load_checkpoint(
    path: Path, previous: Path, config_hash: str, check: Check = lambda content: None
) -> tuple[dict[str, Any] | None, str | None]:
    """Return the newest intact checkpoint of this run, on the CPU, and a warning if it is `previous`.

    Returns None if there is no checkpoint.

    Raises:
        RunError: there are files, but none is usable.
    """
    problems = []
    for file in (path, previous):
        if not file.exists():
            continue  # between the two renames of a save, only the previous one exists
        try:
            content = _read(file, config_hash, check)
        except RunError as error:
            problems.append(str(error))
        else:
            return content, f"{problems[0]}; going on from {file}" if problems else None
    if problems:
        raise RunError(
            "\n".join([*problems, "Nothing is left to go on from: remove what is damaged to start anew"])
        )
    return None, None


def read_classes(path: Path) -> list[str] | None:
    """Return the class names that this project's checkpoint was trained on; None for other files, which have none.

    Reads only the names. Loading the weights verifies the whole file.
    """
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        return [str(name) for name in content["classes"]] if "config_hash" in content else None
    except Exception:  # no file, or none of ours; torch's and pickle's errors share no base
        return None


def set_aside(path: Path, place: Path) -> None:
    """Move an unusable checkpoint away, since the next save would otherwise replace the good one with it."""
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, place)


def _read(path: Path, config_hash: str, check: Check) -> dict[str, Any]:
    try:
        content, is_sealed = read_torch_file(path)
    except UnusableFile as error:
        raise RunError(f"the checkpoint {path} {error}") from error
    if not isinstance(content, dict) or content.get("config_hash") != config_hash:
        raise RunError(f"the checkpoint {path} is of another configuration")
    found = content.get("format", 1)
    if found not in range(1, FORMAT + 1):
        raise RunError(f"the checkpoint {path} has format {found}, and this version reads 1 to {FORMAT}")
    if found > 1 and not is_sealed:
        raise RunError(f"the checkpoint {path} is damaged: the digest at its end is gone")
    if problem := check(content):
        raise RunError(f"the checkpoint {path} does not fit this run: {problem}")
    return content
