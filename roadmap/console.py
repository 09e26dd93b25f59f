"""Console that prints outside text, such as names of files and classes, without passing control characters on."""

from collections.abc import Iterable

import rich.console
from rich.segment import Segment
from rich.text import Text

from roadmap.errors import visible
from roadmap.training.processes import find_place

_warned: set[str] = set()


class Console(rich.console.Console):
    """rich's console, which escapes control characters other than those of its own colors and cursor."""

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def warn(text: str) -> None:
    """Print a warning about the data, once, on rank 0."""
    if text not in _warned and find_place().is_first:
        _warned.add(text)
        Console(stderr=True).print(Text.assemble(("warning:", "bold yellow"), f" {visible(text)}"), soft_wrap=True)
