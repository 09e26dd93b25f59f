"""Block diagrams in the style of the paper's figures 3 and 4, drawn as SVG from a network's description.

Differences from the step before are marked: new parts with `+` and a thick frame, removed parts with `-` and struck
through. Colours are the page's, so one drawing works on a light page, on a dark page and on paper.
"""

import math
from collections.abc import Sequence
from html import escape

from roadmap.model.describe import HEADER, LayerGroup, LayerRow, Line, Section, compare_lines, show_lines

Sections = tuple[Section, ...]

# Pixels. The shortcut runs left of the boxes; a box is wider if it has more channels.
CENTER, WIDEST, NARROWEST, BOX, GAP, TOP = 240, 220, 126, 26, 26, 34
SHORTCUT_X, LINE = 112, 16
WIDTH = 400
SAME = " "


def draw_network(network: Sections, before: Sections | None) -> str:
    """Return HTML: the sections as a row of cards, the block as SVG, and all layers as text to unfold."""
    place, block, old_block = _drawn_block(network, before)
    cards = "".join(_card(section, before[index] if before else None) for index, section in enumerate(network))
    svg = _draw_block(block, _marked(block, old_block))
    caption = f"{place}, {block.label.strip()}"
    return (
        f'<ol class="strip">{cards}</ol>'
        f'<figure class="block">{svg}<figcaption>{escape(caption)}</figcaption></figure>'
        f"<details><summary>all layers</summary><pre>{_listing(network, before)}</pre></details>"
    )


def typical_block(network: Sections) -> tuple[str, LayerGroup]:
    """Return the first stage that repeats a block, by name, and that block; a stage's first block is special."""
    stages = [section for section in network if section.blocks]
    repeated = [stage for stage in stages if stage.blocks[-1].label.strip() != "block 1"]
    stage = (repeated or stages)[0]
    return stage.name, stage.blocks[-1]


def _drawn_block(network: Sections, before: Sections | None) -> tuple[str, LayerGroup, LayerGroup | None]:
    """Return a stage, a block of it and its counterpart: the typical block or, if only others differ, the first."""
    place, block = typical_block(network)
    if before is None:
        return place, block, None
    old = typical_block(before)[1]
    if old.rows == block.rows:
        for new_stage, old_stage in zip(network, before, strict=False):
            pairs = zip(reversed(new_stage.blocks), reversed(old_stage.blocks), strict=False)
            for group, counterpart in reversed(list(pairs)):
                if group.rows != counterpart.rows:
                    return new_stage.name, group, counterpart
    return place, block, old


def _marked(block: LayerGroup, before: LayerGroup | None) -> list[Line]:
    """Return the block's rows in order, merged with the removed rows of the step before."""
    if before is None:
        return [Line(SAME, row) for row in block.rows]
    old, new = (Section("block", "block", (), (LayerGroup("", group.rows),)) for group in (before, block))
    if old == new:
        return [Line(SAME, row) for row in block.rows]
    return [line for line in compare_lines([old], [new]) if not line.is_title and line.row != LayerRow("")]


def _card(section: Section, before: Section | None) -> str:
    """Return a section's title and its layers outside of blocks, with the changes marked."""
    new = Section(section.name, section.title, section.layers)
    old = None if before is None else Section(before.name, before.title, before.layers)
    same = old is None or old == new
    lines = show_lines([new]) if old is None or same else compare_lines([old], [new])
    # A stage that differs only in its blocks is marked too; the block's drawing shows how.
    inside = before is not None and section.blocks != before.blocks
    shown = "".join(_card_line(line) for line in lines)
    note = '<span class="new">+ blocks differ</span>' if inside and same else ""
    return f'<li class="{"same" if same and not inside else "changed"}">{shown}{note}</li>'


def _card_line(line: Line) -> str:
    text = line.row.place if line.is_title else _words(line.row)
    kind = {"+": "new", "-": "gone"}.get(line.mark, "kept")
    tag = "b" if line.is_title else "span"
    mark = "" if line.mark == SAME else f"{line.mark} "
    return f'<{tag} class="{kind}">{escape(mark + text)}</{tag}>' if text.strip() else ""


def _words(row: LayerRow) -> str:
    """Return a row in words: `downsampling 2x2, 96 -> 192, stride 2, LN`."""
    stride = f"stride {row.stride}" if row.stride not in ("", "1") else ""
    size = f"{row.place.strip().removeprefix('+ ')} {row.kernel}".strip()
    return ", ".join(filter(None, [size, row.channels.strip(), stride, row.then]))


def _listing(network: Sections, before: Sections | None) -> str:
    lines = show_lines(network) if before is None else compare_lines(before, network)
    kinds = {"+": "new", "-": "gone"}
    parts = []
    for line in [Line(SAME, HEADER), *lines]:
        text = escape(str(line))
        parts.append(f'<span class="{kinds[line.mark]}">{text}</span>' if line.mark in kinds else text)
    return "\n".join(parts)


def _draw_block(block: LayerGroup, lines: Sequence[Line]) -> str:
    """Draw the block from the input (top) to the sum (bottom); removed rows are faint, beside their place."""
    most = max((_channels(line.row) for line in lines), default=1)
    parts, y = [], TOP
    split = sum_y = TOP - 12
    shortcut_rows: list[Line] = []
    is_shortcut = False
    for line in lines:
        row = line.row
        is_shortcut = row.place.strip() == "+ shortcut" or (is_shortcut and not row.place.strip())
        if is_shortcut:
            shortcut_rows.append(line)
        elif row.place.strip() == "= their sum":
            if line.mark != "-":
                sum_y = y + 10
                parts.append(_beside(SHORTCUT_X - 8, (split + y) / 2, shortcut_rows))
                parts.append(_sum(sum_y, line))
                y += BOX + 10
        elif row.kernel or line.mark != "-":
            parts.append(_layer(y, row, line.mark, most))
            y += BOX + GAP
    shortcut = f'<path class="wire" d="M{CENTER} {split} H{SHORTCUT_X} V{sum_y} H{CENTER - 10}"/>'
    wire = f'<path class="wire" d="M{CENTER} {split - 14} V{sum_y + 22}"/>'
    title = escape(f"{block.label.strip()}: {'; '.join(_words(row) for row in block.rows if row.kernel)}")
    return (
        f'<svg viewBox="0 0 {WIDTH} {y + 14}" width="{WIDTH}" role="img" aria-label="{title}">'
        f"{shortcut}{wire}{''.join(parts)}</svg>"
    )


def _channels(row: LayerRow) -> int:
    """Return the output channels of a convolution; 1 if the row has none."""
    text = row.channels.rpartition(" ")[2]
    return int(text) if text.isdecimal() else 1


def _layer(y: int, row: LayerRow, mark: str, most: int) -> str:
    """Draw a convolution as a box, and the layers that follow it as text below."""
    width = max(NARROWEST, round(WIDEST * math.sqrt(_channels(row) / most)))
    kind = {"+": "new", "-": "gone"}.get(mark, "kept")
    into, _, out = row.channels.replace("->", "→").partition("→")
    channels = out.strip() if into.strip() == out.strip() else f"{into.strip()} → {out.strip()}"
    stride = f", /{row.stride}" if row.stride not in ("", "1") else ""
    label = f"{row.kernel}, {channels}{stride}" if row.kernel and out else row.kernel or "–"
    prefix = "" if mark == SAME else f"{mark} "
    box = f'<rect class="{kind}" x="{CENTER - width / 2:g}" y="{y}" width="{width}" height="{BOX}" rx="4"/>'
    after = _text(CENTER + 8, y + BOX + GAP / 2, row.then, mark, "start") if row.then else ""
    return box + _text(CENTER, y + BOX / 2, prefix + label, mark, "middle") + after


def _sum(y: int, line: Line) -> str:
    circle = f'<circle class="kept" cx="{CENTER}" cy="{y}" r="10"/>'
    after = "" if line.row.then == "nothing" else line.row.then
    if line.row.then == "nothing" and line.mark == "+":
        after = "+ nothing"
    return circle + _text(CENTER, y, "+", SAME, "middle") + _text(CENTER + 14, y + 1, after, line.mark, "start")


def _text(x: float, y: float, text: str, mark: str, anchor: str) -> str:
    kind = {"+": "new", "-": "gone"}.get(mark, "kept")
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}" dy="0.35em">{escape(text)}</text>'


def _beside(x: float, y: float, lines: Sequence[Line]) -> str:
    """Draw the shortcut's layers left of it, each part on its own line."""
    words = [
        (word if line.mark == SAME else f"{line.mark} {word}", line.mark)
        for line in lines
        for word in _words(line.row).removeprefix("shortcut ").split(", ")
    ]
    top = y - LINE * (len(words) - 1) / 2
    return "".join(_text(x, top + LINE * index, word, mark, "end") for index, (word, mark) in enumerate(words))
