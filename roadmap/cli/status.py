"""Print the status of an experiment's runs: state, epoch, top-1, time left, last error.

Without EXPERIMENT it is the one that is running, or else the last changed.
"""

import argparse
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.live import Live

from roadmap.analysis.read_runs import add_experiment_arguments, choose_experiment
from roadmap.cli.exit_status import report_errors
from roadmap.cli.printing import open_console
from roadmap.cli.status_table import draw_statuses
from roadmap.runs.experiment_status import RunStatus, read_statuses
from roadmap.runs.read_run import State
from roadmap.system.console import Console

DAY_S = 24 * 60 * 60


@report_errors(status=2)
def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Shows how the runs of an experiment stand.",
        epilog="Exit status: 0 if every run is done, 1 if any is not, 2 where there is no experiment.",
    )
    add_experiment_arguments(parser)
    parser.add_argument(
        "--watch", type=seconds, nargs="?", const=5.0, metavar="SECONDS", help="refresh every so many seconds (5)"
    )
    arguments = parser.parse_args(words)
    console = open_console()
    experiment = choose_experiment(arguments.experiment, arguments.output_dir, for_status=True)
    statuses = read_statuses(experiment)
    if arguments.watch is None:
        console.print(str(experiment), draw_statuses(statuses, console.width), sep="\n", markup=False)
    else:
        statuses = watch(experiment, arguments.watch, console)
    return 0 if all(status.state == State.done for status in statuses) else 1


def watch(experiment: Path, seconds: float, console: Console) -> list[RunStatus]:
    """Refresh the table until no run is running or pending, or until Ctrl-C."""
    statuses = read_statuses(experiment)
    with Live(console=console, auto_refresh=False) as live, suppress(KeyboardInterrupt):
        while True:
            live.update(draw_statuses(statuses, *console.size), refresh=True)
            if not any(status.state in (State.running, State.pending) for status in statuses):
                break
            time.sleep(seconds)
            statuses = read_statuses(experiment)
    return statuses


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text} is no number of seconds; an experiment comes before --watch"
        ) from None
    if not 0 < number <= DAY_S:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0 and at most {DAY_S} seconds, a day")
    return number
