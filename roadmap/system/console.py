"""Console that escapes control characters in outside text, such as file names, and warnings."""

from collections.abc import Iterable
from contextlib import suppress

import rich.console
from rich.segment import Segment
from rich.text import Text

from roadmap.errors import visible
from roadmap.system.rank import get_dist_info_or_default

_warned: set[str] = set()


class Console(rich.console.Console):
    """rich's console, which escapes control characters other than those of its own colors and cursor."""

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Stop printing; rich would end the process, and with it the training."""
        self.quiet = True


def warn(text: str, console: rich.console.Console | None = None) -> None:
    """Print a warning to stderr or `console`, once per process and only on rank 0."""
    if text not in _warned and get_dist_info_or_default().is_main_process:
        _warned.add(text)
        with suppress(OSError):  # a closed terminal
            (console or Console(stderr=True)).print(
                Text.assemble(("warning:", "bold yellow"), f" {visible(text)}"), soft_wrap=True
            )


def forget_warnings() -> None:
    """Allow repeated warnings again, for a new command in this process."""
    _warned.clear()
