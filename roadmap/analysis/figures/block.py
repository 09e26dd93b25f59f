"""Layout of a block's diagram in the style of the paper's figures 3 and 4, as plain shapes. Draws nothing.

Differences from another block are marked, each part for itself: a new layer with `+`, a removed one with `-`. An
unchanged norm behind a larger kernel is kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from roadmap.model.describe import LayerGroup, LayerRow, Line, Section, compare_lines

Sections = tuple[Section, ...]

# Pixels. The shortcut runs left of the boxes; a box is wider if it has more channels.
CENTER, WIDEST, NARROWEST, BOX, GAP, TOP = 240, 220, 126, 26, 26, 34
SHORTCUT_X, LINE, RADIUS = 112, 16, 10
WIDTH = 400
KEPT, NEW, GONE = "kept", "new", "gone"
KINDS = {" ": KEPT, "+": NEW, "-": GONE}  # by the mark of a line
PREFIX = {KEPT: "", NEW: "+ ", GONE: "- "}

Word = tuple[str, str]  # a text, and KEPT, NEW or GONE


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Circle:
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Wire:
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Label:
    """Words from left to right; `anchor` is start, middle or end, and y the middle of their height."""

    x: float
    y: float
    words: tuple[Word, ...]
    anchor: str = "middle"
    size: float = 13.0  # pixels
    is_bold: bool = False


Shape = Box | Circle | Wire | Label


@dataclass(frozen=True)
class Picture:
    """Shapes in pixels, from the top left."""

    width: float
    height: float
    shapes: tuple[Shape, ...]


def moved(shape: Shape, dx: float, dy: float) -> Shape:
    if isinstance(shape, Wire):
        return Wire(tuple((x + dx, y + dy) for x, y in shape.points))
    return replace(shape, x=shape.x + dx, y=shape.y + dy)


def typical_block(network: Sections) -> tuple[str, LayerGroup]:
    """Return the first stage that repeats a block, by name, and that block; a stage's first block is special."""
    stages = [section for section in network if section.blocks]
    repeated = [stage for stage in stages if stage.blocks[-1].label.strip() != "block 1"]
    stage = (repeated or stages)[0]
    return stage.name, stage.blocks[-1]


def drawn_block(network: Sections, before: Sections | None) -> tuple[str, LayerGroup, LayerGroup | None]:
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


def lay_out(block: LayerGroup, before: LayerGroup | None) -> Picture:
    """Return the block from the input (top) to the sum (bottom), marked against that of another network."""
    pairs = _pair(_marked(block, before))
    most = max((_channels(row) for pair in pairs for row in pair if row), default=1)
    shapes: list[Shape] = []
    y, split = float(TOP), TOP - 12.0
    sum_y = split
    shortcut: list[Word] = []
    is_shortcut = False
    for old, new in pairs:
        row = new or old
        assert row is not None
        is_shortcut = row.place.strip() == "+ shortcut" or (is_shortcut and not row.place.strip())
        if is_shortcut:
            shortcut += _shortcut_words(old, new)
        elif row.place.strip() == "= their sum":
            sum_y = y + RADIUS
            shapes += _beside(SHORTCUT_X - 8, (split + y) / 2, shortcut)
            shapes += _sum(sum_y, old, new)
            y += BOX + 10
        else:
            layers = _layers(y, old, new, most)
            shapes += layers
            y += (BOX + GAP) * sum(isinstance(shape, Box) for shape in layers)
    wires = (
        Wire(((CENTER, split), (SHORTCUT_X, split), (SHORTCUT_X, sum_y), (CENTER - RADIUS, sum_y))),
        Wire(((CENTER, split - 14), (CENTER, sum_y + 22))),
    )
    return Picture(WIDTH, y + 14, (*wires, *shapes))


def _marked(block: LayerGroup, before: LayerGroup | None) -> list[Line]:
    """Return the block's rows in order, merged with the removed rows of the other block."""
    if before is None or before.rows == block.rows:
        return [Line(" ", row) for row in block.rows]
    old, new = (Section("block", "block", (), (LayerGroup("", group.rows),)) for group in (before, block))
    return [line for line in compare_lines([old], [new]) if not line.is_title and line.row != LayerRow("")]


def _pair(lines: Sequence[Line]) -> list[tuple[LayerRow | None, LayerRow | None]]:
    """Return each row of the old block with its counterpart in the new one; None for a row without any."""
    pairs: list[tuple[LayerRow | None, LayerRow | None]] = []
    waiting: list[Line] = []  # removed rows, before the new ones of the same place
    for line in lines:
        if line.mark == "-":
            waiting.append(line)
        elif line.mark == "+" and line.changed and waiting:
            pairs.append((waiting.pop(0).row, line.row))
        else:
            pairs += [(one.row, None) for one in waiting]
            waiting = []
            pairs.append((None if line.mark == "+" else line.row, line.row))
    return pairs + [(one.row, None) for one in waiting]


def _layers(y: float, old: LayerRow | None, new: LayerRow | None, most: int) -> list[Shape]:
    """Return a convolution as a box and the layers behind it as words below; two boxes if it has changed."""
    if old and new and _convolution(old) != _convolution(new):
        then = _then(y + BOX + GAP, old, new)
        return [*_box(y, old, GONE, most), *_box(y + BOX + GAP, new, NEW, most), *then]
    row = new or old
    assert row is not None
    kind = KEPT if old and new else NEW if new else GONE
    if kind is GONE and not row.kernel:
        return []
    return [*_box(y, row, kind, most), *_then(y, old, new)]


def _convolution(row: LayerRow) -> tuple[str, ...]:
    """Return what a box shows. Its bias, which a norm behind it replaces, is only in the text of all layers."""
    return row.kernel, row.channels, row.stride, row.groups


def _box(y: float, row: LayerRow, kind: str, most: int) -> list[Shape]:
    width = max(NARROWEST, round(WIDEST * math.sqrt(_channels(row) / most)))
    into, _, out = row.channels.replace("->", "→").partition("→")
    channels = out.strip() if into.strip() == out.strip() else f"{into.strip()} → {out.strip()}"
    stride = f", /{row.stride}" if row.stride not in ("", "1") else ""
    text = f"{row.kernel}, {channels}{stride}" if row.kernel and out else row.kernel or "–"
    box = Box(CENTER - width / 2, y, width, BOX, kind)
    return [box, Label(CENTER, y + BOX / 2, ((PREFIX[kind] + text, kind),))]


def _then(y: float, old: LayerRow | None, new: LayerRow | None) -> list[Shape]:
    """Return the layers behind a convolution: those that are built right of the wire, removed ones left of it."""
    words = _compare_layers(old, new)
    middle = y + BOX + GAP / 2
    built = _joined([word for word in words if word[1] != GONE])
    gone = _joined([word for word in words if word[1] == GONE])
    shapes: list[Shape] = [Label(CENTER + 8, middle, built, "start")] if built else []
    return [*shapes, Label(CENTER - 8, middle, gone, "end")] if gone else shapes


def _compare_layers(old: LayerRow | None, new: LayerRow | None) -> list[Word]:
    before, after = (row.then.split(", ") if row and row.then else [] for row in (old, new))
    if not new:
        return [(name, GONE) for name in before]
    if not old:
        return [(name, NEW) for name in after]
    words: list[Word] = []
    for tag, a, b, c, d in SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        words += [(name, KEPT) for name in after[c:d]] if tag == "equal" else []
        words += [(name, GONE) for name in before[a:b]] if tag != "equal" else []
        words += [(name, NEW) for name in after[c:d]] if tag != "equal" else []
    return words


def _joined(words: Sequence[Word]) -> tuple[Word, ...]:
    """Return neighbours of one kind as one word, each with its mark: `BN, ReLU`, then `, + GRN`."""
    joined: list[Word] = []
    for name, kind in words:
        if joined and joined[-1][1] == kind:
            joined[-1] = (f"{joined[-1][0]}, {name}", kind)
        else:
            joined.append((f"{', ' if joined else ''}{PREFIX[kind]}{name}", kind))
    return tuple(joined)


def _sum(y: float, old: LayerRow | None, new: LayerRow | None) -> list[Shape]:
    words = _joined([word for word in _compare_layers(old, new) if word[0] != "nothing"])
    circle: list[Shape] = [Circle(CENTER, y, RADIUS), Label(CENTER, y, (("+", KEPT),))]
    return [*circle, Label(CENTER + 14, y + 1, words, "start")] if words else circle


def _shortcut_words(old: LayerRow | None, new: LayerRow | None) -> list[Word]:
    if old == new and new:
        return [(word, KEPT) for word in _parts(new)]
    return [(word, kind) for row, kind in ((old, GONE), (new, NEW)) if row for word in _parts(row)]


def _parts(row: LayerRow) -> list[str]:
    return words_of(row).removeprefix("shortcut ").split(", ")


def _beside(x: float, y: float, words: Sequence[Word]) -> list[Shape]:
    """Return the shortcut's layers left of it, each on its own line."""
    top = y - LINE * (len(words) - 1) / 2
    return [
        Label(x, top + LINE * index, ((PREFIX[kind] + text, kind),), "end")
        for index, (text, kind) in enumerate(words)
    ]


def words_of(row: LayerRow) -> str:
    """Return a row in words: `downsampling 2x2, 96 -> 192, stride 2, LN`."""
    stride = f"stride {row.stride}" if row.stride not in ("", "1") else ""
    size = f"{row.place.strip().removeprefix('+ ')} {row.kernel}".strip()
    return ", ".join(filter(None, [size, row.channels.strip(), stride, row.then]))


def _channels(row: LayerRow) -> int:
    """Return the output channels of a convolution; 1 if the row has none."""
    text = row.channels.rpartition(" ")[2]
    return int(text) if text.isdecimal() else 1
