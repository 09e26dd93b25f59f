"""Caches of what config files say, which are forgotten once one of the files has changed, as in a notebook."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ParamSpec, TypeVar

Version = tuple[int, int, int] | None  # None: there is no such file

P = ParamSpec("P")
R = TypeVar("R")
_FORGET: list[Callable[[], None]] = []
_READ: dict[Path, Version] = {}


def file_cached(function: Callable[P, R]) -> Callable[P, R]:
    """Cache a function whose result depends on files, each of which is passed to `note_read`."""
    cached = cache(function)
    _FORGET.append(cached.cache_clear)
    return cached  # type: ignore[return-value]


def note_read(path: Path) -> Version:
    """Note that a cached result depends on a file, and return the file's version."""
    version = _find_version(path)
    _READ.setdefault(path, version)
    return version


def forget_changed_files() -> None:
    """Clear all caches if a file has changed since it was read; called once per call of the Python interface."""
    if any(_find_version(path) != version for path, version in _READ.items()):
        _READ.clear()
        for forget in _FORGET:
            forget()


def _find_version(path: Path) -> Version:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
