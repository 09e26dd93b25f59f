"""Content and layout of figures as plain values: sections, positions, limits and texts. Draws nothing."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from roadmap.analysis.results import Row, curve_value, range_text
from roadmap.analysis.stats import mean, std
from roadmap.config.roadmaps import Roadmap

LAST_EPOCH = "top-1 accuracy (%), last epoch"
BEST_EPOCH = "top-1 accuracy (%), best epoch, picked on the validation set"
ONE_SEED = "n = 1 seed"
LABEL_WIDTH, SMALL_LABEL_WIDTH = 25, 28  # characters in a row's label: of a single line, of each of two lines
SECTION_GAP = 0.45  # of a row


@dataclass(frozen=True)
class Section:
    """A section of a roadmap and its colour: muted, and alternately dark and light, to differ in grayscale too."""

    name: str
    color: str


FURTHER = Section("Further", "#a9805a")
REFERENCE = Section("Reference", "#a6a6a6")


def section(row: Row) -> Section:
    """Return the section of the roadmap that a row belongs to; FURTHER for a user's own steps."""
    if row.reference is not None:
        return REFERENCE
    found = row.roadmap.section_of(row.roadmap.steps[0] if row.is_original else row.step)
    return FURTHER if found is None else Section(found.label, found.color)


def positions(rows: Sequence[Row]) -> list[float]:
    """Return the height of each row's centre, in rows from the top, with a gap between sections."""
    heights = [0.0]
    for above, row in pairwise(rows):
        gap = SECTION_GAP if section(row) != section(above) else 0.0
        heights.append(heights[-1] + 1 + gap)
    return heights


def axis_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return start and end of an axis of percents: it starts at 0, or a third of the range below the lowest value.

    A range below one point counts as one, so that seed noise does not look like a difference. A single value has
    nothing to differ from, and its axis starts at 0.
    """
    lowest, highest = min(values), max(values)
    if len(values) == 1:
        return 0.0, max(100.0, highest)
    extent = max(highest - lowest, 1.0)
    tick = 10 ** math.floor(math.log10(extent)) / 2
    start = math.floor((lowest - extent / 3) / tick) * tick
    if start < 0.3 * highest:  # cutting the axis would save little of the bar
        start = 0.0
    return start, max(highest, min(highest + extent / 20, 100.0))


def drawn_values(row: Row, best: bool) -> list[float]:
    """Return every accuracy that the row puts on the axis, in percent."""
    values = list(row.accuracies(best))
    average, spread = mean(values), std(values)
    if average is not None and spread is not None:
        values += [average - spread, average + spread]
    if row.on_imagenet and row.paper is not None:
        values.append(row.paper.top1)
    return values


def accuracy_title(best: bool) -> str:
    """Return what an axis of top-1 shows."""
    return BEST_EPOCH if best else LAST_EPOCH


def axis_label(best: bool, start: float) -> str:
    text = accuracy_title(best)
    return f"{text}\naxis cut: starts at {start:g}, not at 0" if start > 0 else text


def row_label(label: str) -> str:
    """Return the label in at most two lines; a longer one keeps its beginning and end, which names the variant."""
    if len(label) <= LABEL_WIDTH:
        return label
    lines = textwrap.wrap(label, SMALL_LABEL_WIDTH)
    if len(lines) == 1:  # a single line would be drawn large, and overlap the bar
        lines = textwrap.wrap(label, LABEL_WIDTH)
    if len(lines) > 2:
        backwards = textwrap.wrap(label[::-1], SMALL_LABEL_WIDTH - 2)
        lines = [lines[0], f"… {backwards[0][::-1]}"]
    return "\n".join(lines)


def accuracy_text(values: Sequence[float]) -> str:
    """Return `80.57 ± 0.14`, or `80.57` for one seed."""
    average, spread = mean(values), std(values)
    if average is None:
        return "–"
    return f"{average:.2f}" if spread is None else f"{average:.2f} ± {spread:.2f}"


def missing_text(row: Row) -> str:
    """Describe a row without a finished run."""
    counts = {"failed": row.failed, "unfinished": row.unfinished}
    known = [f"{count} {state}" for state, count in counts.items() if count]
    return "no finished run" + (f" ({', '.join(known)})" if known else "")


def cost_unit(rows: Iterable[Row]) -> tuple[str, float]:
    """Return the unit of multiply-accumulates that suits the rows, and its number per GMAC."""
    largest = max((row.gmacs for row in rows if row.gmacs is not None), default=0.0)
    return ("GMACs", 1.0) if largest >= 0.1 else ("MMACs", 1e3)


def cost_text(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def seeds_text(rows: Iterable[Row]) -> str:
    """Return `mean ± standard deviation over n = 1 to 3 seeds`, or `n = 1 seed`."""
    count = count_text(rows)
    return count if count == ONE_SEED else f"mean ± standard deviation over {count}"


def count_text(rows: Iterable[Row]) -> str:
    """Return `n = 1 to 3 seeds`, for the rows that have a result."""
    number = range_text(len(row.seeds) for row in rows if row.seeds)
    return ONE_SEED if number == "1" else f"n = {number} seeds"


def setting_text(rows: Sequence[Row]) -> str:
    """Return regime, data and recipe of all rows; the label of `original` already names its recipe."""
    parts = []
    for name in ("regime", "data", "recipe"):
        values = {getattr(row, name) for row in rows if name != "recipe" or not row.is_original}
        values = values or {getattr(row, name) for row in rows}
        parts.append(f"{name} {' and '.join(sorted(values))}")
    return ", ".join(parts)


def capitalized(text: str) -> str:
    """Return the text with a capital at its start; names of the user keep theirs, unlike by `str.capitalize`."""
    return text[:1].upper() + text[1:]


def curve_name(roadmap: Roadmap) -> str:
    """Return the name of the roadmap's curve, such as "kernel size"; empty if it has none."""
    choice = roadmap.choice_of(roadmap.curve or "")
    return choice.axis.rpartition(".")[2].replace("_", " ") if choice else ""


def curve_rows(rows: Sequence[Row]) -> dict[int, Row]:
    """Return the finished row per value of the roadmap's curve, such as the kernel size.

    None unless a value beside the steps' was tried. The step before stands in for the start value unless that was
    run explicitly, or the curve's step changes something else too. Rows in another setting (regime, data, recipe)
    than the first such row's are left out.
    """
    found: dict[int, Row] = {}
    choice = rows[0].roadmap.choice_of(rows[0].roadmap.curve or "") if rows else None
    if choice is None or not choice.start.isdecimal():
        return {}
    before = rows[0].roadmap.steps[rows[0].roadmap.steps.index(choice.step) - 1]
    tried = [row for row in rows if row.top1 and curve_value(row) is not None]
    stand_in = [row for row in rows if row.top1 and row.step == before and not row.variant]
    if len(choice.axes) > 1:  # with the start value, the step is not the step before
        stand_in = []
    for row in tried + stand_in:
        value = curve_value(row)
        size = int(choice.start) if value is None else value
        if row.setting == (tried + stand_in)[0].setting and size not in found:
            found[size] = row
    compared = len(found) > 1 and any(row.variant for row in found.values())
    return dict(sorted(found.items())) if compared else {}


def stand_in_note(sizes: dict[int, Row]) -> str:
    """Return which of the values of `curve_rows` is the run of the step before; empty if none is."""
    shared = [(size, row.step) for size, row in sizes.items() if row.step != row.roadmap.curve]
    return "".join(f"{size} is the run of {step}, which is the same network." for size, step in shared)
