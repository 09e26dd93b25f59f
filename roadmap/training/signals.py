"""Signals that stop a training after the current update and a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar, Self

from roadmap.errors import Interrupted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StopSignals:
    """Context in which a signal ends the training: at once, or inside `held` once the checkpoint is saved.

    A second Ctrl-C always ends it at once.
    """

    active: ClassVar["StopSignals | None"] = None  # of the training that runs in this process

    def __init__(self) -> None:
        self._received: list[signal.Signals] = []
        self._outer: dict[int, Any] = {}
        self._is_held = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers only there
            # A signal that is ignored, as under nohup, stays ignored.
            handled = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._outer = {number: signal.signal(number, self._handle) for number in handled}
        StopSignals.active = self
        return self

    def __exit__(self, *_: object) -> None:
        StopSignals.active = None
        for number, handler in self._outer.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Only record signals inside this context; the training checks `received` and saves."""
        outer, self._is_held = self._is_held, True
        try:
            yield
        finally:
            self._is_held = outer

    @property
    def received(self) -> signal.Signals | None:
        """The first signal received; None if there was none."""
        return self._received[0] if self._received else None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_second = number == signal.SIGINT and signal.SIGINT in self._received
        self._received.append(signal.Signals(number))
        # The signal may also end a dataloader worker, for which torch's SIGCHLD handler would raise at any line.
        self._outer.setdefault(signal.SIGCHLD, signal.signal(signal.SIGCHLD, signal.SIG_DFL))
        if is_second:
            raise KeyboardInterrupt
        if not self._is_held:
            raise self.stop()

    def stop(self) -> Interrupted:
        """Return the error to raise once everything is saved."""
        number = self.received or signal.SIGTERM  # None if only another rank received one
        outer = self._outer.get(number)
        is_launcher_worker = callable(outer) and outer is not signal.default_int_handler
        return Interrupted(number, outer if is_launcher_worker else None)
