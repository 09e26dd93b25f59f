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

FORMAT = 2  # format 1 has neither a digest nor this number


class MismatchError(Exception):
    """Content of a checkpoint that does not fit a training; the text names the first wrong key."""


Check = Callable[[dict[str, Any]], None]  # raises MismatchError for a content that the run cannot resume from


def save_checkpoint(path: Path, previous: Path, content: dict[str, Any]) -> None:
    """Replace the checkpoint at `path` atomically; the old one is moved to `previous`.

    `content` holds tensors, numbers, strings and containers. torch.load can read the file, which ends in a
    digest of all its bytes.

    Raises:
        RunError: the disk is full; names the path and the bytes. Both files stay unchanged.
    """
    replace_file(path, write_sealed({"format": FORMAT, **content}), previous)


def load_checkpoint(
    path: Path, previous: Path, config_hash: str, check: Check = lambda content: None
) -> tuple[dict[str, Any] | None, str | None]:
    """Return the newest intact checkpoint of this run, on the CPU, and a warning if it is `previous`.

    Without a checkpoint, both are None.

    Raises:
        RunError: there are checkpoints, but none is usable.
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
            return content, f"{problems[0]}; resuming from {file}" if problems else None
    if problems:
        raise RunError(
            "\n".join(
                [*problems, "There is no usable checkpoint: remove the damaged files to train from the start"]
            )
        )
    return None, None


def read_classes(path: Path) -> list[str] | None:
    """Return the class names in one of this project's checkpoints; None for other files.

    Reads only the names, without verifying the file, which loading the weights does.
    """
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        return [str(name) for name in content["classes"]] if "config_hash" in content else None
    except Exception:  # no file, or not ours; torch's and pickle's errors share no base
        return None


def set_aside(path: Path, target: Path) -> None:
    """Move an unusable checkpoint away, since the next save would otherwise replace the good one with it."""
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, target)


def _read(path: Path, config_hash: str, check: Check) -> dict[str, Any]:
    try:
        content, is_sealed = read_torch_file(path)
    except UnusableFile as error:
        raise RunError(f"the checkpoint {path} {error}") from error
    if not isinstance(content, dict) or content.get("config_hash") != config_hash:
        raise RunError(f"the checkpoint {path} belongs to another configuration")
    found = content.get("format", 1)
    if found not in range(1, FORMAT + 1):
        raise RunError(f"the checkpoint {path} has format {found}, and this version reads 1 to {FORMAT}")
    if found > 1 and not is_sealed:
        raise RunError(f"the checkpoint {path} is damaged: the digest at its end is missing")
    try:
        check(content)
    except MismatchError as error:
        raise RunError(f"the checkpoint {path} does not fit this run: {error}") from error
    return content
