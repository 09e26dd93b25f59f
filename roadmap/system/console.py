"""Console that prints outside text, such as names of files and classes, without passing control characters on."""

from collections.abc import Iterable
from contextlib import suppress

import rich.console
from rich.segment import Segment
from rich.text import Text

from roadmap.errors import visible
from roadmap.system.rank import get_dist_info_or_single

_warned: set[str] = set()


class Console(rich.console.Console):
    """rich's console, which escapes control characters other than those of its own colors and cursor."""

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Print no more: rich would end the process, and with it a training that nobody watches."""
        self.quiet = True


def warn(text: str, console: rich.console.Console | None = None) -> None:
    """Print a warning to stderr, or to a console that is, once in this process; only rank 0 does."""
    if text not in _warned and get_dist_info_or_single().is_main_process:
        _warned.add(text)
        with suppress(OSError):  # as of a terminal that was closed
            (console or Console(stderr=True)).print(
                Text.assemble(("warning:", "bold yellow"), f" {visible(text)}"), soft_wrap=True
            )


def forget_warnings() -> None:
    """Print later warnings again, for a new command in this process."""
    _warned.clear()
