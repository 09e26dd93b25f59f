"""Charts of the report as plotly's figures of DataFrames, for a notebook: the roadmap, effects, training curves."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from roadmap.analysis.ablation_table import Ablation
from roadmap.analysis.curves import DASHES, METRICS, band_color
from roadmap.analysis.figures.style import LINE_COLORS
from roadmap.analysis.frame_rows import has_band
from roadmap.analysis.report.ablation_chart import draw_effects
from roadmap.analysis.report.charts import GRAY, SHORTEST_PLOT, Chart, axis, base_layout, roadmap_chart, text_of
from roadmap.analysis.results import Row
from roadmap.analysis.significance import compute_row_stats

INK, PAPER = "#000000", "#ffffff"  # the report's page has colours of its own, which follow the reader's settings


def draw_roadmap(rows: Sequence[Row], best: bool) -> go.Figure:
    """Return figure 2."""
    return _figure(roadmap_chart(compute_row_stats(rows, best), best))


def draw_all_effects(ablation: Ablation) -> go.Figure:
    """Return the effect of each choice."""
    return _figure(draw_effects(ablation))


def draw_curves(curves: dict[str, pd.DataFrame], metric: str) -> go.Figure:
    """Return training curves."""
    data: list[dict[str, Any]] = []
    for number, (name, curve) in enumerate(curves.items()):
        color = LINE_COLORS[number % len(LINE_COLORS)]
        dash = list(DASHES)[number // len(LINE_COLORS) % len(DASHES)]
        shared = {"type": "scatter", "mode": "lines", "legendgroup": name, "name": text_of(name)}
        if has_band(curve):
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
    return _figure(Chart("curves", data, {**layout, "legend": legend, "hovermode": "x unified"}))


def _figure(chart: Chart) -> go.Figure:
    """Return a figure with fixed colours where the report's page would set its own."""
    figure = go.Figure(chart.data, chart.layout)
    figure.update_layout(paper_bgcolor=PAPER, plot_bgcolor=PAPER, font={"color": INK}, modebar={"color": GRAY})
    for trace in figure.data:
        if trace.meta == "ink":
            trace.marker.color = trace.marker.line.color = INK
    return figure
