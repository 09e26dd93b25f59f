"""The chart of what each choice is worth: on the paper's path, taken back, added alone, and on average."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from roadmap.analysis.attribution import (
    Average,
    average_effects,
    find_effects,
    results_of,
    sample_orders,
)
from roadmap.analysis.changes import interval_text
from roadmap.analysis.charts import BLUE, GREEN, GRID, VERMILION, Chart, axis, base_layout, row_axis, spreads
from roadmap.analysis.choices import STEPS, path_network
from roadmap.analysis.results import Row
from roadmap.analysis.statistics import Difference

ROW_HEIGHT = 44  # pixels, of a choice with its marks
PAIRS, ORDER_SEED = 4, 0  # of the sampled orders; the defaults of scripts/attribute.py


def effect_chart(rows: Sequence[Row], best: bool) -> Chart | None:
    """None where no network off the paper's path ran: its steps are the waterfall's."""
    results = results_of(rows, best)
    if not results.keys() - {path_network(step) for step in range(len(STEPS))}:
        return None
    effects = find_effects(results)
    if not effects:
        return None
    values = {network: fmean(seeds.values()) for network, seeds in results.items()}
    averages = {one.axis: one for one in average_effects(values, sample_orders(PAIRS, ORDER_SEED))}
    marks: list[tuple[str, str, str, list[Difference | Average | None]]] = [
        ("on the path, against the step before", "circle", BLUE, [one.on_path for one in effects]),
        ("taken back from the last step", "diamond", VERMILION, [one.taken_back for one in effects]),
        ("added to step 0", "square", GREEN, [one.added for one in effects]),
        ("average over orders", "x", "#CC79A7", [averages.get(one.axis) for one in effects]),
    ]
    data = [_trace(number, *mark) for number, mark in enumerate(marks) if any(mark[3])]
    layout = base_layout(
        120 + ROW_HEIGHT * len(effects),
        xaxis=axis("points of top-1", zeroline=True, zerolinecolor=GRID, zerolinewidth=3),
        yaxis=row_axis([one.axis for one in effects]),
    )
    return Chart("effects", data, layout)


def _trace(
    number: int, name: str, symbol: str, color: str, found: Sequence[Difference | Average | None]
) -> dict[str, Any]:
    """The marks of one question, a little below those of the one before."""
    points = [(index, one) for index, one in enumerate(found) if one is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [one.mean for _, one in points],
        "y": [index - 0.27 + 0.18 * number for index, _ in points],
        "error_x": spreads([one.interval.high - one.mean if one.interval else 0.0 for _, one in points]),
        "marker": {"symbol": symbol, "color": color, "size": 9},
        "hovertext": [
            f"{name}<br>{one.mean:+.2f}, 95% interval {interval_text(one.interval, signed=True) or 'none'}"
            for _, one in points
        ],
        "hoverinfo": "text",
    }
