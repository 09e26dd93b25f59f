"""Chart of accuracy against cost, with the Pareto front."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from roadmap.analysis.figures.layout import accuracy_title, cost_unit, section
from roadmap.analysis.report.charts import (
    BLUE,
    SHORTEST_PLOT,
    Chart,
    Option,
    axis,
    base_layout,
    error_bars,
    hover_text,
    text_of,
)
from roadmap.analysis.results import Row
from roadmap.analysis.significance import RowStats
from roadmap.analysis.stats import std

Point = tuple[float, float]  # cost, accuracy

MOST_NAMED = 6  # most variants with a printed name; of more, the name appears on hover


@dataclass(frozen=True)
class CostAxis:
    """One measure of a network's cost."""

    label: str
    value: Callable[[Row], float | None]
    less_is_better: bool = True


def costs_of(rows: Sequence[Row]) -> list[CostAxis]:
    """Return the costs that any row has."""
    unit, scale = cost_unit(rows)
    costs = [
        CostAxis(f"{unit} an image", lambda row: None if row.gmacs is None else row.gmacs * scale),
        CostAxis("parameters (M)", lambda row: None if row.parameters is None else row.parameters / 1e6),
        CostAxis("images/s in training, measured", lambda row: row.images_per_s, less_is_better=False),
    ]
    return [cost for cost in costs if any(cost.value(row) is not None for row in rows)]


def pareto_front(points: Sequence[Point], less_is_better: bool = True) -> list[Point]:
    """Return the Pareto front, from the cheapest point on: no other point is as good in both and better in one."""
    front: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[0] if less_is_better else -point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def cost_chart(row_stats: Sequence[RowStats], best: bool) -> Chart | None:
    """Draw the chart, with menus for the cost and the axis' scale; None if no row has a result and a cost."""
    done = [one for one in row_stats if one.estimate is not None]
    costs = costs_of([one.row for one in done])
    if not costs:
        return None
    options = [_option(done, cost, best) for cost in costs]
    crowded = sum(bool(one.row.variant) for one in done) > MOST_NAMED
    names = ["" if one.row.variant and crowded else text_of(point_name(one.row)) for one in done]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Pareto front",
            "line": {"color": BLUE, "width": 2, "shape": "hv"},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "markers+text",
            "name": "a step",
            "meta": "named",  # the page places the names, so that none overlaps
            "customdata": names,
            "cliponaxis": False,
            "error_y": error_bars([std(one.row.accuracies(best)) or 0.0 for one in done]),
            "marker": {
                "size": 10,
                "color": [section(one.row).color for one in done],
                "symbol": [_symbol(one.row) for one in done],
                "line": {"width": 1},
            },
            "hovertext": [hover_text(one, best) for one in done],
            "hoverinfo": "text",
            "showlegend": False,
        },
    ]
    for key in ("x", "y"):
        for trace, values in zip(data, options[0].data[key], strict=True):
            trace[key] = values
    layout = base_layout(
        SHORTEST_PLOT + 100,
        margin={"l": 10, "r": 80, "t": 10, "b": 50},  # room for the name of the rightmost point
        xaxis=axis(costs[0].label, type="linear"),
        yaxis=axis(accuracy_title(best).replace(", ", ",<br>", 1)),
    )
    scales = [Option(kind, layout={"xaxis.type": kind}) for kind in ("linear", "log")]
    return Chart("costs", data, layout, {"cost": options, "scale": scales})


def _option(done: Sequence[RowStats], cost: CostAxis, best: bool) -> Option:
    """Return the positions of the front and of the points for one cost."""
    xs = [cost.value(one.row) for one in done]
    ys = [fmean(one.row.accuracies(best)) for one in done]
    points = [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None]
    front = pareto_front(points, cost.less_is_better)
    return Option(
        cost.label,
        data={"x": [[x for x, _ in front], xs], "y": [[y for _, y in front], ys]},
        layout={"xaxis.title.text": cost.label, "xaxis.autorange": True},
    )


def point_name(row: Row) -> str:
    """Return `7`, `7 k9`, `12 norm=batchnorm`, or the name of a network that is no step."""
    name = row.step if row.step_index is None else str(row.step_index)
    if row.variant.keys() == {"kernel_size"} and row.step == row.roadmap.curve:
        return f"{name} k{row.variant['kernel_size']}"
    return " ".join([name, *row.choices])


def _symbol(row: Row) -> str:
    if row.reference is not None:
        return "star"
    return "diamond" if row.variant else "circle"
