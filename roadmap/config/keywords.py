"""Overrides from Python values: `seed=[0, 1]`, `recipe={"epochs": 5}` and `roadmap="step5_inverted"` as words."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

from roadmap.config.file_cache import forget_changed_files
from roadmap.config.hydra_errors import ADDED
from roadmap.config.roadmaps import value_text
from roadmap.config.search_path import (
    MODULES,
    SEARCH_PATH,
    SearchPath,
    current,
    is_group,
    quote,
    read_search_path,
    use,
)
from roadmap.errors import ConfigError

LISTS = (MODULES, SEARCH_PATH)  # keys of a whole command, whose lists are no sweep
OWN_CONFIGS = tuple(f"{key}=" for key in LISTS)


@contextmanager
def use_words(overrides: Sequence[str], values: Mapping[str, Any], is_sweep: bool = False) -> Iterator[list[str]]:
    """Yield the words of `to_words`, on the search path that they name, or else on the one in use.

    Files that were edited since an earlier call are read again.

    Raises:
        ConfigError: as to_words; or a folder or module does not exist.
    """
    forget_changed_files()
    words = to_words(overrides, values, is_sweep)
    is_named = any(word.startswith(OWN_CONFIGS) for word in words)
    with use(read_search_path(words) if is_named or current() == SearchPath() else current()):
        yield to_words(overrides, values, is_sweep)  # whose groups may be of that path


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
        is_swept = is_sweep and _is_list(value) and key not in LISTS
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
