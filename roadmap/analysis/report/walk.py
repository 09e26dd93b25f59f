"""The walk through the roadmap in the report: of each network its diagram, what it changes, accuracy and cost."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from roadmap.analysis.configurations import Setup
from roadmap.analysis.figures.layout import cost_text, cost_unit, missing_text
from roadmap.analysis.report.diagrams import draw_network
from roadmap.analysis.results import Row, step_before
from roadmap.analysis.significance import RowStats, interval_text


def draw_walk(row_stats: Sequence[RowStats], setups: Sequence[Setup | None]) -> list[dict[str, Any]]:
    """Return each row that has a plan, with its changes in layers, top-1 and cost against one other row."""
    rows = [one.row for one in row_stats]
    networks = {id(row): setup.network for row, setup in zip(rows, setups, strict=True) if setup and setup.network}
    unit, scale = cost_unit(rows)
    drawn = []
    for one in row_stats:
        row = one.row
        if id(row) not in networks:
            continue
        before = _find_base(row, rows)
        base = networks.get(id(before)) if before is not None else None
        drawn.append(
            {
                "name": f"{row.label} ({row.name})",
                "file": row.name.replace(" ", "_"),
                "against": _describe_base(before, is_drawn=base is not None),
                "facts": {
                    "what changes": _describe_choice(row),
                    "top-1": _describe_accuracy(one),
                    unit: _describe_cost(row.gmacs, before.gmacs if before else None, scale),
                    "M parameters": _describe_cost(row.parameters, before.parameters if before else None, 1e-6),
                },
                "drawing": Markup(draw_network(networks[id(row)], base)),
            }
        )
    return drawn


def _find_base(row: Row, rows: Sequence[Row]) -> Row | None:
    """Return the row of the change in top-1; if that has no result, a variant's own step in the same setting."""
    before = step_before(row, rows)
    if not row.variant or (before is not None and before.seeds):
        return before
    steps = [other for other in rows if other.step == row.step and not other.variant]
    return next((other for other in steps if other.setting == row.setting), before)


def _describe_base(before: Row | None, is_drawn: bool) -> str:
    if before is None:
        return "Nothing before it."
    unmarked = "" if is_drawn else ", of which no layers are known: the diagram marks no change"
    return f"Against {before.label} ({before.name}){unmarked}."


def _describe_choice(row: Row) -> str:
    if row.variant:
        return ", ".join(f"{axis} {value}" for axis, value in row.variant.items())
    choice = row.roadmap.choice_of(row.step)
    if choice is None:
        return row.label
    return ", ".join(f"{axis} {start} → {choice.ends[axis]}" for axis, start in choice.starts.items())


def _describe_accuracy(one: RowStats) -> str:
    if one.estimate is None:
        return missing_text(one.row)
    text = f"{one.estimate.mean:.2f} (n = {len(one.row.seeds)})"
    if one.change is None:
        return text
    difference = one.change.difference
    interval = interval_text(difference.interval, signed=True)
    return f"{text}, change {difference.mean:+z.2f}{f' ({interval})' if interval else ''}: {one.change.verdict}"


def _describe_cost(value: float | None, before: float | None, scale: float) -> str:
    if value is None:
        return "not measured"
    text = cost_text(value * scale)
    return text if not before else f"{text}, change {value / before - 1:+.1%}"
