"""Figure of the top-1 of each step against one setting of the recipe, such as the learning rate."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from roadmap.analysis.figures.matplotlib_settings import drawing  # before matplotlib

# isort: split
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roadmap.analysis.comparison import Candidate, find_steps
from roadmap.analysis.figures import style
from roadmap.analysis.figures.layout import LAST_EPOCH
from roadmap.analysis.figures.roadmap import WIDTH, save
from roadmap.analysis.results import range_text
from roadmap.analysis.stats import std

HEIGHT = 3.2  # inches, of the figure with one panel
PANEL_HEIGHT = 1.25  # inches, of a row of panels
COLUMNS = 5  # of panels
MOST_LINES = len(style.LINE_COLORS)  # in one panel; more steps get a panel each
SPAN = 4.0  # points of top-1 that a panel spans at least
LOG_FROM = 3.0  # ratio of the largest to the smallest value from which the axis is logarithmic

Points = Mapping[float, Sequence[float]]  # top-1 of the seeds, by the setting's value


def draw_setting(candidates: Sequence[Candidate], key: str, path_stem: Path) -> list[Path]:
    """Draw a line per step, with the standard deviation over seeds; `candidates` differ only in `key`.

    Returns the files written: `path_stem` with .png, .svg and .pdf.
    """
    values = {float(one.settings[key]): one.settings[key] for one in candidates}
    steps: dict[str, dict[float, list[float]]] = {step: {} for step in find_steps(candidates)}
    for one in candidates:
        for step, top1 in one.top1.items():
            steps[step].setdefault(float(one.settings[key]), []).extend(top1)
    with drawing(path_stem.name):
        figure = _draw_panels(steps, values, key) if len(steps) > MOST_LINES else _draw_lines(steps, values, key)
        figure.suptitle(_title(candidates[0], steps, key), x=0.01, ha="left", fontsize=8, fontweight="bold")
        return save(figure, path_stem)


def _title(candidate: Candidate, steps: Mapping[str, Points], key: str) -> str:
    number = range_text(len(top1) for points in steps.values() for top1 in points.values())
    settings = candidate.settings
    shared = [settings[name] for name in ("regime.name", "data.name") if name in settings]
    return f"top-1 against {key}: {', '.join([*shared, f'n = {number}'])}"


def _draw_lines(steps: Mapping[str, Points], values: Mapping[float, str], key: str) -> Figure:
    """Draw all steps in one panel, with a legend."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    for number, (step, points) in enumerate(steps.items()):
        _draw_line(axes, points, {"label": step, **style.line_style(number)})
    _draw_frame(axes, values)
    axes.set_xlabel(key)
    axes.set_ylabel(LAST_EPOCH)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _draw_panels(steps: Mapping[str, Points], values: Mapping[float, str], key: str) -> Figure:
    """Draw a panel per step, each with its own scale; the best value is filled."""
    lines = math.ceil(len(steps) / COLUMNS)
    figure = Figure(figsize=(WIDTH, PANEL_HEIGHT * lines + 0.5), layout="constrained")
    panels = figure.subplots(lines, COLUMNS, sharex=True, squeeze=False).flatten()
    for axes, (step, points) in zip(panels, steps.items(), strict=False):
        _draw_line(axes, points, style.line_style(0) | {"mfc": "white"})
        best = max(points, key=lambda value: fmean(points[value]))
        axes.plot(best, fmean(points[best]), zorder=3, **style.line_style(0))
        axes.set_title(step, fontsize=7, loc="left", pad=2)
        _draw_frame(axes, values)
        axes.tick_params(labelsize=6)
        axes.tick_params(axis="x", rotation=45)
        axes.margins(y=0.15)
        low, high = axes.get_ylim()
        missing = max(SPAN - (high - low), 0.0)  # so that noise does not look like a cliff
        axes.set_ylim(low - missing / 2, high + missing / 2)
    for axes in panels[len(steps) :]:
        axes.set_axis_off()
    for axes in panels[max(len(steps) - COLUMNS, 0) : len(steps)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(f"{key}; the best is filled", fontsize=7)
    figure.supylabel(LAST_EPOCH, fontsize=7)
    return figure


def _draw_line(axes: Axes, points: Points, look: Mapping[str, object]) -> None:
    means = [fmean(top1) for top1 in points.values()]
    spreads = [std(top1) for top1 in points.values()]
    if any(spread is not None for spread in spreads):
        bars = [spread or 0.0 for spread in spreads]
        axes.errorbar(list(points), means, yerr=bars, capsize=2, **look)  # type: ignore[arg-type]
    else:
        axes.plot(list(points), means, **look)  # type: ignore[arg-type]


def _draw_frame(axes: Axes, values: Mapping[float, str]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=style.GRID, lw=0.5)
    if min(values) > 0 and max(values) / min(values) >= LOG_FROM:
        axes.set_xscale("log")
    axes.set_xticks(list(values), list(values.values()))
    axes.minorticks_off()
