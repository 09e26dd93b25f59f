"""Progress of an experiment's runs, from their files."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roadmap.errors import RunError
from roadmap.runs.metrics import read_metrics
from roadmap.runs.naming import seed_folders
from roadmap.runs.read_run import Run, State, read_run


@dataclass(frozen=True)
class RunStatus:
    run: Run
    epoch: int = 0  # finished epochs
    top1: float | None = None  # percent, after the last finished epoch
    epoch_seconds: float | None = None  # mean so far
    images_per_s: float | None = None  # of training, in the last finished epoch

    @property
    def state(self) -> State:
        return self.run.state

    @property
    def epochs_left(self) -> int:
        return max((self.run.epochs or 0) - self.epoch, 0)

    @property
    def seconds_left(self) -> float | None:
        """Remaining time of a started run, at its mean time per epoch."""
        if self.state in (State.done, State.damaged) or self.epoch_seconds is None:
            return None
        return self.epochs_left * self.epoch_seconds

    @property
    def remark(self) -> str:
        """Its error, or its missing files."""
        if self.run.error:
            return self.run.error.partition("\n")[0]
        return f"without {', '.join(self.run.missing)}" if self.run.missing else ""


def read_statuses(experiment: Path) -> list[RunStatus]:
    """Return every run of an experiment, in the order of the roadmap.

    Raises:
        RunError: there is no such experiment.
    """
    runs = [run for folder in seed_folders(experiment) if (run := read_run(folder))]
    if not runs:
        raise RunError(f"{experiment}: there are no runs")
    runs.sort(key=lambda run: (run.step_index is None, run.step_index, run.name, run.seed))
    return [read_status(run) for run in runs]


def read_status(run: Run) -> RunStatus:
    metrics = read_metrics(run.path)
    seconds = [line["seconds"] for line in metrics if "seconds" in line]
    return RunStatus(
        run,
        epoch=len(metrics),
        top1=metrics[-1].get("top1") if metrics else run.top1,
        epoch_seconds=statistics.fmean(seconds) if seconds else None,
        images_per_s=metrics[-1].get("images_per_s") if metrics else run.images_per_s,
    )


def estimate_seconds_left(statuses: Sequence[RunStatus]) -> float | None:
    """Estimate the seconds until no run is running or pending, at the current concurrency; None if unknown.

    A run without a finished epoch is assumed to be as fast as the others of its network, or else as all runs.
    """
    unfinished = [status for status in statuses if status.state in (State.running, State.pending)]
    at_once = sum(status.state == State.running for status in unfinished)
    paces: dict[str, list[float]] = {}
    for status in statuses:
        if status.epoch_seconds is not None:
            paces.setdefault(status.run.name, []).append(status.epoch_seconds)
    if not at_once or not paces:
        return None
    means = {name: statistics.fmean(pace) for name, pace in paces.items()}
    usual = statistics.fmean(means.values())
    seconds = [
        status.epochs_left * (status.epoch_seconds or means.get(status.run.name, usual)) for status in unfinished
    ]
    return max(sum(seconds) / at_once, *seconds)


def format_duration(seconds: float) -> str:
    """Format as 45 s, 12 min or 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
