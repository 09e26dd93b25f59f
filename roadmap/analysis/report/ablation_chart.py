"""Charts of the effect of each choice (on the path, in the last step, in the first), and of a full factorial."""

from collections.abc import Sequence
from typing import Any

from roadmap.analysis.ablation import AVERAGE, Average, effect_columns, mark_significant
from roadmap.analysis.ablation_table import Ablation, find_ablation
from roadmap.analysis.factorial import Grid, find_axis_interactions, find_main_effects
from roadmap.analysis.report.charts import (
    BLUE,
    GREEN,
    GRID,
    VERMILION,
    Chart,
    axis,
    base_layout,
    error_bars,
    row_axis,
)
from roadmap.analysis.results import Row
from roadmap.analysis.significance import interval_text
from roadmap.analysis.stats import COVERAGE, Difference

ROW_HEIGHT = 44  # pixels per choice, with its marks
MOST_INTERACTIONS = 5  # shown
MARKS = (("circle", BLUE), ("diamond", VERMILION), ("square", GREEN))  # path, last, first step


def effect_chart(rows: Sequence[Row], best: bool) -> Chart | None:
    """Draw the effects; None if no network off the paper's path ran, since the waterfall shows the path's steps."""
    ablation = find_ablation(rows, best)
    return draw_effects(ablation) if ablation.leaves_path and ablation.effects else None


def draw_effects(ablation: Ablation) -> Chart:
    """Draw the effects of an ablation that has some."""
    effects = ablation.effects
    data = []
    columns = effect_columns(ablation.roadmap, effects)
    for number, ((name, found), mark) in enumerate(zip(columns.items(), MARKS, strict=True)):
        trace = _trace(number, name, *mark, found)
        flags = [flag for one, flag in zip(found, mark_significant(found), strict=True) if one is not None]
        trace["marker"]["symbol"] = [mark[0] if flag else f"{mark[0]}-open" for flag in flags]
        data += [trace] if any(found) else []
    if ablation.averages:  # over orders: they have no test
        averages = [ablation.averages.get(one.name) for one in effects]
        data.append(_trace(len(columns), AVERAGE, "x", "#CC79A7", averages))
    layout = base_layout(
        120 + ROW_HEIGHT * len(effects),
        xaxis=_points_axis("effect in points: top-1<br>with the choice minus without it"),
        yaxis=row_axis([one.name for one in effects]),
    )
    return Chart("effects", data, layout)


def factorial_chart(grid: Grid) -> Chart:
    """Draw the mean effect of each choice, and the pairs of choices that interact."""
    alone = [one for one in find_main_effects(grid) if one.effect is not None]
    together = find_axis_interactions(grid)[:MOST_INTERACTIONS]
    labels = [f"{one.axis}={one.level}" for one in alone] + [" and ".join(pair.choices) for pair in together]
    own = [*(one.effect for one in alone), *(None for _ in together)]
    beyond = [*(None for _ in alone), *(pair.effect for pair in together)]
    data = [_trace(1.5, "mean over the other axes", "circle", BLUE, own)]
    if together:
        data.append(_trace(1.5, "interaction: beyond the sum of the effects", "diamond", VERMILION, beyond))
    layout = base_layout(
        120 + ROW_HEIGHT * len(labels),
        xaxis=_points_axis(f"effect in points of top-1, on {grid.step}"),
        yaxis=row_axis(labels),
    )
    return Chart("factorial", data, layout)


def _points_axis(title: str) -> dict[str, Any]:
    return axis(title, zeroline=True, zerolinecolor=GRID, zerolinewidth=3)


def _trace(
    number: float, name: str, symbol: str, color: str, found: Sequence[Difference | Average | None]
) -> dict[str, Any]:
    """Return the marks of one column, slightly below the previous column's; number 1.5 is on the line."""
    points = [(index, one) for index, one in enumerate(found) if one is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [one.mean for _, one in points],
        "y": [index - 0.27 + 0.18 * number for index, _ in points],
        "error_x": error_bars([one.interval.high - one.mean if one.interval else 0.0 for _, one in points]),
        "marker": {"symbol": symbol, "color": color, "size": 9, "line": {"width": 2, "color": color}},
        "hovertext": [
            f"{name}<br>{one.mean:+z.2f}, {COVERAGE} interval {interval_text(one.interval, signed=True) or 'none'}"
            for _, one in points
        ],
        "hoverinfo": "text",
    }
