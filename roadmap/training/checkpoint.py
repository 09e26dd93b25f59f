"""Checkpoints: never half-written, checked when they are read, and with one before them to fall back to."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadmap.errors import RunError
from roadmap.model.torch_file import UnusableFile, read_torch_file, write_sealed
from roadmap.runs.files import replace_file

FORMAT = 2  # 1 had neither a digest nor this number

# What is wrong with a checkpoint's content for the run that would go on with it; None if nothing is.
Check = Callable[[dict[str, Any]], str | None]


def save_checkpoint(path: Path, previous: Path, content: dict[str, Any]) -> None:
    """Replaces the checkpoint at `path` in one step; what was there goes to `previous`.

    `content` holds tensors, numbers, words and containers. The file is one that torch.load reads, with a digest of
    all its bytes at its end.

    Raises:
        RunError: the disk is full; names the path and the bytes. Both files are as they were.
    """
    replace_file(path, write_sealed({"format": FORMAT, **content}), previous)


def load_checkpoint(
    path: Path, previous: Path, config_hash: str, check: Check = lambda content: None
) -> tuple[dict[str, Any] | None, str | None]:
    """The newest checkpoint that is whole and of this run, on the CPU, and a warning if it is `previous`.

    None, where there is none at all.

    Raises:
        RunError: there are files, but none that can be used.
    """
    problems = []
    for file in (path, previous):
        if not file.exists():
            continue  # between the two renames of a save, only the previous one is there
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


def set_aside(path: Path, place: Path) -> None:
    """Moves a checkpoint that can't be used out of the way: the next save would put it in place of the good one."""
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
