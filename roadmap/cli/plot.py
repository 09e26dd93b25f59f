"""Print the table of an experiment's roadmap, and draw it, into EXPERIMENT/figures/."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from roadmap.analysis.read_runs import (
    add_experiment_arguments,
    choose_experiment,
    make_figure_folder,
    read_finished_runs,
)
from roadmap.analysis.results import aggregate
from roadmap.analysis.table import next_commands, terminal_table
from roadmap.analysis.tables_and_figures import draw_rows
from roadmap.analysis.terminal import closing_lines
from roadmap.cli.arguments import add_best
from roadmap.cli.exit_status import report_errors
from roadmap.cli.printing import open_console, print_lines, print_table


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Print the table of an experiment's roadmap, and draw it.")
    add_experiment_arguments(parser)
    parser.add_argument("--to", type=Path, help="the folder to write into; default: EXPERIMENT/figures")
    add_best(parser)
    arguments = parser.parse_args(words)
    console = open_console()
    experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
    rows = aggregate(read_finished_runs(experiment_dir))
    print_table(console, *terminal_table(rows, console.width, arguments.best))
    if arguments.to is None:
        folder = make_figure_folder(experiment_dir)
    else:
        (folder := arguments.to).mkdir(parents=True, exist_ok=True)
    paths = draw_rows(rows, folder, arguments.best)
    print_lines(console, closing_lines(paths, next_commands(rows, experiment_dir)))
    return 0
