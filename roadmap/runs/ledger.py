"""How the runs of an experiment stand, from their own files."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from roadmap.errors import RunError
from roadmap.runs.files import read_json
from roadmap.runs.folder import STATE, State, is_alive, read_metrics

GONE = "gone"  # its process ended without a word; the same command goes on with it
UNREADABLE = "unreadable"
COLORS = {"done": "green", "running": "cyan", "failed": "red", "interrupted": "yellow", GONE: "yellow"}


@dataclass(frozen=True)
class Entry:
    """One run."""

    name: str  # the step with its variant
    step_index: int | None
    seed: int | None
    state: str  # as the run wrote it, or `gone` or `unreadable`
    epoch: int = 0  # epochs behind it
    epochs: int = 0  # of the whole run
    top1: float | None = None  # percent, after the last finished epoch
    seconds_left: float | None = None  # of a run that has begun, at the pace of its epochs so far
    where: str = ""  # host and process of a run that is running
    error: str | None = None


def read_ledger(experiment: Path) -> list[Entry]:
    """Every run of an experiment, in the order of the roadmap.

    Raises:
        RunError: there is no such experiment.
    """
    entries = [_read_entry(path) for path in experiment.glob(f"*/seed*/{STATE}")]
    if not entries:
        raise RunError(f"{experiment}: no run is there")
    return sorted(entries, key=lambda e: (e.step_index is None, e.step_index, e.name, e.seed))


def _read_entry(path: Path) -> Entry:
    name, folder = path.parts[-3:-1]
    try:
        state = read_json(path)
        identity = state["identity"]
        metrics = read_metrics(path.parent)
        return Entry(
            name=name,
            step_index=identity["step_index"],
            seed=identity["seed"],
            state=_judge(state),
            epoch=len(metrics),
            epochs=state["epochs"],
            top1=metrics[-1]["top1"] if metrics else None,
            seconds_left=_estimate(state, metrics),
            where=f"{state['host']} {state['pid']}" if state["state"] == State.running else "",
            error=state["error"],
        )
    except (RunError, KeyError) as error:
        seed = folder.removeprefix("seed")
        return Entry(name, None, int(seed) if seed.isdecimal() else None, UNREADABLE, error=str(error))


def _judge(state: dict[str, Any]) -> str:
    """The state; `gone` where it says running and the process is not there any more."""
    return GONE if state["state"] == State.running and is_alive(state) is False else str(state["state"])


def _estimate(state: dict[str, Any], metrics: Sequence[dict[str, Any]]) -> float | None:
    if state["state"] == State.done or not metrics:
        return None
    return (state["epochs"] - len(metrics)) * statistics.fmean(line["seconds"] for line in metrics)


def ledger_table(entries: Sequence[Entry], title: str) -> Table:
    """A row a run, and the count of each state below."""
    counts = {state: sum(entry.state == state for entry in entries) for state in (*State, GONE, UNREADABLE)}
    caption = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    table = Table(
        title=title,
        caption=f"{len(entries)} run{'s' if len(entries) > 1 else ''}: {caption}",
        caption_justify="left",
    )
    for heading in ("step", "seed", "state", "epoch", "top-1", "time left", "where or error"):
        table.add_column(heading, justify="right" if heading in ("seed", "epoch", "top-1", "time left") else "left")
    for entry in entries:
        table.add_row(
            Text(entry.name),
            "" if entry.seed is None else str(entry.seed),
            Text(entry.state, style=COLORS.get(entry.state, "")),
            f"{entry.epoch}/{entry.epochs}",
            "" if entry.top1 is None else f"{entry.top1:.2f}",
            "" if entry.seconds_left is None else format_duration(entry.seconds_left),
            Text((entry.error or entry.where).partition("\n")[0]),
        )
    return table


def format_duration(seconds: float) -> str:
    """Such as 45 s, 12 min or 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
