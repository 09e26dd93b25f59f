"""Checkpoints: never half-written, checked when they are read, and with one before them to fall back to."""

import contextlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from roadmap.errors import RunError, first_line
from roadmap.runs.files import replace_file


def save_checkpoint(path: Path, previous: Path, content: dict[str, Any]) -> None:
    """Replaces the checkpoint at `path` in one step; what was there goes to `previous`.

    `content` holds tensors, numbers, words and containers. torch writes it as a zip archive with a checksum
    of every record.

    Raises:
        RunError: the disk is full; names the path and the bytes. Both files are as they were.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    replace_file(path, buffer.getvalue(), previous)


def load_checkpoint(path: Path, previous: Path, config_hash: str) -> tuple[dict[str, Any] | None, str | None]:
    """The newest checkpoint that is whole and of this configuration, on the CPU, and a warning if it is `previous`.

    None, where there is none at all.

    Raises:
        RunError: there are files, but none that can be used.
    """
    problems = []
    for file in (path, previous):
        if not file.exists():
            continue  # between the two renames of a save, only the previous one is there
        try:
            content = _read(file, config_hash)
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


def _read(path: Path, config_hash: str) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise RunError(f"the checkpoint {path} is damaged: wrong checksum of {damaged}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except RunError:
        raise
    except Exception as error:  # zipfile's, pickle's and torch's errors share no base
        raise RunError(f"the checkpoint {path} is damaged: {first_line(error)}") from error
    if not isinstance(content, dict) or content.get("config_hash") != config_hash:
        raise RunError(f"the checkpoint {path} is of another configuration")
    return content
