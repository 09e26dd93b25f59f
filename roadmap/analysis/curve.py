"""All tables and figures of an experiment's folder, in one call."""

from dataclasses import dataclass
from pathlib import Path

from roadmap.analysis.effect_figure import draw_effects
from roadmap.analysis.figures import draw_kernels, draw_roadmap
from roadmap.analysis.folders import FIGURE_FOLDER, read_finished_runs
from roadmap.analysis.results import Row, aggregate, drawn_rows
from roadmap.analysis.table import write_csv, write_markdown
from roadmap.analysis.transfer_figure import draw_transfer


@dataclass(frozen=True)
class Curve:
    """The rows that were drawn, and the files that show them."""

    rows: list[Row]
    paths: list[Path]


def draw_curve(experiment_dir: Path, best: bool = False) -> Curve:
    """Write roadmap.png, .svg, .pdf, .csv and .md into EXPERIMENT/figures/.

    Also writes kernels.*, effects.* and transfer.*, each if the experiment has what it compares.

    `best` draws the best epoch's accuracy, picked on the validation set, into files named with `-best`.
    RunError: the experiment does not exist, or none of its runs has finished.
    """
    rows = aggregate(read_finished_runs(experiment_dir))
    folder = experiment_dir / FIGURE_FOLDER
    folder.mkdir(exist_ok=True)
    suffix = "-best" if best else ""
    paths = draw_roadmap(drawn_rows(rows), folder / f"roadmap{suffix}", best)
    paths += draw_kernels(rows, folder / f"kernels{suffix}", best)
    paths += draw_effects(rows, folder / f"effects{suffix}", best)
    paths += draw_transfer([rows], folder / f"transfer{suffix}", best)
    tables = [folder / f"roadmap{suffix}.csv", folder / f"roadmap{suffix}.md"]
    write_csv(rows, tables[0], best)
    write_markdown(rows, tables[1], best)
    return Curve(rows, paths + tables)
