"""Text description of a plan, in the notation of the paper's figures 3 and 4, and the diff of two plans.

`d7x7` is a depthwise 7 x 7 convolution. Each convolution is one row, which also names the layers that follow it. A
block is its branch, its shortcut and the layers after their sum. Needs no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import SequenceMatcher
from itertools import groupby, zip_longest

from roadmap.model.planned_layers import (
    Act,
    AvgPool,
    BlockPlan,
    Conv,
    Grn,
    Layer,
    MaxPool,
    NetworkPlan,
    Norm,
    OwnLayer,
    Scale,
    output_channels,
)
from roadmap.model.spec import Activation, ModelSpec, NormKind

NORMS = {NormKind.batchnorm: "BN", NormKind.layernorm: "LN"}
ACTIVATIONS = {Activation.relu: "ReLU", Activation.gelu: "GELU"}


@dataclass(frozen=True)
class LayerRow:
    """One line of a description, cell by cell."""

    place: str = ""
    kernel: str = ""
    channels: str = ""
    stride: str = ""
    groups: str = ""
    bias: str = ""
    then: str = ""  # the layers that follow, in order


WIDTHS = {"place": 17, "kernel": 10, "channels": 16, "stride": 8, "groups": 16, "bias": 6, "then": 0}
HEADER = LayerRow("", "kernel", "   in -> out", "stride", "groups", "bias", "followed by")


@dataclass(frozen=True)
class LayerGroup:
    """One block, or several equal consecutive blocks."""

    label: str
    rows: tuple[LayerRow, ...]


@dataclass(frozen=True)
class Section:
    """The stem, a stage or the head."""

    name: str
    title: str
    layers: tuple[LayerRow, ...]  # of stem and head; of a stage, the downsampling before its blocks
    blocks: tuple[LayerGroup, ...] = ()


@dataclass(frozen=True)
class Line:
    """A printed line: mark `-` if only in the old plan, `+` if only in the new one, a space if in both."""

    mark: str
    row: LayerRow
    is_title: bool = False
    changed: frozenset[str] = frozenset()  # cells that differ from the line's counterpart

    def cells(self) -> Iterator[tuple[str, bool]]:
        """Yield the text of each cell, padded to its column, and True if the cell has changed."""
        for name, width in WIDTHS.items():
            yield f"{getattr(self.row, name):<{width}}", name in self.changed

    def __str__(self) -> str:
        return f"{self.mark} {''.join(text for text, _ in self.cells())}".rstrip()


def describe_network(plan: NetworkPlan, image_size: int) -> tuple[Section, ...]:
    """Describe stem, stages and head, each with its output size for square images."""
    size = _output_size(plan.stem, image_size)
    sections = [Section("stem", f"stem: {size} x {size}", _describe_layers(plan.stem))]
    for number, stage in enumerate(plan.stages, start=1):
        for layers in (stage.downsample, *(block.branch for block in stage.blocks)):
            size = _output_size(layers, size)
        depth, channels = len(stage.blocks), output_channels(stage.blocks[-1].branch)
        title = f"stage {number}: {depth} block{'s'[: depth - 1]}, {channels} channels, {size} x {size}"
        downsample = _with_place("  downsampling", _describe_layers(stage.downsample))
        sections.append(Section(f"stage {number}", title, downsample, tuple(_describe_blocks(stage.blocks))))
    head = (
        LayerRow(kernel="global average pooling"),
        *_describe_layers(plan.head_norm),
        LayerRow(kernel="linear", channels=_arrow(plan.features, plan.num_classes), bias="yes"),
    )
    return (*sections, Section("head", f"head: {plan.num_classes} classes", head))


def describe_changes(before: ModelSpec, after: ModelSpec) -> list[str]:
    """Return the design choices that differ, such as "model.block bottleneck -> inverted"."""
    names = [field.name for field in fields(after)]  # with registered axes
    old, new = ({f"model.{name}": getattr(spec, name) for name in names} for spec in (before, after))
    return describe_values(old, new)


def describe_values(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Return the values that differ, by their keys, such as "recipe.mixup 0 -> 0.2"."""
    pairs = [(key, before.get(key), value) for key, value in after.items()]
    return [f"{key} {_format(old)} -> {_format(new)}" for key, old, new in pairs if old != new]


def describe_sizes(before: NetworkPlan, after: NetworkPlan) -> list[str]:
    """Return depths and first-stage channels if they differ, such as "channels 64 -> 96"."""
    pairs = [
        ("depths", _depths(before), _depths(after)),
        ("channels", output_channels(before.stem), output_channels(after.stem)),
    ]
    return [f"{name} {old} -> {new}" for name, old, new in pairs if old != new]


def show_lines(sections: Sequence[Section]) -> list[Line]:
    lines = []
    for section in sections:
        lines.append(Line(" ", LayerRow(section.title), is_title=True))
        for rows in (section.layers, *map(_labelled, section.blocks)):
            lines += [Line(" ", row) for row in rows]
    return lines


def compare_lines(before: Sequence[Section], after: Sequence[Section]) -> list[Line]:
    """Return the lines of both descriptions, marked `-` if only in `before` and `+` if only in `after`.

    An unchanged section is one line. The blocks of a stage are compared from the last group to the first, since
    most are equal and the first one is the exception.
    """
    lines: list[Line] = []
    for old, new in zip(before, after, strict=True):
        if old == new:
            lines.append(Line(" ", LayerRow(f"{new.title} (unchanged)"), is_title=True))
            continue
        lines += _compare_rows([LayerRow(old.title)], [LayerRow(new.title)], is_title=True)
        lines += _compare_rows(old.layers, new.layers)
        pairs = list(zip_longest(reversed(old.blocks), reversed(new.blocks)))
        for old_block, new_block in reversed(pairs):
            lines += _compare_rows(_labelled(old_block), _labelled(new_block))
    return lines


def _labelled(group: LayerGroup | None) -> tuple[LayerRow, ...]:
    return () if group is None else (LayerRow(group.label), *group.rows)


def _compare_rows(old: Sequence[LayerRow], new: Sequence[LayerRow], is_title: bool = False) -> list[Line]:
    lines = []
    for tag, a, b, c, d in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [Line(" ", row, is_title) for row in old[a:b]]
            continue
        changed = [frozenset[str]()] * max(b - a, d - c)
        if b - a == d - c:  # each row has a counterpart
            pairs = zip(old[a:b], new[c:d], strict=True)
            changed = [frozenset(name for name in WIDTHS if getattr(x, name) != getattr(y, name)) for x, y in pairs]
        for mark, rows in (("-", old[a:b]), ("+", new[c:d])):
            lines += [Line(mark, row, is_title, cells) for row, cells in zip(rows, changed, strict=False)]
    return lines


def _describe_blocks(blocks: Sequence[BlockPlan]) -> Iterator[LayerGroup]:
    """Group consecutive blocks that are equal except for stochastic depth, which rises from block to block."""
    numbered = enumerate((replace(block, drop_path=0.0) for block in blocks), start=1)
    for block, same in groupby(numbered, key=lambda pair: pair[1]):
        numbers = [number for number, _ in same]
        label = f"  block {numbers[0]}" if len(numbers) == 1 else f"  blocks {numbers[0]} to {numbers[-1]}"
        yield LayerGroup(label, _describe_block(block))


def _describe_block(block: BlockPlan) -> tuple[LayerRow, ...]:
    shortcut = _describe_layers(block.shortcut) or (LayerRow(kernel="identity"),)
    after = ", ".join(_name(layer) for layer in block.after) or "nothing"
    return (
        *_describe_layers(block.branch),
        *_with_place("    + shortcut", shortcut),
        LayerRow("    = their sum", then=after),
    )


def _describe_layers(layers: Sequence[Layer]) -> tuple[LayerRow, ...]:
    """Return a row for each convolution and pool, and one for the layers before the first of them."""
    rows: list[LayerRow] = []
    for layer in layers:
        match layer:
            case Conv():
                rows.append(_describe_conv(layer))
            case MaxPool():
                rows.append(LayerRow(kernel="max 3x3", stride="2"))
            case AvgPool():
                rows.append(LayerRow(kernel="avg 2x2", stride="2"))
            case _ if rows:
                rows[-1] = replace(rows[-1], then=", ".join(filter(None, [rows[-1].then, _name(layer)])))
            case _:
                rows.append(LayerRow(then=_name(layer)))
    return tuple(rows)


def _with_place(place: str, rows: tuple[LayerRow, ...]) -> tuple[LayerRow, ...]:
    return (replace(rows[0], place=place), *rows[1:]) if rows else ()


def _describe_conv(conv: Conv) -> LayerRow:
    return LayerRow(
        kernel=f"{'d' if conv.is_depthwise else ''}{conv.kernel}x{conv.kernel}",
        channels=_arrow(conv.in_channels, conv.out_channels),
        stride=str(conv.stride),
        groups=f"{conv.groups}{' depthwise' if conv.is_depthwise else ''}",
        bias="yes" if conv.has_bias else "no",
    )


def _name(layer: Layer) -> str:
    match layer:
        case Norm():
            return NORMS[layer.kind]
        case Act():
            return ACTIVATIONS[layer.kind]
        case Grn():
            return "GRN"
        case Scale():
            return "LayerScale"
        case OwnLayer():
            return layer.label
        case _:
            return layer.name


def _arrow(into: int, out: int) -> str:
    return f"{into:>5} -> {out}"


def _format(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _depths(plan: NetworkPlan) -> str:
    return " ".join(str(len(stage.blocks)) for stage in plan.stages)


def _output_size(layers: Sequence[Layer], size: int) -> int:
    """Return height and width of the layers' output, in pixels."""
    for layer in layers:
        match layer:
            case Conv():
                size = (size + 2 * layer.padding - layer.kernel) // layer.stride + 1
            case MaxPool() | AvgPool():
                size = (size - 1) // 2 + 1
    return size
