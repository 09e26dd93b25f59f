"""Print the status of an experiment's runs: state, epoch, top-1, time left, last error.

    python scripts/status.py [EXPERIMENT] [--watch [SECONDS]] [--output-dir outputs]

The exit status is 0 if every run is done, 1 if any is not, 2 if there is no experiment.
"""

import argparse
import sys
import time
from pathlib import Path

from rich.live import Live

from roadmap.analysis.folders import add_experiment_arguments, choose_experiment
from roadmap.console import Console
from roadmap.errors import RoadmapError
from roadmap.runs.ledger import Entry, ledger_table, read_ledger
from roadmap.runs.record import State
from roadmap.script import print_table, run_script

PIPE_WIDTH = 160  # columns if the output is no terminal


def main() -> int:
    arguments = read_arguments()
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    try:
        experiment = choose_experiment(arguments.experiment, arguments.output_dir)
        entries = read_ledger(experiment)
        if arguments.watch is None:
            print_table(console, ledger_table(entries, str(experiment)))
        else:
            entries = watch(experiment, arguments.watch, console)
    except RoadmapError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if all(entry.state == State.done for entry in entries) else 1


def watch(experiment: Path, seconds: float, console: Console) -> list[Entry]:
    """Refresh the table until no run is running or pending, or until Ctrl-C."""
    entries = read_ledger(experiment)
    with Live(ledger_table(entries, str(experiment)), console=console, auto_refresh=False) as live:
        try:
            while any(entry.state in (State.running, State.pending) for entry in entries):
                time.sleep(seconds)
                entries = read_ledger(experiment)
                live.update(ledger_table(entries, str(experiment)), refresh=True)
        except KeyboardInterrupt:
            pass
    return entries


def seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text} is no number of seconds; an experiment comes before --watch"
        ) from None


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Shows how the runs of an experiment stand.",
        epilog="Exit status: 0 if every run is done, 1 if any is not, 2 where there is no experiment.",
    )
    add_experiment_arguments(parser)
    parser.add_argument(
        "--watch", type=seconds, nargs="?", const=5.0, metavar="SECONDS", help="refresh every so many seconds (5)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
