"""Says what each choice of the roadmap is worth, or prints the commands of the runs that would tell.

    python scripts/attribute.py [EXPERIMENT] [--best]
    python scripts/attribute.py EXPERIMENT --plan leave-one-out | bash
    python scripts/attribute.py EXPERIMENT --plan add-one-in --seeds 0,1,2 | bash
    python scripts/attribute.py EXPERIMENT --plan shapley --pairs 4 | bash

A plan takes its setting from a finished run of the experiment, leaves out the networks that have a result for every
seed, and says what it costs on the standard error before the first of its commands. An error is one message and
exit status 1.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import yaml
from hydra.errors import HydraException
from rich.console import Console
from rich.table import Table

from roadmap.analysis.attribution import (
    Average,
    Effect,
    add_one_in,
    average_effects,
    find_effects,
    find_interactions,
    leave_one_out,
    networks_needed,
    results_of,
    sample_orders,
)
from roadmap.analysis.changes import interval_text
from roadmap.analysis.choices import Network, commands_for, network_of
from roadmap.analysis.folders import add_experiment_arguments, choose_experiment, read_finished_runs
from roadmap.analysis.results import aggregate
from roadmap.analysis.run import DONE, Run
from roadmap.analysis.statistics import Difference
from roadmap.config.replay import find_words
from roadmap.errors import RoadmapError, RunError, first_line
from roadmap.runs.folder import CONFIG

PLANS = ("leave-one-out", "add-one-in", "shapley")
MOST_PAIRS = 5  # interactions shown


def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
        runs = read_finished_runs(experiment_dir)
        if arguments.plan:
            print_plan(runs, arguments)
        else:
            print_effects(runs, arguments)
    except (RoadmapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Says what each choice of the roadmap is worth.")
    add_experiment_arguments(parser)
    parser.add_argument("--best", action="store_true", help="of the best epoch, picked on the validation set")
    parser.add_argument("--plan", choices=PLANS, help="print the commands that train what is missing")
    parser.add_argument("--seeds", type=read_seeds, help="of the plan; default: those of the experiment")
    parser.add_argument("--pairs", type=int, default=4, help="orders, each with its reverse; default: 4")
    parser.add_argument("--order-seed", type=int, default=0, help="of the sampled orders; default: 0")
    return parser.parse_args(words)


def read_seeds(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def print_plan(runs: Sequence[Run], arguments: argparse.Namespace) -> None:
    done = [run for run in runs if run.state == DONE]
    seeds = arguments.seeds or sorted({run.seed for run in done})
    results = results_of(aggregate(runs))
    wanted = find_wanted(arguments)
    missing = [network for network in wanted if not set(seeds) <= results.get(network, {}).keys()]
    count = len(missing) * len(seeds)
    durations = [run.seconds for run in done if run.seconds is not None]
    cost = f", about {duration_text(count * fmean(durations))} one after the other" if durations else ""
    print(
        f"{arguments.plan}: {len(wanted)} distinct networks, {len(wanted) - len(missing)} have a result; "
        f"{count} runs to train ({len(missing)} networks, seeds {', '.join(map(str, seeds))}){cost}",
        file=sys.stderr,
    )
    output_dir = runs[0].path.parents[2]
    place = [] if output_dir == Path("outputs") else [f"output_dir={output_dir}"]
    for command in commands_for(missing, seeds, [*find_setting(done), *place]):
        print(command)


def duration_text(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"


def find_wanted(arguments: argparse.Namespace) -> list[Network]:
    if arguments.plan == "leave-one-out":
        return leave_one_out()
    if arguments.plan == "add-one-in":
        return add_one_in()
    return networks_needed(sample_orders(arguments.pairs, arguments.order_seed))


def find_setting(done: Sequence[Run]) -> tuple[str, ...]:
    """The words, but for step and seed, that trained a step of the experiment."""
    problems = []
    for run in done:
        if run.reference is None and run.step_index is not None:
            try:
                values = yaml.safe_load((run.path / CONFIG).read_text(encoding="utf-8"))
                return find_words(values, {}).setting
            except (OSError, KeyError, TypeError, yaml.YAMLError, HydraException) as error:
                problems.append(f"{run.path / CONFIG}: {first_line(error)}")
    raise RunError(
        f"no finished step whose configuration can be read: {'; '.join(problems) or 'none has finished'}"
    )


def print_effects(runs: Sequence[Run], arguments: argparse.Namespace) -> None:
    console = Console(highlight=False, soft_wrap=True)
    rows = aggregate(runs)
    results = results_of(rows, arguments.best)
    effects = find_effects(results)
    if not effects:
        console.print(f"{len(results)} networks have a result, and no two of them differ in one choice.")
        return
    values = {network: fmean(seeds.values()) for network, seeds in results.items()}
    averages = {
        average.axis: average
        for average in average_effects(values, sample_orders(arguments.pairs, arguments.order_seed))
    }
    console.print(draw_table(effects, averages))
    console.print(
        "Points of top-1 with 95% intervals, each by itself (not corrected for their number). On the path: against "
        "the step before. Taken back: from the last step. Added: to step 0."
    )
    if averages:
        orders = next(iter(averages.values())).orders
        console.print(f"Average: over {orders} orders; its interval is of the sampled orders, not of the seeds.")
    for one, other, points, squares in find_interactions(values)[:MOST_PAIRS]:
        console.print(f"{one} and {other} together: {points:+.2f} beyond the sum of each alone (n = {squares})")
    unused = sum(network_of(row) is None for row in rows if row.seeds)
    if unused:
        console.print(f"{unused} rows are no combination of the roadmap's choices and are not used.")


def draw_table(effects: Sequence[Effect], averages: dict[str, Average]) -> Table:
    table = Table("choice", box=None, padding=(0, 2, 0, 0))
    for heading in ("on the path", "taken back", "added"):
        table.add_column(heading)
    if averages:
        table.add_column("average")
    for effect in effects:
        cells = [show(found) for found in (effect.on_path, effect.taken_back, effect.added)]
        cells += [show(averages.get(effect.axis))] if averages else []
        table.add_row(effect.axis, *cells)
    return table


def show(found: Difference | Average | None) -> str:
    """`+0.59 (+0.41 to +0.77)`."""
    if found is None:
        return ""
    interval = interval_text(found.interval, signed=True)
    return f"{found.mean:+.2f}" + (f" ({interval})" if interval else "")


if __name__ == "__main__":
    sys.exit(main())
