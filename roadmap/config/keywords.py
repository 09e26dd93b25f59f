"""Overrides from Python values: `seed=[0, 1]`, `recipe={"epochs": 5}` and `roadmap="step5_inverted"` as words."""

import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from roadmap.config.hydra_errors import ADDED
from roadmap.config.roadmaps import value_text
from roadmap.config.search_path import is_group, quote
from roadmap.errors import ConfigError


def to_words(overrides: Sequence[str], values: Mapping[str, Any], is_sweep: bool = False) -> list[str]:
    """Return the overrides as `train.py` takes them, followed by those of the values.

    A nested mapping sets keys below its key. In a sweep, a list or range is one run per item.

    Raises:
        ConfigError: an override is no text, or a value is none that a configuration can hold.
    """
    for word in overrides:
        if not isinstance(word, str):
            raise ConfigError(f"{word!r} is no override: write text, such as 'seed=1', or a keyword, seed=1")
    return [*overrides, *_words("", values, is_sweep)]


def _words(prefix: str, values: Mapping[str, Any], is_sweep: bool) -> Iterable[str]:
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            for inner, own in value.items():
                separator = "/" if is_group(f"{key}/{inner}") else "."
                yield from _words(f"{key}{separator}", {inner: own}, is_sweep)
            continue
        is_swept = is_sweep and _is_list(value)
        text = ",".join(_text(key, item) for item in value) if is_swept else _text(key, value)
        if is_swept and not text:
            raise ConfigError(f"{key}={value!r} is a sweep of no run: give it one value at least")
        yield f"{'+' if key in ADDED else ''}{key}={text}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | os.PathLike | Mapping)


def _text(key: str, value: Any) -> str:
    """Return a value in Hydra's grammar."""
    if value is None or isinstance(value, Real):  # also numpy's, and bool
        return value_text(value)
    if isinstance(value, str | os.PathLike):
        return quote(os.fspath(value))
    if _is_list(value):
        return f"[{','.join(_text(key, item) for item in value)}]"
    raise ConfigError(f"{key}={value!r}: a {type(value).__name__} is no value of a configuration")
