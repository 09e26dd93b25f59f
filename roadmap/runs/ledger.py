"""States of an experiment's runs, from their own files."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from roadmap.errors import DamagedError, RunError
from roadmap.naming import seed_folders
from roadmap.runs.folder import METRICS, read_metrics
from roadmap.runs.process import is_alive
from roadmap.runs.record import STATE, Record, State, read_record

GONE = "gone"  # its process died silently; the same command resumes it
UNREADABLE = "unreadable"
COLORS = {"done": "green", "running": "cyan", "failed": "red", "interrupted": "yellow", GONE: "yellow"}


@dataclass(frozen=True)
class Entry:
    """State and progress of one run."""

    name: str  # the step with its variant
    step_index: int | None
    seed: int
    state: str  # as written by the run, or `gone` or `unreadable`
    epoch: int = 0  # finished epochs
    epochs: int = 0  # epochs of the whole run
    top1: float | None = None  # percent, after the last finished epoch
    epoch_seconds: float | None = None  # mean so far
    where: str = ""  # host and process of a run that is running
    error: str | None = None

    @property
    def seconds_left(self) -> float | None:
        """Remaining time of a started run, at its mean time per epoch."""
        if self.state == State.done or self.epoch_seconds is None:
            return None
        return (self.epochs - self.epoch) * self.epoch_seconds


def read_ledger(experiment: Path) -> list[Entry]:
    """Return every run of an experiment, in the order of the roadmap.

    Raises:
        RunError: there is no such experiment.
    """
    folders = (folder for folder in seed_folders(experiment) if os.path.lexists(folder / STATE))
    entries = [_read_entry(folder) for folder in folders]
    if not entries:
        raise RunError(f"{experiment}: no run is there")
    return sorted(entries, key=lambda e: (e.step_index is None, e.step_index, e.name, e.seed))


def _read_entry(folder: Path) -> Entry:
    name, seed = folder.parent.name, folder.name.removeprefix("seed")
    try:
        record = read_record(folder)
        if record is None:
            raise DamagedError(f"{folder / STATE} is gone")
        metrics = read_metrics(folder)
        seconds = [line["seconds"] for line in metrics]
        return Entry(
            name=name,
            step_index=record.identity.step_index,
            seed=record.identity.seed,
            state=_judge(record),
            epoch=len(metrics),
            epochs=record.epochs or 0,
            top1=float(metrics[-1]["top1"]) if metrics else None,
            epoch_seconds=statistics.fmean(seconds) if metrics else None,
            where=f"{record.host} {record.pid}" if record.state is State.running else "",
            error=record.error,
        )
    except (RunError, KeyError, TypeError, ValueError) as error:
        text = str(error) if isinstance(error, RunError) else f"{METRICS} is damaged ({error!r})"
        return Entry(name, None, int(seed), UNREADABLE, error=text)


def _judge(record: Record) -> str:
    """The state; `gone` if it says running and the process is not there any more."""
    if record.state is not State.running or record.host is None or record.pid is None:
        return str(record.state)
    return GONE if is_alive(record.host, record.pid, record.process_start) is False else str(record.state)


def estimate_rest(entries: Sequence[Entry]) -> float | None:
    """Estimate the seconds until no run is running or pending, at the current concurrency; None if unknown.

    A run without a finished epoch is assumed to be as fast as the others of its network, or else as all runs.
    """
    rest = [entry for entry in entries if entry.state in (State.running, State.pending)]
    at_once = sum(entry.state == State.running for entry in rest)
    paces: dict[str, list[float]] = {}
    for entry in entries:
        if entry.epoch_seconds is not None:
            paces.setdefault(entry.name, []).append(entry.epoch_seconds)
    if not at_once or not paces:
        return None
    means = {name: statistics.fmean(pace) for name, pace in paces.items()}
    usual = statistics.fmean(means.values())
    seconds = [
        (entry.epochs - entry.epoch) * (entry.epoch_seconds or means.get(entry.name, usual)) for entry in rest
    ]
    return max(sum(seconds) / at_once, *seconds)


def ledger_table(entries: Sequence[Entry], title: str) -> Table:
    """Return a table with a row per run, and below it the count of each state and the remaining time."""
    counts = {state: sum(entry.state == state for entry in entries) for state in (*State, GONE, UNREADABLE)}
    caption = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    rest = estimate_rest(entries)
    if rest is not None:
        caption += f"; about {format_duration(rest)} left with {counts[State.running]} at once"
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
            str(entry.seed),
            Text(entry.state, style=COLORS.get(entry.state, "")),
            f"{entry.epoch}/{entry.epochs}",
            "" if entry.top1 is None else f"{entry.top1:.2f}",
            "" if entry.seconds_left is None else format_duration(entry.seconds_left),
            Text((entry.error or entry.where).partition("\n")[0]),
        )
    return table


def format_duration(seconds: float) -> str:
    """Format as 45 s, 12 min or 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
