"""Table of runs and their progress, for `scripts/status.py` and for a sweep that runs side by side."""

from collections.abc import Callable, Sequence

from rich.console import Group
from rich.text import Text

from roadmap.analysis.terminal import TerminalColumn, draw_table
from roadmap.runs.experiment_status import RunStatus, estimate_seconds_left, format_duration
from roadmap.runs.read_run import State, count_states

STYLES = {
    State.running: "cyan",
    State.failed: "red",
    State.damaged: "red",
    State.interrupted: "yellow",
    State.pending: "dim",
}
SHOWN_FIRST = (State.running, State.failed, State.damaged, State.interrupted, State.pending, State.done)
MOST_NAMES = 3  # of runs in a line about one problem
LINES_AROUND = 5  # of a table in a terminal: heading, rule, caption, and the lines about columns and rows left out


def draw_statuses(statuses: Sequence[RunStatus], width: int, height: int | None = None, note: str = "") -> Group:
    """Return a table with a row per run, and below it each problem, the count of each state and the time left.

    Args:
        width: in columns; columns that do not fit are left out by priority.
        height: in lines; the rows that do not fit are left out, running and failed runs last. None: all are kept.
        note: replaces the time left.
    """
    problems = describe_problems(statuses)
    shown = list(statuses)
    if height is not None:
        problems = problems[: max(height // 4, 1)]
        shown = choose_rows(statuses, max(height - LINES_AROUND - len(problems), 1))
    table, lines = draw_table(make_columns(shown), width, [STYLES.get(status.state, "") for status in shown])
    if len(shown) < len(statuses):
        lines.append(
            f"Not shown in {height} lines: {count_states(one.state for one in statuses if one not in shown)}."
        )
    lines += [*problems, describe_counts(statuses, note)]
    keeps = height is not None  # a longer line would break a live table
    return Group(table, *(Text(line, no_wrap=keeps, overflow="ellipsis" if keeps else "fold") for line in lines))


def make_columns(statuses: Sequence[RunStatus]) -> list[TerminalColumn]:
    """Return the table's columns; without that of the process if none runs."""
    found = [
        TerminalColumn("run", [status.run.name for status in statuses], is_number=False),
        TerminalColumn("seed", [str(status.run.seed) for status in statuses]),
        TerminalColumn("state", [status.state for status in statuses], 3, is_number=False),
        TerminalColumn("epoch", [f"{status.epoch}/{status.run.epochs or 0}" for status in statuses]),
        TerminalColumn("top-1", [_format(status.top1, "{:.2f}".format) for status in statuses]),
        TerminalColumn("images/s", [_format(status.images_per_s, "{:,.0f}".format) for status in statuses], 2),
        TerminalColumn("time left", [_format(status.seconds_left, format_duration) for status in statuses], 1),
    ]
    if any(status.state is State.running for status in statuses):
        places = [
            f"{status.run.host} {status.run.pid}" if status.state is State.running else "" for status in statuses
        ]
        found.append(TerminalColumn("process", places, 4, is_number=False))
    return found


def choose_rows(statuses: Sequence[RunStatus], most: int) -> list[RunStatus]:
    """Return the `most` runs to show, in their order: those that run or failed first, those that are done last."""
    ranked = sorted(range(len(statuses)), key=lambda place: SHOWN_FIRST.index(statuses[place].state))
    return [statuses[place] for place in sorted(ranked[:most])]


def describe_problems(statuses: Sequence[RunStatus]) -> list[str]:
    """Return a line per reason why runs failed, were interrupted or lack a file, with the runs' names."""
    concerned: dict[tuple[str, str], list[str]] = {}
    for status in statuses:
        if status.remark:
            concerned.setdefault((status.state, status.remark), []).append(
                f"{status.run.name} seed {status.run.seed}"
            )
    lines = []
    for (state, remark), names in concerned.items():
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        lines.append(f"{state}: {', '.join(names[:MOST_NAMES])}{more}: {remark}")
    return lines


def describe_counts(statuses: Sequence[RunStatus], note: str = "") -> str:
    """Return how many runs are in each state, and the time left of all."""
    running = sum(status.state is State.running for status in statuses)
    rest = estimate_seconds_left(statuses)
    if rest is not None and not note:
        note = f"about {format_duration(rest)} left with {running} at once"
    runs = f"{len(statuses)} run{'' if len(statuses) == 1 else 's'}"
    return f"{runs}: {count_states(one.state for one in statuses)}{f'; {note}' if note else ''}"


def _format(value: float | None, form: Callable[[float], str]) -> str:
    return "" if value is None else form(value)
