"""Figures of DataFrames, as figures of their own or in the reader's axes: the roadmap, effects, training curves."""

from collections.abc import Callable

import pandas as pd

from roadmap.analysis.figures.matplotlib_settings import ShownFigure, drawing  # before matplotlib

# isort: split
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roadmap.analysis.ablation_table import find_ablation
from roadmap.analysis.curves import METRICS
from roadmap.analysis.figures import style
from roadmap.analysis.figures.ablation import draw_marks, effects_figure
from roadmap.analysis.figures.roadmap import WIDTH, draw_bars, roadmap_figure
from roadmap.analysis.frames import find_curves, rows_of
from roadmap.analysis.results import drawn_rows
from roadmap.errors import RunError

CURVE_HEIGHT, LEGEND_LINE = 3.4, 0.135  # inches
MOST_MARKERS = 20  # epochs; more would hide the line


def plot_roadmap(results: pd.DataFrame, ax: Axes | None = None, best: bool = False) -> Figure:
    """Draw figure 2, or only its bars into given axes; see `roadmap.plot_roadmap`."""
    rows = drawn_rows(rows_of(results))
    if not any(row.top1 for row in rows):
        raise RunError(f"no finished run to draw among {len(results)} rows")
    return _draw(ax, lambda: roadmap_figure(rows, best), lambda axes: draw_bars(axes, rows, best))


def plot_effects(results: pd.DataFrame, ax: Axes | None = None, best: bool = False) -> Figure:
    """Draw the effect of each choice; see `roadmap.plot_effects`."""
    rows = rows_of(results)
    ablation = find_ablation(rows, best)
    if not ablation.effects:
        raise RunError(
            f"no effect to draw among {len(results)} rows: it takes two finished networks that differ in one choice"
        )

    def draw_into(axes: Axes) -> None:
        entries = draw_marks(axes, ablation, best)
        below = (0.5, -0.12)
        axes.legend(handles=entries, loc="upper center", bbox_to_anchor=below, ncols=2, fontsize=7, frameon=False)

    return _draw(ax, lambda: effects_figure(rows, ablation, best), draw_into)


def plot_curves(epochs: pd.DataFrame, metric: str = "top1", ax: Axes | None = None) -> Figure:
    """Draw a metric of each network over the epochs; see `roadmap.plot_curves`."""
    curves = find_curves(epochs, metric)

    def draw_alone() -> Figure:
        height = max(CURVE_HEIGHT, LEGEND_LINE * len(curves) + 0.3)
        figure = ShownFigure(figsize=(WIDTH, height), layout="constrained")
        _draw_curves(figure.add_subplot(), curves, metric)
        figure.legend(loc="outside right upper", fontsize=6.5, frameon=False)
        return figure

    def draw_into(axes: Axes) -> None:
        _draw_curves(axes, curves, metric)
        axes.legend(fontsize=7, frameon=False)

    return _draw(ax, draw_alone, draw_into)


def _draw(ax: Axes | None, draw_alone: Callable[[], Figure], draw_into: Callable[[Axes], None]) -> Figure:
    """Draw a figure in this project's style, or into axes that keep the style of their figure."""
    if ax is None:
        with drawing("figure"):
            return draw_alone()
    draw_into(ax)
    return ax.figure.figure  # the whole one, if the axes are of a part


def _draw_curves(axes: Axes, curves: dict[str, pd.DataFrame], metric: str) -> None:
    """Draw a line per network: the mean over its runs, in a band from the lowest to the highest."""
    for number, (name, curve) in enumerate(curves.items()):
        mark = style.line_style(number)
        if len(curve) > MOST_MARKERS:
            mark |= {"marker": ""}
        axes.plot(curve.index, curve["mean"], label=name, **mark)
        if curve.runs.max() > 1:
            axes.fill_between(curve.index, curve.low, curve.high, color=mark["color"], alpha=0.18, lw=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel(METRICS[metric])
    axes.grid(color=style.GRID, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
