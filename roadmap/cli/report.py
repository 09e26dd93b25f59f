"""Write one HTML file with the results of an experiment.

The file needs no network and no server. A running sweep can be reported, with missing results shown as missing.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from roadmap.analysis.factorial import add_factorial_arguments
from roadmap.analysis.read_runs import (
    FIGURE_FOLDER,
    add_experiment_arguments,
    choose_experiment,
    make_figure_folder,
)
from roadmap.analysis.report.report import write_report
from roadmap.cli.arguments import add_best
from roadmap.cli.exit_status import report_errors


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write one HTML file with the results of an experiment.")
    add_experiment_arguments(parser)
    parser.add_argument("--to", type=Path, help="the file to write; default: EXPERIMENT/figures/report.html")
    add_best(parser)
    add_factorial_arguments(parser)
    arguments = parser.parse_args(words)
    experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
    name = f"report{'-best' if arguments.best else ''}.html"
    path = arguments.to or experiment_dir / FIGURE_FOLDER / name
    if arguments.to:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif experiment_dir.is_dir():
        make_figure_folder(experiment_dir)
    write_report(experiment_dir, path, arguments.best, arguments.axes, arguments.step)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0
