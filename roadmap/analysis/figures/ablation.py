"""Figure of the effect of each choice: on the path, in the last step and in the first."""

from collections.abc import Sequence
from pathlib import Path

from roadmap.analysis.figures.matplotlib_settings import ShownFigure, drawing  # before matplotlib

# isort: split
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from roadmap.analysis.ablation import AVERAGE, Average, mark_significant
from roadmap.analysis.ablation_table import Ablation, find_ablation
from roadmap.analysis.figures import style
from roadmap.analysis.figures.layout import accuracy_title, count_text
from roadmap.analysis.figures.roadmap import WIDTH, draw_legend, draw_title, save
from roadmap.analysis.results import Row
from roadmap.analysis.stats import COVERAGE, Difference

ROW_HEIGHT = 0.36  # inches per choice, with its marks
TOP, BOTTOM, LEFT, RIGHT = 0.52, 0.88, 1.1, 0.2  # inches beside the marks
CHARACTER = 0.061  # inches, of a choice's name
APART = 0.24  # of a row, between the marks of two columns

Found = Sequence[Difference | Average | None]


def draw_effects(rows: Sequence[Row], path_stem: Path, best: bool = False) -> list[Path]:
    """Write each choice's effect on the path, in the last step and in the first, as `effects_figure` draws it.

    Returns the files written: none if no network off the paper's path ran.
    """
    ablation = find_ablation(rows, best)
    if not ablation.leaves_path or not ablation.effects:
        return []
    with drawing(path_stem.name):
        return save(effects_figure(ablation, best), path_stem)


def effects_figure(ablation: Ablation, best: bool = False) -> Figure:
    """Draw the effects with intervals; filled if significant.

    `best` draws the best epoch's accuracy, picked on the validation set, instead of the last one's.
    """
    height = TOP + ROW_HEIGHT * len(ablation.effects) + BOTTOM
    figure = ShownFigure(figsize=(WIDTH, height))
    left = max(LEFT, CHARACTER * (2 + max(len(one.name) for one in ablation.effects)))
    size = 1 - (left + RIGHT) / WIDTH, 1 - (TOP + BOTTOM) / height
    entries = draw_marks(figure.add_axes((left / WIDTH, BOTTOM / height, *size)), ablation, best)
    found = [one for column in (*ablation.columns().values(), ablation.averages.values()) for one in column]
    intervals = f", {COVERAGE} intervals" if any(one and one.interval for one in found) else ""
    draw_title(figure, ablation.rows, f"effect of each choice, {count_text(ablation.rows)}{intervals}")
    draw_legend(figure, entries)
    return figure


def draw_marks(axes: Axes, ablation: Ablation, best: bool = False) -> list[Line2D]:
    """Draw the effects into any axes, and return the entries of a legend."""
    draw_points_frame(axes, [one.name for one in ablation.effects])
    axes.set_xlabel(f"effect in points: {accuracy_title(best)}, with the choice minus without it", fontsize=7)
    return _draw_questions(axes, ablation)


def draw_points_frame(axes: Axes, names: Sequence[str]) -> None:
    """Draw a row per name, from the top, over a horizontal axis of points with a line at 0."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", color=style.GRID, lw=0.5)
    axes.axvline(0, color=style.FAINT, lw=0.8)
    for line in range(1, len(names)):
        axes.axhline(line - 0.5, color=style.GRID, lw=0.5)


def _draw_questions(axes: Axes, ablation: Ablation) -> list[Line2D]:
    """Draw the marks of each column, one above the other in each row; return their legend entries."""
    columns: dict[str, Found] = dict(ablation.columns())
    significant = {name: mark_significant(found) for name, found in ablation.columns().items()}
    if ablation.averages:
        columns[AVERAGE] = [ablation.averages.get(one.name) for one in ablation.effects]
    entries, any_hollow = [], False
    for number, (name, found) in enumerate(columns.items()):
        marks = style.line_style(number) | {"ls": "none"}
        shift = APART * (number - (len(columns) - 1) / 2)
        for row, one in enumerate(found):
            if one is None:
                continue
            filled = name not in significant or significant[name][row]  # an average over orders has no test
            any_hollow |= not filled
            if one.interval is not None:
                axes.plot([one.interval.low, one.interval.high], [row + shift] * 2, color=marks["color"], lw=1)
            axes.plot(one.mean, row + shift, zorder=3, **marks | {"mfc": marks["color"] if filled else "white"})
        entries.append(Line2D([], [], label=name, **marks))
    if any_hollow:
        hollow = {"ls": "none", "color": style.FAINT, "mfc": "white"}
        entries.append(Line2D([], [], label="not significant (Holm)", **style.line_style(0) | hollow))
    return entries
