"""Bounded reading of text, JSON and YAML files that may be damaged, with checks of their values' types."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args

import yaml

from roadmap.errors import DamagedError, first_line

MAX_BYTES = 2**20  # of a configuration, a state or a summary, which have a few thousand
MAX_LINES_BYTES = 2**26  # of a file with a line per epoch; ten thousand epochs take four million
MAX_DEPTH = 20  # of nested values; a configuration has four levels
MAX_NUMBER = 2**63  # so that no arithmetic overflows
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is faster, if available


def read_text(path: Path, largest: int = MAX_BYTES, errors: str = "strict") -> str:
    """Return the text of a file, decoded as UTF-8.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        DamagedError: it is not a regular file, is larger than `largest` bytes, or can't be read or decoded.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for a writer
        with open(number, "rb") as file:
            facts = os.fstat(number)
            if not stat.S_ISREG(facts.st_mode):
                raise ValueError("not a regular file")
            if facts.st_size > largest:
                raise ValueError(f"{facts.st_size:,} bytes, at most {largest:,} are read")
            return file.read(largest).decode(errors=errors)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None if there is no file.

    Raises:
        DamagedError: it can't be read, or is not an object.
    """
    try:
        return parse_json(read_text(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise damaged(path, error) from error


def parse_json(text: str) -> dict[str, Any]:
    """Return a JSON object of bounded depth. Raises ValueError."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("not an object")
    _check_plain(content)
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the keys in a YAML file, as plain values of bounded depth.

    Raises:
        DamagedError: it is missing, or cannot be read.
    """
    try:
        values = load_yaml(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedError(f"{path} is missing") from None
    if not isinstance(values, dict):
        raise damaged(path, "not a mapping")
    return values


def load_yaml(path: Path) -> Any:
    """Return the plain value in a YAML file, of bounded depth.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        DamagedError: it cannot be read, or has an alias, by which a short file can expand without bound.
    """
    text = read_text(path)
    depth = 0
    try:
        for event in yaml.parse(text, LOADER):  # checked first, since libyaml composes recursively
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"an alias in line {event.start_mark.line + 1}")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ValueError("nested too deeply")
        values = yaml.load(text, LOADER)
        _check_plain(values)
    except (ValueError, yaml.YAMLError) as error:
        raise damaged(path, error) from error
    return values


def damaged(path: Path, error: Exception | str) -> DamagedError:
    """Return the error for a damaged file."""
    text = error.strerror if isinstance(error, OSError) else None
    return DamagedError(f"{path} is damaged ({text or (error if isinstance(error, str) else first_line(error))})")


def check_values(content: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of those keys of `kinds` that `content` has, each converted to its kind.

    Args:
        kinds: annotations: str, int, float, a StrEnum, dict[str, str] or tuple[str, ...]; each may be `| None`.

    Raises:
        ValueError: a value is of another kind, or a number is not finite; names the key.
    """
    return {key: _check_value(key, content[key], kind) for key, kind in kinds.items() if key in content}


def take(content: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key. Raises ValueError if it is missing."""
    if key not in content:
        raise ValueError(f"it has no {key}")
    return content[key]


def _check_value(key: str, value: Any, kind: Any) -> Any:
    if isinstance(kind, UnionType):
        if value is None:
            return None
        (kind,) = (one for one in get_args(kind) if one is not NoneType)
    if kind == dict[str, str] and isinstance(value, dict):
        if not all(isinstance(one, str) for one in value.values()):
            raise ValueError(f"a value of {key} is not a string")
        return {_printable(name): _printable(one) for name, one in value.items()}
    if kind == tuple[str, ...] and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(map(_printable, value))
    if kind in (int, float) and isinstance(value, int | kind) and not isinstance(value, bool):
        if not -MAX_NUMBER < value < MAX_NUMBER:
            raise ValueError(f"{key} is not finite" if isinstance(value, float) else f"{key} is too large")
        return kind(value)
    if isinstance(kind, type) and issubclass(kind, str) and isinstance(value, str):
        return kind(_printable(value))
    raise ValueError(f"{key} is a {type(value).__name__}")


def _printable(text: str) -> str:
    """Replace lone surrogates, which no terminal can print."""
    return text.encode(errors="replace").decode()


def is_finite(value: Any) -> bool:
    """Return True for a number that is neither infinite nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -MAX_NUMBER < value < MAX_NUMBER


def _check_plain(values: Any, depth: int = 0) -> None:
    """Check that keys are strings, and values numbers, strings, booleans, None, or lists and mappings of these."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(values, dict):
        if odd := [key for key in values if not isinstance(key, str)]:
            raise ValueError(f"the key {odd[0]!r} is not a string")
        for value in values.values():
            _check_plain(value, depth + 1)
    elif isinstance(values, list):
        for value in values:
            _check_plain(value, depth + 1)
    elif not isinstance(values, str | int | float | NoneType):
        raise ValueError(f"it has a {type(values).__name__}")
