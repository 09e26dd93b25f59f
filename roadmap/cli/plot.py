"""Draw an experiment's roadmap and print its table.

    convnet-roadmap plot [EXPERIMENT] [--output-dir outputs] [--best]

Writes into EXPERIMENT/figures/. An error prints one message and exits with status 1.
"""

import argparse
import logging

from roadmap.analysis.read_runs import add_experiment_arguments, choose_experiment
from roadmap.analysis.table import next_commands, terminal_table
from roadmap.analysis.tables_and_figures import draw_curve
from roadmap.analysis.terminal import closing_lines
from roadmap.cli.exit_status import report_errors
from roadmap.cli.printing import open_console, print_lines, print_table


@report_errors()
def main() -> int:
    arguments = read_arguments()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    console = open_console()
    experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
    curve = draw_curve(experiment_dir, arguments.best)
    table, lines = terminal_table(curve.rows, console.width, arguments.best)
    print_table(console, table)
    print_lines(console, [*lines, *closing_lines(curve.paths, next_commands(curve.rows, experiment_dir))])
    return 0


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw an experiment's roadmap and print its table.")
    add_experiment_arguments(parser)
    parser.add_argument(
        "--best",
        action="store_true",
        help="draw and print the accuracy of the best epoch, picked on the validation set, not of the last",
    )
    return parser.parse_args()
