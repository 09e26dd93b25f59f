"""Signals that ask a training to stop: it finishes the update, saves, and only then ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar, Self

from roadmap.errors import Interrupted

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StopSignals:
    """A context in which a signal ends the training: at once, or where `held` as soon as all is saved.

    A second Ctrl-C ends it at once in any case.
    """

    active: ClassVar["StopSignals | None"] = None  # of the training under way in this process

    def __init__(self) -> None:
        self._noted: list[signal.Signals] = []
        self._outer: dict[int, Any] = {}
        self._is_held = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python's condition for handlers
            heeded = [number for number in ASKING if signal.getsignal(number) is not signal.SIG_IGN]  # nohup's
            self._outer = {number: signal.signal(number, self._note) for number in heeded}
        StopSignals.active = self
        return self

    def __exit__(self, *_: object) -> None:
        StopSignals.active = None
        for number, handler in self._outer.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A signal is only noted inside, for a training that looks at `received` and saves."""
        outer, self._is_held = self._is_held, True
        try:
            yield
        finally:
            self._is_held = outer

    @property
    def received(self) -> signal.Signals | None:
        """The first signal, which the others may have followed."""
        return self._noted[0] if self._noted else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        is_second = number == signal.SIGINT and signal.SIGINT in self._noted
        self._noted.append(signal.Signals(number))
        # torch answers to the end of a data worker, which the signal may have reached too, by an error at any line.
        self._outer.setdefault(signal.SIGCHLD, signal.signal(signal.SIGCHLD, signal.SIG_DFL))
        if is_second:
            raise KeyboardInterrupt
        if not self._is_held:
            raise self.stop()

    def stop(self) -> Interrupted:
        """What ends the training. Call once all is saved."""
        number = self.received or signal.SIGTERM  # another process of the group was asked
        outer = self._outer.get(number)
        is_launchers = callable(outer) and outer is not signal.default_int_handler
        return Interrupted(number, outer if is_launchers else None)
