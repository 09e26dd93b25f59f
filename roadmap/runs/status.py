"""States of an experiment's runs, from their own files."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from roadmap.errors import DamagedError, RunError
from roadmap.runs.naming import seed_folders
from roadmap.runs.process import is_alive
from roadmap.runs.record import STATE, Record, State, read_record
from roadmap.runs.run_dir import METRICS, read_metrics

GONE = "gone"  # its process died silently; the same command resumes it
UNREADABLE = "unreadable"
COLORS = {"done": "green", "running": "cyan", "failed": "red", "interrupted": "yellow", GONE: "yellow"}


@dataclass(frozen=True)
class RunStatus:
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


def read_statuses(experiment: Path) -> list[RunStatus]:
    """Return every run of an experiment, in the order of the roadmap.

    Raises:
        RunError: there is no such experiment.
    """
    folders = (folder for folder in seed_folders(experiment) if os.path.lexists(folder / STATE))
    statuses = [_read_status(folder) for folder in folders]
    if not statuses:
        raise RunError(f"{experiment}: no run is there")
    return sorted(statuses, key=lambda e: (e.step_index is None, e.step_index, e.name, e.seed))


def _read_status(folder: Path) -> RunStatus:
    name, seed = folder.parent.name, folder.name.removeprefix("seed")
    try:
        record = read_record(folder)
        if record is None:
            raise DamagedError(f"{folder / STATE} is gone")
        metrics = read_metrics(folder)
        seconds = [line["seconds"] for line in metrics]
        return RunStatus(
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
        return RunStatus(name, None, int(seed), UNREADABLE, error=text)


def _judge(record: Record) -> str:
    """The state; `gone` if it says running and the process is not there any more."""
    if record.state is not State.running or record.host is None or record.pid is None:
        return str(record.state)
    return GONE if is_alive(record.host, record.pid, record.process_start) is False else str(record.state)


def estimate_rest(statuses: Sequence[RunStatus]) -> float | None:
    """Estimate the seconds until no run is running or pending, at the current concurrency; None if unknown.

    A run without a finished epoch is assumed to be as fast as the others of its network, or else as all runs.
    """
    rest = [status for status in statuses if status.state in (State.running, State.pending)]
    at_once = sum(status.state == State.running for status in rest)
    paces: dict[str, list[float]] = {}
    for status in statuses:
        if status.epoch_seconds is not None:
            paces.setdefault(status.name, []).append(status.epoch_seconds)
    if not at_once or not paces:
        return None
    means = {name: statistics.fmean(pace) for name, pace in paces.items()}
    usual = statistics.fmean(means.values())
    seconds = [
        (status.epochs - status.epoch) * (status.epoch_seconds or means.get(status.name, usual)) for status in rest
    ]
    return max(sum(seconds) / at_once, *seconds)


def status_table(statuses: Sequence[RunStatus], title: str) -> Table:
    """Return a table with a row per run, and below it the count of each state and the remaining time."""
    counts = {state: sum(status.state == state for status in statuses) for state in (*State, GONE, UNREADABLE)}
    caption = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    rest = estimate_rest(statuses)
    if rest is not None:
        caption += f"; about {format_duration(rest)} left with {counts[State.running]} at once"
    table = Table(
        title=title,
        caption=f"{len(statuses)} run{'s' if len(statuses) > 1 else ''}: {caption}",
        caption_justify="left",
    )
    for heading in ("step", "seed", "state", "epoch", "top-1", "time left", "where or error"):
        table.add_column(heading, justify="right" if heading in ("seed", "epoch", "top-1", "time left") else "left")
    for status in statuses:
        table.add_row(
            Text(status.name),
            str(status.seed),
            Text(status.state, style=COLORS.get(status.state, "")),
            f"{status.epoch}/{status.epochs}",
            "" if status.top1 is None else f"{status.top1:.2f}",
            "" if status.seconds_left is None else format_duration(status.seconds_left),
            Text((status.error or status.where).partition("\n")[0]),
        )
    return table


def format_duration(seconds: float) -> str:
    """Format as 45 s, 12 min or 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
