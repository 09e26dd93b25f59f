"""Figure of the changes in the paper beside the same changes in one experiment or several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roadmap.analysis.figures.matplotlib_settings import drawing  # before matplotlib

# isort: split
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from roadmap.analysis.figures import style
from roadmap.analysis.figures.ablation import draw_points_frame
from roadmap.analysis.figures.layout import accuracy_title, count_text, row_label
from roadmap.analysis.figures.roadmap import WIDTH, draw_title, save
from roadmap.analysis.results import Row
from roadmap.analysis.stats import COVERAGE
from roadmap.analysis.transfer import TransferredChange, find_transfer
from roadmap.errors import RunError

MARK_HEIGHT, ROW_GAP = 0.125, 0.1  # inches, of a mark with its interval, and between two changes
TOP, BOTTOM, LEFT, RIGHT = 0.52, 0.62, 1.62, 0.2  # inches beside the marks
LEGEND_LINE = 0.16  # inches, of each experiment in the legend
DIAMOND = style.MARKERS.index("D")  # the paper's
MOST_EXPERIMENTS = len(style.MARKERS) - 1
PAPER_LINE: dict[str, Any] = {"color": style.GRAY, "lw": 2.6, "solid_capstyle": "butt", "zorder": 2}

Steps = tuple[int, int]
Changes = dict[Steps, TransferredChange]


def draw_transfer(experiments: Sequence[Sequence[Row]], path_stem: Path, best: bool = False) -> list[Path]:
    """Draw a row per change: the paper's as a bar from zero, each experiment's as a mark with its 95% interval.

    A mark is filled if the change is significant. `best` draws the best epoch's accuracy, picked on the validation
    set, instead of the last one's.

    Returns:
        The files written: none if no experiment has two steps of the paper.

    Raises:
        RunError: more experiments than a reader can distinguish, or they have other steps or published results.
    """
    found = [(rows, {one.steps: one for one in find_transfer(rows, best)}) for rows in experiments]
    found = [(rows, changes) for rows, changes in found if changes]
    if not found:
        return []
    if len(found) > MOST_EXPERIMENTS:
        raise RunError(f"{path_stem}: {len(found)} experiments in one figure; name at most {MOST_EXPERIMENTS}")
    _check_published(found, path_stem)
    labels = _label_rows([changes for _, changes in found])
    marks = len(found) + 1
    bottom = BOTTOM + LEGEND_LINE * marks
    height = TOP + (MARK_HEIGHT * marks + ROW_GAP) * len(labels) + bottom
    with drawing(path_stem.name):
        figure = Figure(figsize=(WIDTH, height))
        size = 1 - (LEFT + RIGHT) / WIDTH, 1 - (TOP + bottom) / height
        axes = figure.add_axes((LEFT / WIDTH, bottom / height, *size))
        draw_points_frame(axes, list(labels.values()))
        axes.set_xlabel(f"points of {accuracy_title(best)}, against the step before", fontsize=7)
        entries = _draw_marks(axes, list(labels), found)
        _draw_heading(figure, [changes for _, changes in found])
        figure.legend(
            handles=entries,
            loc="lower left",
            bbox_to_anchor=(LEFT / WIDTH, 0.02 / height),
            fontsize=7,
            frameon=False,
        )
        return save(figure, path_stem)


def _check_published(found: Sequence[tuple[Sequence[Row], Changes]], path_stem: Path) -> None:
    """Raise RunError unless the steps of one place have one name and one published top-1 in all experiments."""
    first: dict[int | None, Row] = {}
    for row in (row for _, changes in found for one in changes.values() for row in (one.before, one.after)):
        other = first.setdefault(row.step_index, row)
        if (other.step, _published_top1(other)) != (row.step, _published_top1(row)):
            raise RunError(
                f"{path_stem}: one bar can't be the paper's for all experiments: step {row.step_index} is "
                f"{_describe_published(other)}, and {_describe_published(row)}. Draw them by a command for each"
            )


def _published_top1(row: Row) -> tuple[str, float]:
    """Return the regime and the top-1 in percent that the paper has for a step of a change."""
    assert row.paper is not None  # find_transfer returns no others
    return row.paper.regime, row.paper.top1


def _describe_published(row: Row) -> str:
    regime, top1 = _published_top1(row)
    return f"{row.step} in {row.experiment} (published for {regime}: {top1:.2f} %)"


def _label_rows(found: Sequence[Changes]) -> dict[Steps, str]:
    """Return the label of each change that an experiment has: steps in their order, then first-to-last pairs."""
    changes = {steps: one for one_experiment in reversed(found) for steps, one in one_experiment.items()}
    labels = {}
    for first, last in sorted(changes, key=lambda steps: (steps[1] - steps[0] > 1, steps[1], steps[0])):
        own = row_label(f"{last} {changes[first, last].after.label}")
        labels[first, last] = own if last - first == 1 else f"steps {first + 1} to {last} together"
    return labels


def _draw_marks(axes: Axes, rows: Sequence[Steps], found: Sequence[tuple[Sequence[Row], Changes]]) -> list[Line2D]:
    """Draw the paper's bar above the experiments' marks in each row; return the legend entries."""
    apart = MARK_HEIGHT / (MARK_HEIGHT * (len(found) + 1) + ROW_GAP)  # of a row
    top = -apart * len(found) / 2
    papers = {steps: one.paper for _, changes in found for steps, one in changes.items()}
    for row, steps in enumerate(rows):
        axes.plot([0, papers[steps]], [row + top] * 2, **PAPER_LINE)
        axes.plot(papers[steps], row + top, zorder=3, **style.PAPER_MARK | {"mfc": "white"})
    entries = [Line2D([], [], label="paper, on ImageNet", **style.PAPER_MARK)]
    for number, (experiment, changes) in enumerate(found):
        marks = style.line_style(number + (number >= DIAMOND)) | {"ls": "none"}
        for steps, one in changes.items():
            y = rows.index(steps) + top + apart * (number + 1)
            interval = one.measured.interval
            if interval is not None:
                axes.plot([interval.low, interval.high], [y, y], color=marks["color"], lw=1)
            fill = marks["color"] if one.significant else "white"
            axes.plot(one.measured.mean, y, zorder=3, **marks | {"mfc": fill})
        entries.append(Line2D([], [], label=_describe(experiment, changes), **marks))
    return entries


def _describe(rows: Sequence[Row], changes: Changes) -> str:
    """Return, e.g., `cifar10-stride4, n = 3 seeds: 8 of 12 changes have the paper's sign`."""
    single = [one for one in changes.values() if one.steps[1] - one.steps[0] == 1]
    agree = sum(one.same_sign for one in single)
    signs = f": {agree} of {len(single)} changes have the paper's sign" if single else ""
    return f"{rows[0].experiment}, {count_text(_compared_rows(changes))}{signs}"


def _compared_rows(changes: Changes) -> list[Row]:
    return [row for one in changes.values() for row in (one.before, one.after)]


def _draw_heading(figure: Figure, experiments: Sequence[Changes]) -> None:
    rows = [row for changes in experiments for row in _compared_rows(changes)]
    has_intervals = any(one.measured.interval for changes in experiments for one in changes.values())
    claim = "changes" + f" with {COVERAGE} intervals; filled: significant (Holm)" * has_intervals
    draw_title(figure, rows, claim, "What transfers" if len(experiments) > 1 else None)
