"""Conversion of plain values to frozen dataclasses. Errors name the key, the value and what is allowed."""

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from roadmap.data.custom_sources import SOURCES
from roadmap.data.spec import Source
from roadmap.errors import ConfigError
from roadmap.model.custom_axes import CHOICES, extended

NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
WORDS = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}


def convert(kind: Any, value: Any, key: str = "") -> Any:
    """Convert `value` to `kind`: a dataclass, a StrEnum, a plain type, a tuple of one, or one or None.

    Raises:
        ConfigError: a value does not fit; names its dotted key.
    """
    if is_dataclass(kind):
        return _convert_dataclass(kind, value, key)
    if isinstance(kind, UnionType):
        return None if value is None else convert(next(k for k in get_args(kind) if k is not NoneType), value, key)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{key}={value}: must be a list, as in {key}=[...]")
        return tuple(convert(get_args(kind)[0], item, f"{key}[{i}]") for i, item in enumerate(value))
    if issubclass(kind, StrEnum):
        if str(value) in (own := own_values(kind, key)):
            return value
        if value not in list(kind):
            guess = suggest(str(value), [*kind, *own])
            allowed = ", ".join([*kind, *own])
            raise ConfigError(f"{key}={value}: there is no such choice.{guess} Allowed: {allowed}")
        return kind(value)
    return _convert_plain(kind, value, key)


def own_values(kind: type[StrEnum], key: str) -> Sequence[str]:
    """Return the values of a field that a user's modules have registered, beside the enumeration's."""
    return list(SOURCES if kind is Source else CHOICES.get(key.rpartition(".")[2], ()))


def _convert_plain(kind: Any, value: Any, key: str) -> Any:
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if fits and kind is float and not math.isfinite(value):
        raise ConfigError(f"{key}={value}: must be a finite number")
    if fits:
        return value
    if kind is str and isinstance(value, int | float):  # a name such as experiment=3
        return str(value)
    shown = "null" if value is None else value
    unquoted = ", without quotes" if isinstance(value, str) and NUMBER.fullmatch(value) else ""
    raise ConfigError(f"{key}={shown}: must be {WORDS[kind]}{unquoted}")


def _convert_dataclass(kind: Any, value: Any, key: str) -> Any:
    kind = extended(kind)
    if not isinstance(value, dict):
        allowed = ", ".join(field.name for field in fields(kind))
        if key:
            raise ConfigError(f"{key}={value}: must be a group of keys: {allowed}")
        found = "empty" if value is None else "a list" if isinstance(value, list) else "a single value"
        raise ConfigError(f"{found}, and not a group of keys: {allowed}")
    prefix = f"{key}." if key else ""
    known = [field.name for field in fields(kind)]
    for name in value:
        if name not in known:
            raise ConfigError(explain_unknown_key(f"{prefix}{name}", known))
    types = get_type_hints(kind)
    missing = [f.name for f in fields(kind) if f.name not in value and f.default is MISSING]
    if missing:
        raise ConfigError(f"no value yet for {prefix}{missing[0]}: give one, as in {prefix}{missing[0]}=VALUE")
    return kind(**{name: convert(types[name], value[name], f"{prefix}{name}") for name in value})


def explain_unknown_key(key: str, known: list[str]) -> str:
    """Return a message for the dotted `key`, whose last part is not one of the `known` names there."""
    prefix, dot, name = key.rpartition(".")
    guess = suggest(name, known, prefix + dot)
    where = f"in {prefix}" if prefix else "at the top"
    return f"there is no key {key}.{guess} Allowed {where}: {', '.join(known)}"


def suggest(word: str, known: Sequence[str], prefix: str = "") -> str:
    """Return a question with the known word closest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {prefix}{close[0]}?" if close else ""
