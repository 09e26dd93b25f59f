"""The paper's figure 2, and the values of one choice as a curve, drawn from rows.

Each figure is written as PNG (200 dpi), SVG and PDF. Text stays text, and the files' bytes depend only on the rows.
RunError: there is nothing to draw.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from roadmap.analysis.figures.matplotlib_settings import ShownFigure, drawing  # before matplotlib

# isort: split
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from roadmap.analysis.figures import layout, style
from roadmap.analysis.results import Row
from roadmap.analysis.stats import std
from roadmap.errors import RunError

SECTION_LETTERS = 13  # in a line of a section's name; a longer one is drawn smaller
WIDTH = 6.5  # inches, the text width of a paper
ROW_HEIGHT = 0.215  # inches
TOP, BOTTOM = 0.72, 0.84  # inches above and below the rows
CURVE_HEIGHT = 3.1  # inches
# Inches from the left edge: section, its stripe, labels, the bars, accuracies (right), n (centre), cost.
SECTION_X, STRIPE_X, LABEL_X = 0.06, 0.86, 0.97
BARS_X, BARS_END, ACCURACY_X, SEEDS_X = 2.46, 4.52, 5.32, 5.52
COST_X, COST_END, COST_TEXT_X = 5.72, 6.08, 6.44
# Fractions of a row: a bar, and the places of the paper's mark and the seeds, clear of the error bar in the middle.
BAR_HEIGHT, PAPER_Y, SEEDS_Y = 0.74, -0.22, 0.25
MEAN, ONE_SEED = "mean ± std", "one seed"  # in legends
KINDS = ("png", "svg", "pdf")  # of files that a figure is written as
MOST_DOTS = 10  # seeds; more dots would overlap, and the error bar shows them better


def draw_roadmap(rows: Sequence[Row], path_stem: Path, best: bool = False) -> list[Path]:
    """Write figure 2, as `roadmap_figure` draws it.

    Returns the files written: `path_stem` with .png, .svg and .pdf.
    """
    if not any(row.top1 for row in rows):
        raise RunError(f"{path_stem}: no finished run to draw")
    with drawing(path_stem.name):
        return save(roadmap_figure(rows, best), path_stem)


def roadmap_figure(rows: Sequence[Row], best: bool = False) -> Figure:
    """Draw figure 2: a bar per row, mean top-1 and standard deviation, seeds, cost; the paper's top-1 on ImageNet.

    `best` draws the best epoch's accuracy, picked on the validation set, instead of the last one's.
    """
    heights = layout.positions(rows)
    figure = ShownFigure(figsize=(WIDTH, TOP + (heights[-1] + 1) * ROW_HEIGHT + BOTTOM))
    page = _panel(figure, heights, 0, WIDTH)
    page.set_axis_off()
    page.set_xlim(0, WIDTH)
    _draw_sections(page, rows, heights)
    _draw_bars(_panel(figure, heights, BARS_X, BARS_END), rows, heights, best)
    _draw_costs(_panel(figure, heights, COST_X, COST_END), page, rows, heights)
    _write_columns(page, rows, heights, best)
    draw_title(figure, rows, layout.seeds_text(rows))
    _draw_legend(figure, rows)
    return figure


def draw_bars(axes: Axes, rows: Sequence[Row], best: bool = False) -> None:
    """Draw only the bars of figure 2, with the steps' labels, into any axes."""
    heights = layout.positions(rows)
    axes.set_ylim(heights[-1] + 0.5, -0.5)
    axes.set_yticks(heights, [layout.row_label(row.label) for row in rows], fontsize=7.5)
    axes.spines[["top", "right"]].set_visible(False)
    _draw_bars(axes, rows, heights, best)


def _panel(figure: Figure, heights: Sequence[float], left: float, right: float) -> Axes:
    """Add axes between two distances from the left edge in inches; y counts rows from the top."""
    height = figure.get_figheight()
    axes = figure.add_axes(
        (left / WIDTH, BOTTOM / height, (right - left) / WIDTH, (height - TOP - BOTTOM) / height)
    )
    axes.set_ylim(heights[-1] + 0.5, -0.5)
    axes.set_yticks([])
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _draw_sections(page: Axes, rows: Sequence[Row], heights: Sequence[float]) -> None:
    """Draw the names of the paper's sections at the left, each with a stripe along its rows."""
    start = 0
    for index, row in enumerate(rows):
        if index + 1 < len(rows) and layout.section(rows[index + 1]) == layout.section(row):
            continue
        top, bottom = heights[start] - 0.42, heights[index] + 0.42
        page.add_patch(Rectangle((STRIPE_X, top), 0.045, bottom - top, color=layout.section(row).color, lw=0))
        name = layout.section(row).name
        longest = max(map(len, name.split("\n")))
        size = style.SECTION["fontsize"] * min(1, SECTION_LETTERS / longest)
        page.text(SECTION_X, (top + bottom) / 2, name, **style.SECTION | {"fontsize": size})
        start = index + 1


def _draw_bars(axes: Axes, rows: Sequence[Row], heights: Sequence[float], best: bool) -> None:
    start, end = layout.axis_limits([value for row in rows for value in layout.drawn_values(row, best)])
    axes.set_xlim(start, end)
    axes.set_xlabel(layout.axis_label(best, start), fontsize=7, linespacing=1.3)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", color=style.GRID, lw=0.5)
    axes.set_axisbelow(True)
    for row, y in zip(rows, heights, strict=True):
        values = row.accuracies(best)
        if values:
            _draw_bar(axes, row, y, values)
        else:
            axes.text(0.02, y, layout.missing_text(row), transform=axes.get_yaxis_transform(), **style.REMARK)
        if row.on_imagenet and row.paper is not None:
            axes.plot(row.paper.top1, y + PAPER_Y, zorder=5, clip_on=False, **style.PAPER_MARK)
    for number, row in enumerate(_references(rows)):
        axes.axvline(fmean(row.accuracies(best)), **style.reference_line(number))


def _draw_bar(axes: Axes, row: Row, y: float, values: tuple[float, ...]) -> None:
    average, spread = fmean(values), std(values)
    axes.barh(y, average, BAR_HEIGHT, **style.bar_style(layout.section(row).color, adopted=not row.variant))
    if spread is not None:
        axes.errorbar(average, y, xerr=spread, zorder=3, **style.ERROR_BAR)
    if 1 < len(values) <= MOST_DOTS:
        axes.plot(values, [y + SEEDS_Y] * len(values), zorder=4, clip_on=False, **style.SEED_DOT)


def _draw_costs(axes: Axes, page: Axes, rows: Sequence[Row], heights: Sequence[float]) -> None:
    unit, scale = layout.cost_unit(rows)
    page.text((COST_X + COST_TEXT_X) / 2, -0.7, unit, **style.HEADING)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    for row, y in zip(rows, heights, strict=True):
        if row.gmacs is not None:
            axes.barh(y, row.gmacs * scale, 0.4, **style.bar_style(style.GRAY, adopted=not row.variant))
            page.text(COST_TEXT_X, y, layout.cost_text(row.gmacs * scale), ha="right", **style.NUMBER)
    axes.set_xlim(left=0)


def _write_columns(page: Axes, rows: Sequence[Row], heights: Sequence[float], best: bool) -> None:
    page.text(ACCURACY_X - 0.32, -0.7, "top-1 (%)", **style.HEADING)
    page.text(SEEDS_X, -0.7, "n", **style.HEADING)
    for row, y in zip(rows, heights, strict=True):
        label = layout.row_label(row.label)
        ink = style.INK if row.seeds else style.FAINT
        size = 6 if "\n" in label else 7.5
        slant = "italic" if row.variant else "normal"
        page.text(LABEL_X, y, label, va="center", fontsize=size, style=slant, color=ink, linespacing=1.0)
        page.text(ACCURACY_X, y, layout.accuracy_text(row.accuracies(best)), ha="right", color=ink, **style.NUMBER)
        page.text(SEEDS_X, y, str(len(row.seeds)), ha="center", color=style.FAINT, **style.NUMBER)


def _references(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.reference is not None and row.seeds]


def _draw_legend(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw one entry for each kind of mark in the figure."""
    most = max(len(row.seeds) for row in rows)
    entries: list[Artist] = [Patch(facecolor=style.GRAY, label="mean" if most > 1 else ONE_SEED)]
    if most > 1:
        entries.append(Line2D([], [], color=style.INK, lw=0.9, marker="|", ms=5, label="± std"))
    if any(1 < len(row.seeds) <= MOST_DOTS for row in rows):
        entries.append(Line2D([], [], label="a seed", **style.SEED_DOT))
    if any(row.variant and row.seeds for row in rows):
        entries.append(Patch(label="tried, not adopted", **style.bar_style(style.GRAY, adopted=False)))
    entries += [
        Line2D([], [], label=row.label, **style.reference_line(number))
        for number, row in enumerate(_references(rows))
    ]
    if any(row.on_imagenet and row.paper is not None for row in rows):
        entries.append(Line2D([], [], label="paper", **style.PAPER_MARK))
    draw_legend(figure, entries, handlelength=1.8)


def draw_values(rows: Sequence[Row], path_stem: Path, best: bool = False) -> list[Path]:
    """Draw top-1 against the values of the roadmap's curve, with the cost beneath; the paper's curve on ImageNet.

    Returns the files written: none if the rows hold no comparison of its values.
    """
    sizes = layout.curve_rows(rows)
    if not sizes:
        return []
    tried = list(sizes.values())
    with drawing(path_stem.name):
        figure = Figure(figsize=(WIDTH, CURVE_HEIGHT))
        axes = figure.add_axes((0.7 / WIDTH, 0.98 / CURVE_HEIGHT, 1 - 0.9 / WIDTH, 1 - 1.66 / CURVE_HEIGHT))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=style.GRID, lw=0.5)
        _draw_value_curve(axes, sizes, best)
        _label_values(axes, sizes, best)
        draw_title(figure, tried, f"{layout.curve_name(tried[0].roadmap)}; {layout.seeds_text(tried)}")
        _draw_curve_legend(axes)
        if note := layout.stand_in_note(sizes):
            figure.text(0.7 / WIDTH, 0.1 / CURVE_HEIGHT, note, fontsize=6.5, color=style.FAINT)
        return save(figure, path_stem)


def _draw_value_curve(axes: Axes, sizes: dict[int, Row], best: bool) -> None:
    values = {size: row.accuracies(best) for size, row in sizes.items()}
    means = [fmean(one) for one in values.values()]
    line: dict[str, Any] = {"color": layout.section(sizes[max(sizes)]).color, "lw": 1.3, "marker": "s", "ms": 4}
    if any(len(one) > 1 for one in values.values()):
        spreads = [std(one) or 0.0 for one in values.values()]
        axes.errorbar(list(values), means, yerr=spreads, capsize=3, label=MEAN, **line)
    else:
        axes.plot(list(values), means, label=ONE_SEED, **line)
    seeds = [(size + 0.2, value) for size, one in values.items() if 1 < len(one) <= MOST_DOTS for value in one]
    if seeds:
        axes.plot(*zip(*seeds, strict=True), zorder=4, label="a seed (beside its mean)", **style.SEED_DOT)
    papers = [(size, row.paper.top1) for size, row in sizes.items() if row.on_imagenet and row.paper is not None]
    if papers:
        axes.plot(*zip(*papers, strict=True), zorder=5, label="paper", **style.PAPER_CURVE)


def _draw_curve_legend(axes: Axes) -> None:
    """Draw the legend above the axes, where no curve overlaps it."""
    entries = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    # matplotlib lists error bars last, but the mean is the figure's main mark.
    names = sorted(entries, key=lambda name: name not in (MEAN, ONE_SEED))
    axes.legend(
        [entries[name] for name in names],
        names,
        loc="lower right",
        bbox_to_anchor=(1, 0.98),
        ncols=len(names),
        fontsize=7,
        frameon=False,
    )


def _label_values(axes: Axes, sizes: dict[int, Row], best: bool) -> None:
    """Write accuracy and cost under each size, where no mark can cover them."""
    unit, scale = layout.cost_unit(sizes.values())
    labels = [
        f"{size}\n{layout.accuracy_text(row.accuracies(best))}"
        + ("" if row.gmacs is None else f"\n{layout.cost_text(row.gmacs * scale)} {unit}")
        for size, row in sizes.items()
    ]
    axes.set_xticks(list(sizes), labels, fontsize=7, linespacing=1.3)
    axes.set_xlim(min(sizes) - 0.7, max(sizes) + 0.7)
    axes.set_xlabel(f"{layout.curve_name(sizes[max(sizes)].roadmap)}, with top-1 (%) and cost", fontsize=7)
    values = [value for row in sizes.values() for value in layout.drawn_values(row, best)]
    middle = (min(values) + max(values)) / 2
    reach = max(0.6 * (max(values) - min(values)), 0.5)  # at least one point, so that noise looks small
    axes.set_ylim(middle - reach, middle + reach)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_ylabel(layout.accuracy_title(best).replace(", ", ",\n", 1), fontsize=7)
    axes.tick_params(axis="y", labelsize=7)


def draw_title(figure: Figure, rows: Sequence[Row], claim: str, name: str | None = None) -> None:
    """Draw the experiment's name, or `name`, above the rows' setting and a claim."""
    height, left, name = figure.get_figheight(), 0.06 / WIDTH, name or rows[0].experiment
    size = min(9.0, 9.0 * 60 / len(name))  # a name has no spaces to break it at
    figure.text(left, 1 - 0.08 / height, name, va="top", fontsize=size, fontweight="bold")
    text = textwrap.fill(f"{layout.setting_text(rows)}; {claim}", 105)
    figure.text(left, 1 - 0.26 / height, text, va="top", fontsize=7, color=style.FAINT, linespacing=1.1)


def draw_legend(figure: Figure, entries: Sequence[Artist], **more: Any) -> None:
    """Draw the entries in one line at the bottom."""
    place = (0.5, 0.04 / figure.get_figheight())
    look: dict[str, Any] = {"ncols": len(entries), "fontsize": 7, "frameon": False, "columnspacing": 1.4, **more}
    figure.legend(handles=entries, loc="lower center", bbox_to_anchor=place, **look)


def save(figure: Figure, path_stem: Path) -> list[Path]:
    """Write PNG (200 dpi), SVG and PDF, whose bytes depend only on the drawing."""
    # Not with_suffix: an experiment's name may contain a dot.
    paths = [path_stem.with_name(f"{path_stem.name}.{kind}") for kind in KINDS]
    figure.savefig(paths[0], dpi=200)
    figure.savefig(paths[1], metadata={"Date": None})
    figure.savefig(paths[2], metadata={"CreationDate": None})
    return paths
