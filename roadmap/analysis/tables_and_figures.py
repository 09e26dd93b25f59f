"""All tables and figures of an experiment's folder, in one call."""

from collections.abc import Sequence
from pathlib import Path

from roadmap.analysis.figures.ablation import draw_effects
from roadmap.analysis.figures.roadmap import draw_roadmap, draw_values
from roadmap.analysis.figures.transfer import draw_transfer
from roadmap.analysis.read_runs import make_figure_folder, read_finished_runs
from roadmap.analysis.results import Row, aggregate, drawn_rows
from roadmap.analysis.table import write_csv, write_markdown


def draw_experiment(experiment_dir: Path, best: bool = False) -> tuple[list[Row], list[Path]]:
    """Write roadmap.png, .svg, .pdf, .csv and .md into EXPERIMENT/figures/; return their rows, and all files.

    Also writes kernels.*, effects.* and transfer.*, each if the experiment has what it compares.

    `best` draws the best epoch's accuracy, picked on the validation set, into files named with `-best`.
    RunError: the experiment does not exist, none of its runs has finished, or a file is where the folder belongs.
    """
    rows = aggregate(read_finished_runs(experiment_dir))
    return rows, draw_rows(rows, make_figure_folder(experiment_dir), best)


def draw_rows(rows: Sequence[Row], folder: Path, best: bool = False) -> list[Path]:
    """Write the figures and tables of `draw_experiment` from rows that were read, into an existing folder."""
    suffix = "-best" if best else ""
    paths = draw_roadmap(drawn_rows(rows), folder / f"roadmap{suffix}", best)
    paths += draw_values(rows, folder / f"kernels{suffix}", best)
    paths += draw_effects(rows, folder / f"effects{suffix}", best)
    paths += draw_transfer([rows], folder / f"transfer{suffix}", best)
    tables = [folder / f"roadmap{suffix}.csv", folder / f"roadmap{suffix}.md"]
    write_csv(rows, tables[0], best)
    write_markdown(rows, tables[1], best)
    return paths + tables
