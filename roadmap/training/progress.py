"""Progress display of a training: a live bar on a terminal, elsewhere a plain line per epoch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from roadmap.system.console import Console

if TYPE_CHECKING:
    from torch import Tensor

REFRESHES_PER_SECOND = 2
WIDE = 120  # columns from which the bar is long and the elapsed time is shown
WIDE_AROUND = 20 + len("0:00:00 left 0:00:00") + 5  # columns of everything but title and status
NARROW_AROUND = 10 + len("left 0:00:00") + 4
DROP_ORDER = ("lr", "rate", "loss", "top1")  # parts that a narrow terminal lacks, in this order


class ProgressDisplay:
    """Context manager. `update` may be called after every step; it synchronizes only if it redraws."""

    def __init__(self, title: str, epochs: int, updates_per_epoch: int, console: Console | None = None):
        self.title = title
        self.epochs = epochs
        self.updates_per_epoch = updates_per_epoch
        self.console = console or Console()
        is_wide = self.console.width >= WIDE
        self._around = len(title) + (WIDE_AROUND if is_wide else NARROW_AROUND)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20 if is_wide else 10),
            TextColumn("{task.fields[status]}"),
            *([TimeElapsedColumn()] if is_wide else []),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task(title, total=epochs * updates_per_epoch, status="")
        self._last_metrics: dict[str, str] = {}
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, done: int, loss: "Tensor", lr: float) -> None:
        """Show update number `done` (from 1, over the whole run)."""
        now = self.bar.get_time()
        if not self.console.is_terminal or now - self._shown_at < 1 / REFRESHES_PER_SECOND:
            return
        self._shown_at = now
        epoch = min((done - 1) // self.updates_per_epoch + 1, self.epochs)
        parts = {
            "epoch": f"epoch {epoch}/{self.epochs}",
            "loss": f"loss {loss.item():.3f}",
            "lr": f"lr {lr:.1e}",
            **self._last_metrics,
        }
        status = fit_parts(parts, self.console.width - self._around)
        self.bar.update(self.task, completed=done, status=status)

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Show the metrics of an evaluated epoch."""
        self._last_metrics = {
            "top1": f"top-1 {metrics['top1']:.2f}",
            "rate": f"{metrics['images_per_s']:,.0f} images/s",
        }
        if not self.console.is_terminal:
            self.console.print(
                f"{self.title}  epoch {metrics['epoch']}/{self.epochs}  loss {metrics['train_loss']:.3f}  "
                f"lr {metrics['lr']:.1e}  {'  '.join(self._last_metrics.values())}",
                highlight=False,
                soft_wrap=True,
            )


def fit_parts(parts: Mapping[str, str], width: int) -> str:
    """Join a line's parts, without the least important ones if they do not fit into `width`."""
    kept = dict(parts)
    for name in DROP_ORDER:
        if len("  ".join(kept.values())) <= width:
            break
        kept.pop(name, None)
    return "  ".join(kept.values())


def counting_bar(console: Console) -> Progress:
    """Return a bar that names the current item and counts finished ones; for terminals only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
