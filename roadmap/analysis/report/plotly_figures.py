"""Charts of the report as plotly's figures of DataFrames, for a notebook: the roadmap, effects, training curves."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from roadmap.analysis.ablation_table import find_ablation
from roadmap.analysis.curves import DASHES, METRICS, band_color
from roadmap.analysis.figures.style import LINE_COLORS
from roadmap.analysis.frames import find_curves, rows_of
from roadmap.analysis.report.ablation_chart import draw_effects
from roadmap.analysis.report.charts import GRAY, SHORTEST_PLOT, axis, base_layout, roadmap_chart, text_of
from roadmap.analysis.results import drawn_rows
from roadmap.analysis.significance import compute_row_stats
from roadmap.errors import RunError

INK, PAPER = "#000000", "#ffffff"  # the report's page has colours of its own, which follow the reader's settings


def plot_roadmap(results: pd.DataFrame, best: bool = False) -> go.Figure:
    """Return figure 2; see `roadmap.plot_roadmap`."""
    rows = drawn_rows(rows_of(results))
    if not any(row.top1 for row in rows):
        raise RunError(f"no finished run to draw among {len(results)} rows")
    chart = roadmap_chart(compute_row_stats(rows, best), best)
    return _figure(chart.data, chart.layout)


def plot_effects(results: pd.DataFrame, best: bool = False) -> go.Figure:
    """Return the effect of each choice; see `roadmap.plot_effects`."""
    ablation = find_ablation(rows_of(results), best)
    if not ablation.effects:
        raise RunError(
            f"no effect to draw among {len(results)} rows: it takes two finished networks that differ in one choice"
        )
    chart = draw_effects(ablation)
    return _figure(chart.data, chart.layout)


def plot_curves(epochs: pd.DataFrame, metric: str = "top1") -> go.Figure:
    """Return training curves; see `roadmap.plot_curves`."""
    data: list[dict[str, Any]] = []
    for number, (name, curve) in enumerate(find_curves(epochs, metric).items()):
        color = LINE_COLORS[number % len(LINE_COLORS)]
        dash = list(DASHES)[number // len(LINE_COLORS) % len(DASHES)]
        shared = {"type": "scatter", "mode": "lines", "legendgroup": name, "name": text_of(name)}
        if curve.runs.max() > 1:
            around = [*curve.index, *curve.index[::-1]]
            data.append(
                {
                    **shared,
                    "x": around,
                    "y": [*curve.high, *curve.low[::-1]],
                    "fill": "toself",
                    "fillcolor": band_color(color),
                    "line": {"width": 0},
                    "hoverinfo": "skip",
                    "showlegend": False,
                }
            )
        data.append(
            {**shared, "x": list(curve.index), "y": list(curve["mean"]), "line": {"color": color, "dash": dash}}
        )
    layout = base_layout(SHORTEST_PLOT + 100, xaxis=axis("epoch"), yaxis=axis(METRICS[metric]))
    legend = {"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top", "font": {"size": 11}}
    return _figure(data, {**layout, "legend": legend, "hovermode": "x unified"})


def _figure(data: Sequence[dict[str, Any]], layout: dict[str, Any]) -> go.Figure:
    """Return a figure with fixed colours where the report's page would set its own."""
    figure = go.Figure(list(data), layout)
    figure.update_layout(paper_bgcolor=PAPER, plot_bgcolor=PAPER, font={"color": INK}, modebar={"color": GRAY})
    for trace in figure.data:
        if trace.meta == "ink":
            trace.marker.color = trace.marker.line.color = INK
    return figure
