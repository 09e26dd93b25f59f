"""Checks of the arguments of register_* functions; an error names the call and how to fix it."""

import inspect
from collections.abc import Collection
from typing import Any

from roadmap.errors import ConfigError


def check_name(call: str, name: str, taken: Collection[str]) -> None:
    """Raise ConfigError if a name is taken or is not an identifier."""
    if name in taken:
        raise ConfigError(
            f"{call}: {name} exists already: name yours differently. Taken: {', '.join(sorted(taken))}"
        )
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(f"{call}: {name!r} must be a name of letters, digits and underscores")


def check_function(call: str, function: Any, *arguments: str) -> None:
    """Raise ConfigError unless a function can be called with these arguments."""
    expected = f"{call}: give a function of ({', '.join(arguments)})"
    if not callable(function):
        raise ConfigError(f"{expected}, not {function!r}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        name = getattr(function, "__name__", repr(function))
        raise ConfigError(f"{expected}: {name}{signature} can't be called with them") from None
