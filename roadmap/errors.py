"""Errors that a user can fix, which are printed without a traceback."""

import re
import signal
from typing import Any

# Characters that control a terminal or reorder its text, and undecodable bytes of file names; lines and tabs stay.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class RoadmapError(Exception):
    """Base of all errors whose cause is outside the code: a command line, a file, a device, the data."""

    def __str__(self) -> str:
        return visible(super().__str__())


class ConfigError(RoadmapError, ValueError):
    """A value, key or combination of choices that cannot be used; the message lists the allowed ones."""


class DataError(RoadmapError):
    """Images that are missing, unreadable or not as configured."""


class WeightsError(RoadmapError):
    """A weights file that is missing or belongs to another architecture."""


class RunError(RoadmapError):
    """A run folder that cannot be used: in use, finished under another configuration, or damaged."""


class DamagedError(RunError):
    """A file of a run that can't be read, or has invalid content."""


class ResumableError(RoadmapError):
    """An external cause that ends a run, such as a full disk. The run counts as interrupted and can be resumed."""


class StorageError(RunError, ResumableError):
    """A file of a run that cannot be written or read now: the disk is full, read-only, failing or gone."""


class WorkerLostError(DataError, ResumableError):
    """A dataloader worker that was killed from outside."""


class WorkerMemoryError(DataError):
    """A dataloader worker that ran out of memory."""

    def __init__(self, text: str, workers: int):
        super().__init__(text)
        self.workers = workers  # number of the loader's workers


class ChangedDataError(DataError, ResumableError):
    """A run whose images have changed; it can be resumed on the old ones."""


class TrainingError(RoadmapError):
    """A training that cannot continue, for example because its loss is not finite."""


class MeasurementError(RoadmapError):
    """A timing whose work was not done, so that its result is meaningless."""


def visible(text: str) -> str:
    """Escape control characters, such as \\x1b, so that the text can be printed anywhere."""
    return CONTROLS.sub(_escape, text)


def in_one_line(name: str) -> str:
    """Escape a name, such as a file's, for a message of one line."""
    return visible(name).replace("\n", "\\n").replace("\t", "\\t")


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:  # Python's surrogate of a byte
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error message, or its type if the message is empty."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


class Interrupted(KeyboardInterrupt):
    """A signal that ended a training after a checkpoint. Like Ctrl-C, it ends the sweep and is not a failure."""

    def __init__(self, number: signal.Signals, outer: Any = None):
        super().__init__(f"stopped by {number.name}")
        self.number = number
        self.outer = outer  # the signal's previous handler, such as a cluster launcher's

    def __reduce__(self) -> Any:  # launchers send it between processes
        return type(self), (self.number,)
