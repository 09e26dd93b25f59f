"""Charts of the report as plain values for plotly.js: traces, layout and menus.

Names come from configurations, and plotly renders a subset of HTML in any text, so they are escaped here. Colours
with a meaning are Okabe and Ito's, which are safe for colour-blind readers; pattern or shape repeats the meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from statistics import fmean
from typing import Any

from roadmap.analysis.figures.layout import (
    accuracy_text,
    accuracy_title,
    axis_label,
    axis_limits,
    cost_text,
    cost_unit,
    curve_name,
    curve_rows,
    drawn_values,
    missing_text,
    section,
)
from roadmap.analysis.significance import GAIN, LOSS, NOT_SIGNIFICANT, Change, RowStats, estimate_text
from roadmap.analysis.stats import COVERAGE, std

BLUE, VERMILION, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#8c8c8c"
CHANGE_COLOR = {GAIN: BLUE, LOSS: VERMILION, NOT_SIGNIFICANT: GRAY}
GRID = "rgba(128,128,128,0.25)"  # visible on white and on black
ROW_HEIGHT = 27  # pixels
SHORTEST_PLOT = 340  # pixels


@dataclass(frozen=True)
class Option:
    """One choice of a menu: its changes to the traces and to the layout."""

    label: str
    data: dict[str, Any] = field(default_factory=dict)
    layout: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A chart that the page draws under `name`; the first option of each menu is the initial one."""

    name: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    menus: dict[str, list[Option]] = field(default_factory=dict)


def text_of(name: str) -> str:
    """Escape a configuration's name, so that plotly.js shows it as text."""
    return escape(name, quote=False)


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title}, "gridcolor": GRID, "zeroline": False, "automargin": True, **more}


def error_bars(values: Sequence[float]) -> dict[str, Any]:
    """Return error bars of these half lengths, in a colour that the page replaces by its text colour."""
    return {"type": "data", "array": list(values), "thickness": 1.5, "width": 3, "color": GRAY}


def base_layout(height: int, **more: Any) -> dict[str, Any]:
    """Return a transparent layout that shows the page's colours; the page sets the text colour."""
    return {
        "height": height,
        "margin": {"l": 10, "r": 14, "t": 10, "b": 50},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GRAY, "activecolor": BLUE},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        **more,
    }


def row_axis(labels: Sequence[str]) -> dict[str, Any]:
    """Return an axis with a line per row from the top; positions are numbers, since two rows may have one label."""
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": [f"{text_of(label)} " for label in labels],
        "range": [len(labels) - 0.4, -0.6],
        "automargin": True,
        "zeroline": False,
        "showgrid": False,
        "fixedrange": True,
    }


LONGEST_LABEL = 26  # characters


def shortened(label: str) -> str:
    """Shorten a label to half a phone's width: keep the variant, which identifies the row, and some of the step."""
    if len(label) <= LONGEST_LABEL:
        return label
    step, comma, variant = label.partition(", ")
    if not comma:
        return f"{label[: LONGEST_LABEL - 1].rstrip()}…"
    variant = variant[-(LONGEST_LABEL - 3) :]
    return f"{step[: max(LONGEST_LABEL - 3 - len(variant), 1)].rstrip()}… {variant}"


def hover_text(one: RowStats, best: bool) -> str:
    row = one.row
    lines = [f"<b>{text_of(row.label)}</b>", text_of(row.name)]
    if one.estimate is None:
        return "<br>".join([*lines, missing_text(row)])
    lines.append(f"top-1 {accuracy_text(row.accuracies(best))} %, n = {one.estimate.n}")
    lines.append(f"{COVERAGE} interval {estimate_text(one.estimate)}")
    if one.change is not None:
        lines.append(f"change {one.change.difference.mean:+z.2f}, {one.change.explanation}")
    if row.gmacs is not None:
        unit, scale = cost_unit([row])
        size = "" if row.parameters is None else f", {row.parameters / 1e6:.2f} M parameters"
        lines.append(f"{cost_text(row.gmacs * scale)} {unit}{size}")
    if row.paper is not None:
        lines.append(f"paper{'' if row.on_imagenet else ', on ImageNet'}: {row.paper.top1:.2f} %")
    return "<br>".join(lines)


def roadmap_chart(row_stats: Sequence[RowStats], best: bool) -> Chart:
    """Draw the paper's figure 2: a bar per row, the seeds as dots, the paper's accuracy on ImageNet."""
    rows = [one.row for one in row_stats]
    done = [(index, one) for index, one in enumerate(row_stats) if one.estimate is not None]
    start, end = axis_limits([value for row in rows for value in drawn_values(row, best)])
    bars = {
        "type": "bar",
        "orientation": "h",
        "name": "mean ± std",
        "y": [index for index, _ in done],
        "x": [one.estimate.mean - start for _, one in done if one.estimate],
        "base": start,
        "width": 0.72,
        "marker": {
            "color": [section(one.row).color for _, one in done],
            "pattern": {"shape": ["/" if one.row.variant else "" for _, one in done]},
        },
        "error_x": error_bars([std(one.row.accuracies(best)) or 0.0 for _, one in done]),
        "hovertext": [hover_text(one, best) for _, one in done],
        "hoverinfo": "text",
        "showlegend": False,
    }
    seeds = [(value, index + 0.2) for index, one in done for value in one.row.accuracies(best) if one.estimate]
    papers = [
        (row.paper.top1, index) for index, row in enumerate(rows) if row.on_imagenet and row.paper is not None
    ]
    missing = [
        {"x": 0, "xref": "paper", "y": index, "text": missing_text(row), "showarrow": False, "xanchor": "left"}
        for index, row in enumerate(rows)
        if not row.seeds
    ]
    layout = base_layout(
        max(SHORTEST_PLOT, 90 + ROW_HEIGHT * len(rows)),
        xaxis=axis(axis_label(best, start).replace("\n", "<br>"), range=[start, end]),
        yaxis=row_axis([shortened(row.label) for row in rows]),
        annotations=missing,
    )
    data = [bars, _dots(seeds, "a seed", "circle-open", 5)]
    return Chart("roadmap", data + ([_dots(papers, "paper", "diamond-open", 9)] if papers else []), layout)


def _dots(points: Sequence[tuple[float, float]], name: str, symbol: str, size: int) -> dict[str, Any]:
    """Return markers without a colour; the page gives them its text colour."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "marker": {"symbol": symbol, "size": size, "line": {"width": 1.3}},
        "hoverinfo": "x",
        "meta": "ink",
    }


def waterfall_chart(row_stats: Sequence[RowStats], best: bool) -> Chart | None:
    """Draw bars from each step's mean to the next, with the interval of the change; None if there is no change."""
    steps = [(one, one.change) for one in row_stats if not one.row.variant and one.change is not None]
    if not steps:
        return None
    starts = [fmean(change.before.accuracies(best)) for _, change in steps]
    levels = starts + [start + change.difference.mean for start, (_, change) in zip(starts, steps, strict=True)]
    room = max(levels) - min(levels) or 1.0
    layout = base_layout(
        max(SHORTEST_PLOT, 90 + ROW_HEIGHT * len(steps)),
        # A wide interval, as from two seeds, must not shrink the changes to nothing.
        xaxis=axis(
            f"{accuracy_title(best)},<br>{COVERAGE} interval of the change",
            range=[min(levels) - 0.6 * room, max(levels) + 0.6 * room],
        ),
        yaxis=row_axis([f"{shortened(one.row.label)} {change.difference.mean:+z.2f}" for one, change in steps]),
        barmode="overlay",
    )
    data = [_waterfall_bars(steps, verdict, best) for verdict in (GAIN, LOSS, NOT_SIGNIFICANT)]
    return Chart("waterfall", [trace for trace in data if trace["y"]], layout)


def _waterfall_bars(steps: Sequence[tuple[RowStats, Change]], verdict: str, best: bool) -> dict[str, Any]:
    chosen = [(index, one, change) for index, (one, change) in enumerate(steps) if change.verdict == verdict]
    intervals = [(change.difference.mean, change.difference.interval) for _, _, change in chosen]
    reaches = [0.0 if interval is None else interval.high - mean for mean, interval in intervals]
    return {
        "type": "bar",
        "orientation": "h",
        "name": verdict,
        "y": [index for index, _, _ in chosen],
        "x": [change.difference.mean for _, _, change in chosen],
        "base": [fmean(change.before.accuracies(best)) for _, _, change in chosen],
        "width": 0.6,
        "marker": {"color": CHANGE_COLOR[verdict], "pattern": {"shape": "/" if verdict == NOT_SIGNIFICANT else ""}},
        "error_x": error_bars(reaches),
        "hovertext": [hover_text(one, best) for _, one, _ in chosen],
        "hoverinfo": "text",
    }


def curve_chart(row_stats: Sequence[RowStats], best: bool) -> Chart | None:
    """Draw top-1 against the values of the roadmap's curve; None if no other than the step's was tried."""
    by_step = {id(one.row): one for one in row_stats}
    sizes = curve_rows([one.row for one in row_stats])
    if not sizes:
        return None
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "mean ± std",
        "x": list(sizes),
        "y": [fmean(row.accuracies(best)) for row in sizes.values()],
        "error_y": error_bars([std(row.accuracies(best)) or 0.0 for row in sizes.values()]),
        "line": {"color": BLUE},
        "marker": {"symbol": "square", "size": 8, "color": BLUE},
        "hovertext": [hover_text(by_step[id(row)], best) for row in sizes.values()],
        "hoverinfo": "text",
    }
    papers = [(size, row.paper.top1) for size, row in sizes.items() if row.on_imagenet and row.paper is not None]
    layout = base_layout(
        SHORTEST_PLOT,
        xaxis=axis(curve_name(sizes[max(sizes)].roadmap), tickvals=list(sizes)),
        yaxis=axis(accuracy_title(best).replace(", ", ",<br>", 1)),
    )
    return Chart("kernels", [line] + ([_dots(papers, "paper", "diamond-open", 9)] if papers else []), layout)
