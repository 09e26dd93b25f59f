"""All tables and figures of an experiment's folder, in one call."""

import logging
from collections.abc import Sequence
from pathlib import Path

from roadmap.analysis.figures.ablation import draw_effects
from roadmap.analysis.figures.roadmap import KINDS, draw_roadmap, draw_values
from roadmap.analysis.figures.transfer import draw_transfer
from roadmap.analysis.read_runs import make_figure_folder, read_finished_runs
from roadmap.analysis.results import Row, aggregate, drawn_rows
from roadmap.analysis.table import write_csv, write_markdown
from roadmap.analysis.terminal import list_files

TABLE, VALUES, EFFECTS, TRANSFER = "roadmap", "kernels", "effects", "transfer"  # names of files

log = logging.getLogger(__name__)


def draw_experiment(
    experiment_dir: Path, best: bool = False, replace: bool = False
) -> tuple[list[Row], list[Path]]:
    """Write roadmap.png, .svg, .pdf, .csv and .md into EXPERIMENT/figures/; return their rows, and all files.

    Also writes kernels.*, effects.* and transfer.*, each if the experiment has what it compares.

    `best` draws the best epoch's accuracy, picked on the validation set, into files named with `-best`. `replace`
    removes the figures of earlier runs that these runs do not give; without it, a warning names them.
    RunError: the experiment does not exist, none of its runs has finished, or a file is where the folder belongs.
    """
    rows = aggregate(read_finished_runs(experiment_dir))
    return rows, draw_rows(rows, make_figure_folder(experiment_dir), best, replace)


def draw_rows(rows: Sequence[Row], folder: Path, best: bool = False, replace: bool = False) -> list[Path]:
    """Write the figures and tables of `draw_experiment` from rows that were read, into an existing folder."""
    stems = {name: folder / f"{name}{_suffix(best)}" for name in (TABLE, VALUES, EFFECTS, TRANSFER)}
    paths = draw_roadmap(drawn_rows(rows), stems[TABLE], best)
    paths += draw_values(rows, stems[VALUES], best)
    paths += draw_effects(rows, stems[EFFECTS], best)
    paths += draw_transfer([rows], stems[TRANSFER], best)
    tables = [stems[TABLE].with_name(f"{stems[TABLE].name}.{kind}") for kind in ("csv", "md")]
    write_csv(rows, tables[0], best)
    write_markdown(rows, tables[1], best)
    others = [path for path in find_drawn(folder, best) if path not in paths + tables]
    if others and replace:
        for path in others:
            path.unlink()
    elif others:
        log.warning(
            "%s: of an earlier drawing, and these runs have no such figure. Remove what you do not need",
            " and ".join(list_files(others)),
        )
    return paths + tables


def find_drawn(folder: Path, best: bool) -> list[Path]:
    """Return the files in a folder that have the names of those that `draw_rows` writes, of any runs."""
    names = [f"{name}{_suffix(best)}" for name in (TABLE, VALUES, EFFECTS, TRANSFER)]
    files = [f"{name}.{kind}" for name in names for kind in KINDS] + [f"{names[0]}.csv", f"{names[0]}.md"]
    return [folder / file for file in files if (folder / file).is_file()]


def _suffix(best: bool) -> str:
    return "-best" if best else ""
