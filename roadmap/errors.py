"""Errors that a user can mend. They are printed as one message, without a traceback."""

import signal
from typing import Any


class RoadmapError(Exception):
    """Base of all errors whose cause lies outside the code: a typed word, a file, a device, the data."""


class ConfigError(RoadmapError, ValueError):
    """A value, key or combination of choices that cannot be used; the message lists what can."""


class DataError(RoadmapError):
    """Images that are missing, unreadable or not what the configuration says."""


class WeightsError(RoadmapError):
    """A weights file that is missing or belongs to another architecture."""


class RunError(RoadmapError):
    """A run folder that cannot be used: taken, finished under another configuration, or damaged."""


class TrainingError(RoadmapError):
    """A training that cannot go on, such as one whose loss is not finite."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its kind where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


class Interrupted(KeyboardInterrupt):
    """A training that a signal ended after it had saved. As Ctrl-C, it ends the sweep and is no failure."""

    def __init__(self, number: signal.Signals, outer: Any = None):
        super().__init__(f"stopped by {number.name}")
        self.number = number
        self.outer = outer  # the handler that had the signal before, such as a cluster launcher's

    def __reduce__(self) -> Any:  # launchers send it from process to process
        return type(self), (self.number,)
