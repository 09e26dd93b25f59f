"""A network in the report: its sections as cards, one block as a drawing, and all layers as text.

Differences from the step before are marked: new parts with `+` and a thick frame, removed parts with `-` and struck
through. Colours are the page's, so one drawing works on a light page, on a dark page and on paper.
"""

from html import escape

from roadmap.analysis.figures.block import KEPT, KINDS, PREFIX, Sections, drawn_block, lay_out, words_of
from roadmap.analysis.figures.block_files import svg_of
from roadmap.model.describe import HEADER, Line, Section, compare_lines, show_lines


def draw_network(network: Sections, before: Sections | None) -> str:
    """Return HTML: the sections as a row of cards, the block as SVG, and all layers as text to unfold."""
    place, block, old_block = drawn_block(network, before)
    cards = "".join(_card(section, before[index] if before else None) for index, section in enumerate(network))
    layers = "; ".join(words_of(row) for row in block.rows if row.kernel)
    svg = svg_of(lay_out(block, old_block), f"{block.label.strip()}: {layers}")
    caption = f"{place}, {block.label.strip()}"
    return (
        f'<ol class="strip">{cards}</ol>'
        f'<figure class="block">{svg}<figcaption>{escape(caption)}</figcaption></figure>'
        f"<details><summary>all layers</summary><pre>{_listing(network, before)}</pre></details>"
    )


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
    text = line.row.place if line.is_title else words_of(line.row)
    kind = KINDS[line.mark]
    tag = "b" if line.is_title else "span"
    return f'<{tag} class="{kind}">{escape(PREFIX[kind] + text)}</{tag}>' if text.strip() else ""


def _listing(network: Sections, before: Sections | None) -> str:
    lines = show_lines(network) if before is None else compare_lines(before, network)
    texts = [(KINDS[line.mark], escape(str(line))) for line in [Line(" ", HEADER), *lines]]
    return "\n".join(text if kind == KEPT else f'<span class="{kind}">{text}</span>' for kind, text in texts)
