"""Compare experiments: the settings that differ, and each step's accuracy under them.

To choose a recipe, train one experiment per recipe, all with the same steps and with data.holdout, so that the
validation images stay unseen. With --to, the table is written there (comparison.md, comparison.csv with a row per
run, settings.jsonl). Such a folder may be an EXPERIMENT too, and stands for all of its own, so that a published
comparison can be extended. With --along, a figure of each step against one setting, from the experiments that
differ only in it; with --transfer, a figure of each change in the paper beside those of the experiments
(transfer.*); with --gap, the gap of two networks in each experiment, and how far it differs from that of the first
one, or of another that --against names (gaps.md).
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from roadmap.analysis.comparison import (
    COMPARISON,
    Candidate,
    along,
    find_settings,
    hide_places_of_weights,
    join_candidates,
    make_candidate,
    make_table,
    read_candidates,
    terminal_comparison,
    to_markdown,
    write_candidates,
)
from roadmap.analysis.figures.hyperparameter import draw_setting
from roadmap.analysis.figures.transfer import draw_transfer
from roadmap.analysis.network_gap import find_gaps, gap_notes, gap_table, pool_experiments, terminal_gaps
from roadmap.analysis.publish import key_of
from roadmap.analysis.read_runs import (
    RUN_TABLE,
    check_target,
    choose_experiment,
    name_experiment,
    read_runs,
    warn_of_hidden_runs,
)
from roadmap.analysis.results import aggregate
from roadmap.analysis.stats import PooledStd
from roadmap.analysis.terminal import closing_lines
from roadmap.cli.arguments import positive, positive_number
from roadmap.cli.exit_status import report_errors
from roadmap.cli.printing import open_console, print_lines, print_table
from roadmap.errors import RunError
from roadmap.runs.read_run import State, count_states
from roadmap.system.console import Console

logger = logging.getLogger(__name__)


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    console = open_console(1000)
    folders = [choose_experiment(name, arguments.output_dir) for name in arguments.experiments]
    candidates = read_finished(folders)
    print_table(console, *terminal_comparison(candidates, console.width))
    if arguments.to is not None:
        check_kept(candidates, arguments.to)
    paths = []
    if arguments.to is not None:
        paths += write_comparison(candidates, arguments.to, arguments.along, arguments.transfer)
    if arguments.gap:
        paths += report_gaps(console, candidates, arguments)
    print_lines(console, closing_lines(paths, []))
    if arguments.to is not None:
        warn_of_others(arguments.to, paths)
    return 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare experiments: the settings that differ, and each step's accuracy."
    )
    parser.add_argument(
        "experiments",
        nargs="+",
        metavar="EXPERIMENT",
        help="names under the output folder, or paths, also of a published comparison",
    )
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"), help="default: outputs")
    parser.add_argument("--along", metavar="KEY", help="draw each step against this setting, such as recipe.lr")
    parser.add_argument("--transfer", action="store_true", help="draw each change beside the paper's")
    parser.add_argument(
        "--gap",
        nargs=2,
        action="append",
        metavar=("FIRST", "LAST"),
        help="top-1 of LAST minus that of FIRST; may be repeated",
    )
    parser.add_argument(
        "--against",
        nargs=2,
        action="append",
        default=[],
        metavar=("EXPERIMENT", "BASE"),
        help="compare the gap of EXPERIMENT with that of BASE, not of the first one; may be repeated",
    )
    parser.add_argument(
        "--std",
        type=positive_number,
        help="standard deviation of a run for --gap, in points; default: pooled over all runs",
    )
    parser.add_argument("--dof", type=positive, help="degrees of freedom of --std")
    parser.add_argument("--to", type=Path, help="the folder to write into; needed with --along and --transfer")
    arguments = parser.parse_args(words)
    for option, value in (("--along", arguments.along), ("--transfer", arguments.transfer)):
        if value and not arguments.to:
            parser.error(f"{option} draws a figure; name its folder by --to")
    if arguments.against and not arguments.gap:
        parser.error("--against compares gaps; name their networks by --gap")
    if (arguments.std is None) != (arguments.dof is None):
        parser.error("--std and --dof belong together")
    return arguments


def read_finished(folders: Sequence[Path]) -> list[Candidate]:
    """Return the experiments with a finished run, and those of published comparisons; warn of the others.

    Raises:
        RunError: there is none, or a folder cannot be read.
    """
    candidates = []
    for folder in folders:
        if (table := folder / COMPARISON).exists():
            warn_of_hidden_runs(table)
            candidates += read_candidates(folder)
            continue
        runs = read_runs(folder)
        if any(run.state is State.done for run in runs):
            candidates.append(make_candidate(name_experiment(folder), find_settings(runs), runs))
        else:
            logger.warning("left out: %s has no finished run (%s)", folder, count_states(run.state for run in runs))
    if not candidates:
        raise RunError("none of these experiments has a finished run")
    return join_candidates(candidates)


def check_kept(candidates: Sequence[Candidate], folder: Path) -> None:
    """Raise RunError if a comparison that was written into the folder has runs that are in none of these."""
    if not (folder / COMPARISON).exists():
        return
    here = {(one.name, key_of(run), run.seed) for one in candidates for run in one.runs}
    lost = {
        one.name: None
        for one in read_candidates(folder)
        for run in one.runs
        if (one.name, key_of(run), run.seed) not in here
    }
    if lost:
        raise RunError(
            f"{folder} has runs of {', '.join(lost)} that are not in this comparison and would be lost: name "
            f"{folder} as an experiment too, or another folder by --to"
        )


def warn_of_others(folder: Path, paths: Sequence[Path]) -> None:
    """Warn of tables and figures in the folder that this comparison has not written."""
    kinds = (".md", ".png", ".svg", ".pdf")
    others = [path.name for path in sorted(folder.iterdir()) if path.suffix in kinds and path not in paths]
    if others := [name for name in others if name != "README.md"]:
        logger.warning(
            "%s: %s are of an earlier comparison. The same --gap, --along and --transfer write them again",
            *(folder, ", ".join(others)),
        )


def report_gaps(console: Console, candidates: Sequence[Candidate], arguments: argparse.Namespace) -> list[Path]:
    """Print a table of gaps for each pair of networks, and write them into the folder given by --to."""
    given = arguments.std is not None
    pooled_std = PooledStd(arguments.std, arguments.dof) if given else pool_experiments(candidates)
    names = [one.name for one in candidates]
    for pair in arguments.against:
        if pair[0] == pair[1] or not set(pair) <= set(names):
            raise RunError(f"--against {' '.join(pair)}: must be two of {', '.join(names)}")
    written = []
    for first, last in arguments.gap:
        gaps = find_gaps(candidates, first, last, pooled_std, dict(arguments.against))
        notes = gap_notes(first, last, gaps, pooled_std)
        table, lines = terminal_gaps(gaps, console.width)
        print_table(console, table, [notes, *lines])
        written.append(f"{to_markdown(gap_table(gaps))}\n\n{notes}\n")
    if arguments.to is None:
        return []
    path = arguments.to / "gaps.md"
    path.write_text("\n".join(written), encoding="utf-8")
    return [path]


def write_comparison(
    candidates: Sequence[Candidate], folder: Path, key: str | None = None, transfer: bool = False
) -> list[Path]:
    """Write the table, the figure along a setting and that of each change, and return their paths.

    Raises:
        RunError: the folder has runs or a published experiment, or there is no curve along the setting.
    """
    check_target(folder, COMPARISON, [RUN_TABLE])
    candidates = hide_places_of_weights(candidates)
    curves = None if key is None else along(candidates, key)
    folder.mkdir(parents=True, exist_ok=True)
    figures = draw_transfer([aggregate(one.runs) for one in candidates], folder / "transfer") if transfer else []
    if curves is not None and key is not None:
        figures = [*draw_setting(curves, key, folder / key), *figures]
    tables = [*write_candidates(candidates, folder), folder / "comparison.md"]
    tables[-1].write_text(to_markdown(make_table(candidates)) + "\n", encoding="utf-8")
    return [*tables, *figures]
