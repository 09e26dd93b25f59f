"""Check an experiment against the published results of its roadmap.

A row that ran on ImageNet, at the paper's size and with all of its settings, claims a reproduction: it passes if
its mean top-1 is within the tolerance. With other data or settings, such as recipe.epochs=100, accuracies are not
comparable, and only the order of the steps is compared.
"""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from rich.table import Table

from roadmap.analysis.configurations import read_yaml_values
from roadmap.analysis.curves import runs_of
from roadmap.analysis.figures.layout import BEST_EPOCH, LAST_EPOCH, setting_text
from roadmap.analysis.read_runs import add_experiment_arguments, choose_experiment, read_finished_runs
from roadmap.analysis.reproduction import (
    TOLERANCE,
    RowCheck,
    agreement_text,
    check_rows,
    claims_reproduction,
    find_agreement,
    is_called_paper,
)
from roadmap.analysis.results import Row, aggregate
from roadmap.analysis.terminal import TerminalColumn, draw_table
from roadmap.cli.arguments import add_best
from roadmap.cli.exit_status import report_errors
from roadmap.cli.printing import open_console, print_table
from roadmap.config import compose, read_config, use
from roadmap.errors import RunError
from roadmap.runs.config_hash import describe_differences, hash_setting, setting_values
from roadmap.runs.read_run import CONFIG, Run, State

FAILED, UNREADABLE = 1, 2  # exit status


@report_errors(status=UNREADABLE)
def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    console = open_console(highlight=False)
    runs = read_finished_runs(choose_experiment(arguments.experiment, arguments.output_dir))
    rows = aggregate(runs)
    claimed = {(row.regime, row.recipe): row for row in rows if is_called_paper(row)}
    papers = {names: compose_paper(row) for names, row in claimed.items()}
    settings = {key: hash_setting(values) for key, values in papers.items()}
    checks = check_rows(rows, settings, arguments.tolerance, arguments.best)
    console.print(f"{rows[0].experiment}: {setting_text(rows)}", markup=False)
    if not rows[0].roadmap.published:
        raise RunError(f"the roadmap {rows[0].roadmap.name} has no published results: they are its published.csv")
    console.print(f"published: {rows[0].roadmap.paper}", markup=False)
    console.print(BEST_EPOCH if arguments.best else LAST_EPOCH)
    for agreement in find_agreement(rows, arguments.best):
        console.print(agreement_text(agreement))
    others = [row for row in rows if row.seeds and is_called_paper(row) and not claims_reproduction(row, settings)]
    for reason, names in explain_others(others, runs, papers).items():
        console.print(f"can't be compared with the paper, {reason}: {', '.join(names)}", markup=False)
    if not checks:
        console.print(
            "No run has the paper's data, size and settings: accuracies can't be compared with the paper's."
        )
        return 0
    print_table(console, *draw_checks(checks, console.width))
    failed = [check for check in checks if not check.passed]
    unfinished = [row.name for row in rows if not row.seeds]
    if unfinished:
        console.print(f"not checked, no finished run: {', '.join(unfinished)}", markup=False)
    console.print(f"{len(checks) - len(failed)} of {len(checks)} rows within {arguments.tolerance:g} points")
    return FAILED if failed else 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Checks an experiment against the published results of its roadmap. On data other than "
        "ImageNet only the order of the steps is compared.",
        epilog="exit status: 0 no claimed reproduction fails, 1 one fails, 2 nothing can be read",
    )
    add_experiment_arguments(parser)
    parser.add_argument(
        "--tolerance", type=read_tolerance, default=TOLERANCE, help=f"points of top-1; default: {TOLERANCE}"
    )
    add_best(parser)
    return parser.parse_args(words)


def read_tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < 100:
        raise argparse.ArgumentTypeError(f"{text}: points of top-1, from 0 to 100")
    return value


def compose_paper(row: Row) -> dict[str, Any]:
    """Return the values of `setting=paper` that a row's names claim; what its steps change is left out."""
    roadmap = row.roadmap
    step = [f"+roadmap={roadmap.override(roadmap.steps[0])}"] if roadmap.setting_axes else []
    words = ["setting=paper", *step, f"regime={row.regime}", f"recipe={row.recipe}"]
    with use(roadmap.search_path):
        values = asdict(read_config(compose(*words)))
    values["step"]["varies"] = roadmap.setting_axes
    return values


def explain_others(
    rows: Sequence[Row], runs: Sequence[Run], papers: Mapping[tuple[str, str], Mapping[str, Any]]
) -> dict[str, list[str]]:
    """Return why rows with the paper's names are not reproductions of it, and the rows' names."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        reason = "other settings" if row.setting_hashes else "its runs don't tell their settings"
        paper = papers[row.regime, row.recipe]
        for run in runs_of(row, [run for run in runs if run.state is State.done]):
            with suppress(RunError, OSError):  # published, or damaged
                own = read_yaml_values(run.path / CONFIG)
                if differences := describe_differences(paper, own, setting_values):
                    reason = f"other settings ({'; '.join(differences)})"
                    break
        reasons.setdefault(reason, []).append(row.name)
    return reasons


def draw_checks(checks: Sequence[RowCheck], width: int) -> tuple[Table, list[str]]:
    """Return the table for `rich.print`, and a line that names the columns left out, if any."""
    columns = [
        TerminalColumn("step", [one.row.name for one in checks], is_number=False),
        TerminalColumn("n", [str(len(one.row.seeds)) for one in checks], 3),
        TerminalColumn("top-1", [f"{one.top1:.2f}" for one in checks], 1),
        TerminalColumn("paper", [f"{one.paper_top1:.2f}" for one in checks], 2),
        TerminalColumn("difference", [f"{one.top1 - one.paper_top1:+z.2f}" for one in checks]),
        TerminalColumn("", ["pass" if one.passed else "FAIL" for one in checks], is_number=False),
    ]
    return draw_table(columns, width, ["green" if one.passed else "bold red" for one in checks])
