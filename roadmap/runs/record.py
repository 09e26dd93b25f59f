"""A run's state.json as values whose types were checked: for what trains, and for what reads results."""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from roadmap.errors import DamagedError
from roadmap.runs.naming import network_name

STATE = "state.json"
LARGEST = 2**20  # bytes of a state or a summary, which have some thousand
WAY_OUT = "remove the run's folder to train it anew"


class State(StrEnum):
    pending = "pending"  # a sweep will come to it
    running = "running"
    done = "done"
    failed = "failed"
    interrupted = "interrupted"


@dataclass(frozen=True)
class Identity:
    """What a run is called in tables and figures."""

    step: str
    step_index: int | None
    label: str
    variant: dict[str, str]  # what differs from the step, such as {"kernel_size": "9"}
    reference: str | None  # a timm model in place of the roadmap's network
    experiment: str
    seed: int
    regime: str
    data: str
    recipe: str

    @property
    def name(self) -> str:
        """The step with its variant, such as step7_kernel,kernel_size=9."""
        return network_name(self.step, self.variant)


@dataclass(frozen=True)
class Record:
    """How a run stands. What earlier versions did not write is None."""

    state: State
    identity: Identity
    error: str | None = None
    host: str | None = None
    pid: int | None = None
    process_start: str | None = None
    epochs: int | None = None  # of the whole run
    config_hash: str | None = None
    setting_hash: str | None = None
    dashboard_id: str | None = None


MORE: dict[str, Any] = {
    "error": str | None,
    "host": str | None,
    "pid": int | None,
    "process_start": str | None,
    "epochs": int | None,
    "config_hash": str | None,
    "setting_hash": str | None,
    "dashboard_id": str | None,
}


def read_record(folder: Path) -> Record | None:
    """The state of the run in a folder; None if it has none.

    Raises:
        DamagedError: the file can't be read, or holds something else; names the file and the key.
    """
    path = folder / STATE
    content = read_object(path)
    if content is None:
        return None
    try:
        more = {key: _take(content, key, kind) for key, kind in MORE.items() if key in content}
        if more.get("pid") is not None and more["pid"] <= 0:
            raise ValueError(f"pid is {more['pid']}")
        return Record(State(_take(content, "state", str)), read_identity(_take(content, "identity", dict)), **more)
    except ValueError as error:
        raise DamagedError(f"{path} is damaged ({error}); {WAY_OUT}") from error


def read_identity(content: Mapping[str, Any]) -> Identity:
    """An identity in a state or a summary.

    Raises:
        ValueError: a key is missing or of another type; names it.
    """
    variant = _take(content, "variant", dict)
    if not all(isinstance(value, str) for value in variant.values()):
        raise ValueError("a value of variant is no text")
    seed = _take(content, "seed", int)
    if seed < 0:
        raise ValueError(f"seed is {seed}")
    return Identity(
        step=_take(content, "step", str),
        step_index=_take(content, "step_index", int | None),
        label=_take(content, "label", str),
        variant=variant,
        reference=_take(content, "reference", str | None),
        experiment=_take(content, "experiment", str),
        seed=seed,
        regime=_take(content, "regime", str),
        data=_take(content, "data", str),
        recipe=_take(content, "recipe", str),
    )


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is no file.

    Raises:
        DamagedError: it can't be read, or is no object.
    """
    try:
        content = json.loads(read_text(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested too deep
        raise DamagedError(f"{path} is damaged ({_describe(error)}); {WAY_OUT}") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{path} is damaged (no object); {WAY_OUT}")
    return content


def read_text(path: Path) -> str:
    """The text of a file of a run, at most LARGEST bytes.

    Raises:
        OSError: it can't be read.
        ValueError: it is no regular file, too large, or no UTF-8.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for a writer
    with open(number, "rb") as file:
        facts = os.fstat(number)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("no regular file")
        if facts.st_size > LARGEST:
            raise ValueError(f"{facts.st_size:,} bytes, at most {LARGEST:,} are read")
        return file.read(LARGEST).decode()


def _take(content: Mapping[str, Any], key: str, kind: Any) -> Any:
    """A value whose type is right; text without lone surrogates, which no terminal can print."""
    if key not in content:
        raise ValueError(f"it has no {key}")
    value = content[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{key} is a {type(value).__name__}")
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _describe(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
