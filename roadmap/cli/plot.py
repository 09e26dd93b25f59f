"""Draw an experiment's roadmap, into EXPERIMENT/figures/, and print its table."""

import argparse
from collections.abc import Sequence

from roadmap.analysis.read_runs import add_experiment_arguments, choose_experiment
from roadmap.analysis.table import next_commands, terminal_table
from roadmap.analysis.tables_and_figures import draw_experiment
from roadmap.analysis.terminal import closing_lines
from roadmap.cli.arguments import add_best
from roadmap.cli.exit_status import report_errors
from roadmap.cli.printing import open_console, print_lines, print_table


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw an experiment's roadmap and print its table.")
    add_experiment_arguments(parser)
    add_best(parser)
    arguments = parser.parse_args(words)
    console = open_console()
    experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
    rows, paths = draw_experiment(experiment_dir, arguments.best)
    print_table(console, *terminal_table(rows, console.width, arguments.best))
    print_lines(console, closing_lines(paths, next_commands(rows, experiment_dir)))
    return 0
