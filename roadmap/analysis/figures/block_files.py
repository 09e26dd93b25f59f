"""Block diagrams as SVG and PNG: in the report with its classes, in a file with colours of its own."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from roadmap.analysis.figures.block import (
    GONE,
    KEPT,
    NEW,
    Box,
    Circle,
    Label,
    Picture,
    Sections,
    Shape,
    Wire,
    drawn_block,
    lay_out,
    moved,
)

INK, FAINT, FILL, PAGE = "#1d1f23", "#5c6168", "#e9edf3", "#ffffff"
COLORS = {KEPT: INK, NEW: "#005a9c", GONE: "#a34700"}
FONT = "Helvetica, Arial, sans-serif"
MARGIN, TITLE_LINE, CHARACTERS = 20, 18, 60  # pixels; characters in a line of a panel's text
DPI = 200  # of a PNG
PIXELS_PER_INCH = 96
SLIDE = 16 / 9


@dataclass(frozen=True)
class Panel:
    """A block under its step's name, with what the step changes."""

    title: str
    lines: tuple[str, ...]
    network: Sections
    before: Sections | None = None  # that it is marked against


def arrange(panels: Sequence[Panel]) -> Picture:
    """Return the panels in one row or, if there are more than four, in rows that suit a slide."""
    pictures = [_panel(panel) for panel in panels]
    width = max(one.width for one in pictures)
    height = max(one.height for one in pictures)

    def misfit(columns: int) -> float:
        places = columns * math.ceil(len(panels) / columns)
        aspect = columns**2 * width / (places * height)
        return abs(math.log(aspect / SLIDE)) + 2 * (places - len(panels)) / places

    columns = len(panels) if len(panels) <= 4 else min(range(1, len(panels) + 1), key=misfit)
    rows = math.ceil(len(panels) / columns)
    shapes = [
        moved(shape, MARGIN + place % columns * width, MARGIN + place // columns * height)
        for place, picture in enumerate(pictures)
        for shape in picture.shapes
    ]
    return Picture(columns * width + 2 * MARGIN, rows * height + 2 * MARGIN, tuple(shapes))


def _panel(panel: Panel) -> Picture:
    place, block, old = drawn_block(panel.network, panel.before)
    picture = lay_out(block, old)
    title, _, choices = panel.title.partition(",")  # a line each: all in one may be wider than the panel
    lines = [
        *textwrap.wrap(choices.replace(",", ", "), CHARACTERS),
        f"{place}, {block.label.strip()}",
        *(part for line in panel.lines for part in textwrap.wrap(line, CHARACTERS)),
    ]
    labels = [Label(0, 8, ((title, KEPT),), "start", 15, is_bold=True)]
    labels += [
        Label(0, 8 + TITLE_LINE * (place + 1), ((line, KEPT),), "start", 12) for place, line in enumerate(lines)
    ]
    top = TITLE_LINE * (len(lines) + 1)
    return Picture(
        picture.width, picture.height + top, (*labels, *(moved(shape, 0, top) for shape in picture.shapes))
    )


def svg_of(picture: Picture, label: str) -> str:
    """Return the SVG for the report, whose style sheet has its colours."""
    shapes = "".join(_svg_shape(shape, in_report=True) for shape in picture.shapes)
    return (
        f'<svg viewBox="0 0 {picture.width:g} {picture.height:g}" width="{picture.width:g}" role="img" '
        f'aria-label="{escape(label)}">{shapes}</svg>'
    )


def svg_text(picture: Picture) -> str:
    """Return a file that needs no other: text stays text, and colours are attributes, which every program reads."""
    shapes = "\n".join(_svg_shape(shape, in_report=False) for shape in picture.shapes)
    size = f'width="{picture.width:g}" height="{picture.height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {picture.width:g} {picture.height:g}" {size} '
        f'font-family="{FONT}">\n<rect {size} fill="{PAGE}"/>\n{shapes}\n</svg>\n'
    )


def write_svg(picture: Picture, path: Path) -> None:
    """Write the picture as an SVG file."""
    path.write_text(svg_text(picture), encoding="utf-8")


def _svg_shape(shape: Shape, in_report: bool) -> str:
    if isinstance(shape, Box):
        own = f'class="{shape.kind}"' if in_report else _box_attributes(shape.kind)
        place = f'x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}"'
        return f'<rect {own} {place} rx="4"/>'
    if isinstance(shape, Circle):
        own = f'class="{KEPT}"' if in_report else _box_attributes(KEPT)
        return f'<circle {own} cx="{shape.x:g}" cy="{shape.y:g}" r="{shape.radius:g}"/>'
    if isinstance(shape, Wire):
        own = 'class="wire"' if in_report else f'fill="none" stroke="{FAINT}" stroke-width="1.3"'
        return f'<path {own} d="M{" L".join(f"{x:g} {y:g}" for x, y in shape.points)}"/>'
    return _svg_label(shape, in_report)


def _box_attributes(kind: str) -> str:
    if kind == GONE:
        return f'fill="{PAGE}" stroke="{COLORS[GONE]}" stroke-dasharray="4 3"'
    if kind == NEW:
        return f'fill="{FILL}" stroke="{COLORS[NEW]}" stroke-width="2.5"'
    return f'fill="{FILL}" stroke="{FAINT}"'


def _svg_label(label: Label, in_report: bool) -> str:
    def style(kind: str) -> str:
        if in_report:
            return f'class="{kind}"'
        return f'fill="{COLORS[kind]}"' + (' text-decoration="line-through"' if kind == GONE else "")

    (first, kind), *rest = label.words
    tail = "".join(f"<tspan {style(own)}>{escape(text)}</tspan>" for text, own in rest)
    size = "" if in_report else f' font-size="{label.size:g}"' + (' font-weight="bold"' if label.is_bold else "")
    # The offset is the half height of small letters: not every program knows dominant-baseline.
    place = f'x="{label.x:g}" y="{label.y:g}" text-anchor="{label.anchor}" dy="0.35em"{size}'
    return f"<text {style(kind)} {place}>{escape(first)}{tail}</text>"


def write_png(picture: Picture, path: Path) -> None:
    """Draw the picture with matplotlib."""
    from roadmap.analysis.figures.matplotlib_settings import drawing  # before matplotlib

    # isort: split
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle as RoundPatch
    from matplotlib.patches import FancyBboxPatch

    with drawing(path.name):
        figure = Figure(figsize=(picture.width / PIXELS_PER_INCH, picture.height / PIXELS_PER_INCH))
        FigureCanvasAgg(figure)  # measures texts
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, picture.width)
        axes.set_ylim(picture.height, 0)
        axes.set_axis_off()
        for shape in picture.shapes:
            if isinstance(shape, Wire):
                axes.plot(*zip(*shape.points, strict=True), color=FAINT, lw=1, zorder=1)
            elif isinstance(shape, Circle):
                axes.add_patch(RoundPatch((shape.x, shape.y), shape.radius, fc=FILL, ec=FAINT, lw=0.8, zorder=2))
            elif isinstance(shape, Box):
                fill = PAGE if shape.kind == GONE else FILL
                line = FAINT if shape.kind == KEPT else COLORS[shape.kind]
                dashes = "--" if shape.kind == GONE else "-"
                corners = "round,pad=0,rounding_size=4"
                place = (shape.x, shape.y), shape.width, shape.height
                width = 1.9 if shape.kind == NEW else 0.8
                axes.add_patch(
                    FancyBboxPatch(*place, boxstyle=corners, fc=fill, ec=line, lw=width, ls=dashes, zorder=2)
                )
            else:
                _draw_label(figure, axes, shape)
        figure.savefig(path, dpi=DPI, format="png")


def _draw_label(figure: Any, axes: Any, label: Label) -> None:
    """Draw the words one after the other; matplotlib has one colour in a text."""
    x = label.x
    for text, kind in label.words:
        drawn = axes.text(
            x,
            label.y,
            text,
            color=COLORS[kind],
            fontsize=label.size * 72 / PIXELS_PER_INCH * 0.9,  # its font is wider than a browser's
            fontweight="bold" if label.is_bold else "normal",
            ha={"start": "left", "middle": "center", "end": "right"}[label.anchor],
            va="center_baseline",
            zorder=3,
        )
        if len(label.words) > 1:
            extent = drawn.get_window_extent()
            x += extent.width / figure.dpi * PIXELS_PER_INCH
