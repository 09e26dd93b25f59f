"""Report the effect of each choice of the roadmap, from the runs of an experiment.

The runs are those of `train -m +sweep=roadmap`, leave_one_out, add_one_in, shapley or groups; with --axes those of
+sweep=factorial.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from roadmap.analysis.ablation_table import MOST_PAIRS, Ablation, find_ablation, group_table, show, terminal_effects
from roadmap.analysis.factorial import (
    Grid,
    MainEffect,
    add_factorial_arguments,
    find_axis_interactions,
    find_main_effects,
    read_grid,
)
from roadmap.analysis.read_runs import add_experiment_arguments, choose_experiment, read_finished_runs
from roadmap.analysis.results import aggregate
from roadmap.analysis.significance import interval_text
from roadmap.analysis.stats import COVERAGE
from roadmap.analysis.terminal import TerminalColumn, closing_lines, draw_table
from roadmap.cli.arguments import add_best
from roadmap.cli.exit_status import report_errors
from roadmap.cli.printing import open_console, print_lines, print_table
from roadmap.system.commands import printed
from roadmap.system.console import Console


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Print the effect of each choice of the roadmap.")
    add_experiment_arguments(parser)
    add_best(parser)
    parser.add_argument(
        "--order-seed",
        type=int,
        help="of +sweep=shapley; default: 0, or else the first below 1,000 whose orders have finished",
    )
    add_factorial_arguments(parser)
    arguments = parser.parse_args(words)
    console = open_console(highlight=False)
    experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
    rows = aggregate(read_finished_runs(experiment_dir))
    if arguments.axes:
        print_factorial(console, read_grid(rows, arguments.axes, arguments.step, arguments.best))
    else:
        print_effects(console, find_ablation(rows, arguments.best, arguments.order_seed), experiment_dir)
    return 0


def print_effects(console: Console, ablation: Ablation, experiment_dir: Path) -> None:
    if not ablation.effects and not group_table(ablation)[1]:
        console.print(f"{len(ablation.results)} networks have a result, and no two of them differ in one choice.")
        return
    tables, lines = terminal_effects(ablation, console.width)
    for table in tables:
        print_table(console, table)
    print_lines(console, [*lines, *closing_lines([], [printed("report", str(experiment_dir))])])


def print_factorial(console: Console, grid: Grid) -> None:
    interactions = find_axis_interactions(grid)
    lines = [
        f"Effect: top-1 with the choice minus top-1 with the baseline, the first step's, in points, on {grid.step}:"
        f" the mean over all n pairs of runs that differ in it alone, with its {COVERAGE} interval. "
        f"Seeds: {len(grid.seeds)}."
    ]
    if any(pair.largest_of > 1 for pair in interactions):
        lines.append(
            "An interaction is the largest of its two axes; its interval is corrected for this (Bonferroni)."
        )
    for pair in interactions[:MOST_PAIRS]:
        one, other = pair.choices
        largest = f", the largest of {pair.largest_of}" if pair.largest_of > 1 else ""
        lines.append(f"Interaction of {one} and {other}: {show(pair.effect)} (n = {pair.effect.n[0]}{largest})")
    print_table(console, *draw_levels(find_main_effects(grid), console.width))
    print_lines(console, lines)


def draw_levels(effects: Sequence[MainEffect], width: int) -> tuple[Table, list[str]]:
    """Return the table for `rich.print`, and a line that names the columns left out, if any."""
    found = [one.effect for one in effects]
    intervals = [interval_text(one.interval, True) if one else "" for one in found]
    columns = [
        TerminalColumn("axis", [one.axis for one in effects], is_number=False),
        TerminalColumn("choice", [one.level for one in effects], is_number=False),
        TerminalColumn("top-1", [f"{one.top1:.2f}" for one in effects], 1),
        TerminalColumn("n", ["" if one is None else str(one.n[0]) for one in found], 3),
        TerminalColumn("effect", ["baseline" if one is None else f"{one.mean:+z.2f}" for one in found]),
        TerminalColumn(f"{COVERAGE} interval", intervals, 2),
    ]
    return draw_table(columns, width)
