"""Signals that ask a training to stop: it finishes the update, saves, and only then ends."""

import signal
import threading
from types import FrameType
from typing import Any, Self

from roadmap.errors import Interrupted

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class StopSignals:
    """A context in which a signal is only noted; a second Ctrl-C ends at once, as Ctrl-C otherwise does."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._outer: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python's condition for handlers
            self._outer = {number: signal.signal(number, self._note) for number in ASKING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._outer.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def stop(self) -> Interrupted:
        """What ends the training. Call once all is saved."""
        number = self.received or signal.SIGTERM  # another process of the group was asked
        outer = self._outer.get(number)
        is_launchers = callable(outer) and outer is not signal.default_int_handler
        return Interrupted(number, outer if is_launchers else None)
