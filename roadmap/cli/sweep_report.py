"""Results of a sweep on the terminal after its last run: table, verdict, figures, and what is not done."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from roadmap.analysis.read_runs import make_figure_folder, read_finished_runs
from roadmap.analysis.results import Row, aggregate
from roadmap.analysis.table import next_commands, terminal_table
from roadmap.analysis.terminal import closing_lines
from roadmap.cli.console import OUT, is_done, show_error, warn
from roadmap.cli.printing import print_lines, print_table
from roadmap.errors import RoadmapError, first_line
from roadmap.runs.run_dir import RunDir
from roadmap.system.commands import printed


def report_sweep(folders: Sequence[RunDir], notes: set[str | None]) -> None:
    """Print each experiment's table and verdict, draw its figures, and list the command's unfinished runs.

    What fails in drawing is a warning: the runs are done, and a script draws them again.
    """
    for experiment in sorted({folder.path.parents[1] for folder in folders}):
        try:
            rows = aggregate(read_finished_runs(experiment))
            print_table(OUT, *terminal_table(rows, OUT.width))
            print_lines(OUT, closing_lines(_draw(rows, experiment), next_commands(rows, experiment)))
        except (RoadmapError, OSError) as error:
            show_error(error)
    unfinished = [folder for folder in folders if not is_done(folder)]
    if unfinished:
        OUT.print(f"{len(unfinished)} of {len(folders)} runs are not done:", highlight=False)
        print_lines(OUT, _describe_unfinished(unfinished))
    for note in sorted(note for note in notes if note):
        OUT.print(note, markup=False, highlight=False)


def _draw(rows: Sequence[Row], experiment: Path) -> list[Path]:
    """The files that were drawn; none, with a warning, after an error of any kind."""
    try:
        from roadmap.analysis.tables_and_figures import draw_rows  # matplotlib may be broken: a warning too

        return draw_rows(rows, make_figure_folder(experiment))
    except Exception as error:  # matplotlib's, of the disk, or a defect: the runs are done
        reason = str(error) if isinstance(error, RoadmapError) else f"{type(error).__name__}: {first_line(error)}"
        again = shlex.join(printed("plot", str(experiment)))
        warn(f"no figures of {experiment}: {reason}. The results are complete; {again} draws them again")
        return []


def _describe_unfinished(folders: Sequence[RunDir]) -> list[str]:
    """Return a line per state and error of unfinished runs; "refused" if the folder holds something else."""
    named: dict[str, list[str]] = {}
    for folder in folders:
        try:
            folder.is_done()
            record = folder.state()
            reason = "not begun" if record is None else ": ".join(filter(None, (record.state, record.error)))
        except RoadmapError as error:
            reason = f"refused: {' '.join(str(error).split())}"
        named.setdefault(reason, []).append(f"{folder.identity.name} seed {folder.identity.seed}")
    return [f"  {', '.join(names)}: {reason}" for reason, names in named.items()]
