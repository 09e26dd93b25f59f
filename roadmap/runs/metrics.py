"""Metrics of a run's epochs: metrics.jsonl, one line per epoch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadmap.errors import DamagedError
from roadmap.runs.read_files import MAX_LINES_BYTES, is_finite, parse_json, read_text
from roadmap.runs.read_run import METRICS


def read_metrics(folder: Path, warn: Callable[[str], object] = lambda text: None) -> list[dict[str, Any]]:
    """Return the finite metrics of a run's epochs, in order, each with its number from 1 as `epoch`.

    Args:
        warn: receives a message for what cannot be read, except a truncated last line.
    """
    path = folder / METRICS
    try:
        text = read_text(path, MAX_LINES_BYTES, errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except DamagedError as error:
        warn(str(error))
        return []
    lines = text.splitlines()
    found: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            metrics = _read_line(line)
        except ValueError as error:
            if number < len(lines) or text.endswith("\n"):
                warn(f"{path}: line {number} cannot be read and is left out ({error})")
            continue
        found[metrics["epoch"]] = metrics
    return [found[epoch] for epoch in sorted(found)]


def _read_line(line: str) -> dict[str, Any]:
    values = parse_json(line)
    epoch = values.get("epoch")
    if not isinstance(epoch, int) or not is_finite(epoch) or epoch < 1:
        raise ValueError("it has no epoch number")
    return {key: value for key, value in values.items() if is_finite(value)}
