"""Figures of DataFrames, as figures of their own or in the reader's axes: the roadmap, effects, training curves."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

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
from roadmap.analysis.frame_rows import find_curves, has_band, rows_of_one, warn_of_unused
from roadmap.analysis.results import drawn_rows
from roadmap.errors import ConfigError, RunError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

CURVE_HEIGHT, LEGEND_LINE = 3.4, 0.135  # inches
MOST_MARKERS = 20  # epochs; more would hide the line


@overload
def plot_roadmap(
    results: pd.DataFrame, ax: Axes | None = None, best: bool = False, backend: Literal["matplotlib"] = ...
) -> Figure: ...
@overload
def plot_roadmap(
    results: pd.DataFrame, ax: None = None, best: bool = False, *, backend: Literal["plotly"]
) -> "PlotlyFigure": ...
def plot_roadmap(
    results: pd.DataFrame, ax: Axes | None = None, best: bool = False, backend: str = "matplotlib"
) -> Any:
    """Draw the paper's figure 2: a bar per step with top-1, standard deviation, seeds and cost.

    Args:
        results: rows of `load_results` or `sweep`.
        ax: draw only the bars, into these axes.
        best: the best epoch, picked on the validation set, instead of the last one.
        backend: "matplotlib", or "plotly" for a figure that shows its numbers under the pointer.

    >>> runs = roadmap.load_results("results/cifar10-stride4")
    >>> roadmap.plot_roadmap(runs).savefig(f"{folder}/roadmap.svg")
    >>> roadmap.plot_roadmap(runs, backend="plotly").write_html(f"{folder}/roadmap.html")

    Raises:
        roadmap.errors.RunError: no run has finished, or the rows are of several experiments.
        roadmap.errors.ConfigError: there is no such backend, ax is no Axes, or plotly was given one.
    """
    plotly = _find_plotly(backend, ax)
    rows = drawn_rows(rows_of_one(results, "plot_roadmap"))
    if not any(row.top1 for row in rows):
        raise RunError(f"no finished run to draw among {len(results)} rows")
    if plotly:
        return plotly.draw_roadmap(rows, best)
    return _draw(ax, lambda: roadmap_figure(rows, best), lambda axes: draw_bars(axes, rows, best))


@overload
def plot_effects(
    results: pd.DataFrame, ax: Axes | None = None, best: bool = False, backend: Literal["matplotlib"] = ...
) -> Figure: ...
@overload
def plot_effects(
    results: pd.DataFrame, ax: None = None, best: bool = False, *, backend: Literal["plotly"]
) -> "PlotlyFigure": ...
def plot_effects(
    results: pd.DataFrame, ax: Axes | None = None, best: bool = False, backend: str = "matplotlib"
) -> Any:
    """Draw the effect of each choice with its interval, wherever the runs measure it.

    The effects are of one regime, data set and recipe: of those with most networks, with a warning of the others.

    >>> figure = roadmap.plot_effects(roadmap.load_results("results/cifar10-stride4"))

    Raises:
        roadmap.errors.RunError: no two networks differ in one choice, or the rows are of several experiments.
        roadmap.errors.ConfigError: as plot_roadmap.
    """
    plotly = _find_plotly(backend, ax)
    rows = rows_of_one(results, "plot_effects")
    ablation = find_ablation(rows, best)
    if not ablation.effects:
        raise RunError(
            f"no effect to draw among {len(results)} rows: it takes two finished networks that differ in one choice"
        )
    warn_of_unused(rows)
    if plotly:
        return plotly.draw_all_effects(ablation)

    def draw_into(axes: Axes) -> None:
        entries = draw_marks(axes, ablation, best)
        below = (0.5, -0.12)
        axes.legend(handles=entries, loc="upper center", bbox_to_anchor=below, ncols=2, fontsize=7, frameon=False)

    return _draw(ax, lambda: effects_figure(ablation, best), draw_into)


@overload
def plot_curves(
    epochs: pd.DataFrame, metric: str = "top1", ax: Axes | None = None, backend: Literal["matplotlib"] = ...
) -> Figure: ...
@overload
def plot_curves(
    epochs: pd.DataFrame, metric: str = "top1", ax: None = None, *, backend: Literal["plotly"]
) -> "PlotlyFigure": ...
def plot_curves(
    epochs: pd.DataFrame, metric: str = "top1", ax: Axes | None = None, backend: str = "matplotlib"
) -> Any:
    """Draw training curves: a line per network, the mean over its seeds, in a band from lowest to highest.

    Args:
        epochs: rows of `load_epochs`, also of several experiments, which then have a line each.
        metric: top1, loss, train_loss, ema_top1 or lr.

    >>> epochs = roadmap.load_epochs("results/cifar10-stride4")
    >>> figure = roadmap.plot_curves(epochs[epochs.network.isin(["step0_resnet", "step12_downsample"])])

    Raises:
        roadmap.errors.RunError: the metric was not measured, or a seed is given twice.
        roadmap.errors.ConfigError: as plot_roadmap.
    """
    plotly = _find_plotly(backend, ax)
    curves = find_curves(epochs, metric)
    if plotly:
        return plotly.draw_curves(curves, metric)

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


def _find_plotly(backend: str, ax: Axes | None) -> Any:
    """Return the module that draws by plotly, whose import takes a second; None for matplotlib."""
    if backend == "matplotlib":
        if ax is not None and not isinstance(ax, Axes):
            raise ConfigError(
                f"ax is a {type(ax).__name__}: must be one Axes of matplotlib, as axes[0] of plt.subplots(1, 2)"
            )
        return None
    if backend != "plotly":
        raise ConfigError(f"backend={backend}: must be matplotlib or plotly")
    if ax is not None:
        raise ConfigError("backend=plotly cannot draw into ax, which is matplotlib's: leave it out")
    from roadmap.analysis.report import plotly_figures

    return plotly_figures


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
        if has_band(curve):
            axes.fill_between(curve.index, curve.low, curve.high, color=mark["color"], alpha=0.18, lw=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel(METRICS[metric])
    axes.grid(color=style.GRID, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
