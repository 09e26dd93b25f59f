"""An experiment's folder to its tables and figures, in one call."""

from dataclasses import dataclass
from pathlib import Path

from roadmap.analysis.figures import draw_kernels, draw_roadmap
from roadmap.analysis.folders import DONE, FAILED, FIGURE_FOLDER, Run, count_states, read_runs
from roadmap.analysis.results import Row, aggregate
from roadmap.analysis.table import write_csv, write_markdown
from roadmap.errors import RunError


@dataclass(frozen=True)
class Curve:
    """What was drawn: the rows, and the files that show them."""

    rows: list[Row]
    paths: list[Path]


def draw_curve(experiment_dir: Path, best: bool = False) -> Curve:
    """Writes roadmap.png, .svg, .pdf, .csv and .md into EXPERIMENT/figures/; kernels.* where they ran.

    `best` draws the best epoch's accuracy, picked on the validation set, into files named with `-best`.
    RunError: the experiment does not exist, or none of its runs has finished.
    """
    runs = read_runs(experiment_dir)
    rows = aggregate(runs)
    if not any(run.state == DONE for run in runs):
        raise RunError(f"{experiment_dir}: no finished run ({count_states(runs)}){_first_error(runs)}")
    folder = experiment_dir / FIGURE_FOLDER
    folder.mkdir(exist_ok=True)
    suffix = "-best" if best else ""
    paths = draw_roadmap(rows, folder / f"roadmap{suffix}", best)
    paths += draw_kernels(rows, folder / f"kernels{suffix}", best)
    tables = [folder / f"roadmap{suffix}.csv", folder / f"roadmap{suffix}.md"]
    write_csv(rows, tables[0], best)
    write_markdown(rows, tables[1], best)
    return Curve(rows, paths + tables)


def _first_error(runs: list[Run]) -> str:
    for run in runs:
        if run.state == FAILED and run.error:
            return f"; {run.path.parent.name}/{run.path.name} failed with: {run.error}"
    return ""
