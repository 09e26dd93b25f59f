"""Errors that a user can mend. They are printed as one message, without a traceback."""

import re
import signal
from typing import Any

# What a terminal obeys or shows in another order, and bytes of a file name that are no UTF-8; lines and tabs stay.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class RoadmapError(Exception):
    """Base of all errors whose cause lies outside the code: a typed word, a file, a device, the data."""

    def __str__(self) -> str:
        return visible(super().__str__())


class ConfigError(RoadmapError, ValueError):
    """A value, key or combination of choices that cannot be used; the message lists what can."""


class DataError(RoadmapError):
    """Images that are missing, unreadable or not what the configuration says."""


class WeightsError(RoadmapError):
    """A weights file that is missing or belongs to another architecture."""


class RunError(RoadmapError):
    """A run folder that cannot be used: taken, finished under another configuration, or damaged."""


class ResumableError(RoadmapError):
    """What ends a run from outside, such as a full disk: it is interrupted, and the same command resumes it."""


class StorageError(RunError, ResumableError):
    """A file of a run that can't be written or read now: the disk is full, read-only, failing or gone."""


class WorkerLostError(DataError, ResumableError):
    """A dataloader worker that was killed from outside."""


class WorkerMemoryError(DataError):
    """A dataloader worker for which there was no memory."""

    def __init__(self, text: str, workers: int):
        super().__init__(text)
        self.workers = workers  # of the loader


class TrainingError(RoadmapError):
    """A training that cannot go on, such as one whose loss is not finite."""


def visible(text: str) -> str:
    """The text with escapes such as \\x1b in place of control characters, so that it can be printed anywhere."""
    return CONTROLS.sub(_escape, text)


def in_one_line(name: str) -> str:
    """A name, such as a file's, as a part of a message."""
    return visible(name).replace("\n", "\\n").replace("\t", "\\t")


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:  # Python's stand-in for a byte
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


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
