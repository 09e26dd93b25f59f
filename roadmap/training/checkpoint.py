"""Checkpoints that are never half-written: a file beside, flushed to disk, renamed over."""

import os
from pathlib import Path
from typing import Any

import torch

from roadmap.errors import RunError


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Replaces the checkpoint at `path` in one step. `content` holds tensors, numbers, words and containers."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The content of the checkpoint, on the CPU; None where there is none.

    Raises:
        RunError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile's, pickle's and torch's errors share no base
        raise RunError(f"the checkpoint {path} is damaged: {error}. Remove it to train from the start") from error
