"""Meaning of the keys that a user sets, read from the comments beside the fields of the specs, their only home."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any, get_args, get_type_hints

FIELD = re.compile(r" {4}(?P<name>\w+): [^#]*(# (?P<comment>.*))?")
CONTINUED = re.compile(r" {4}#\s{2,}(?P<comment>.*)")  # a comment below a field's, indented, goes on with it
IN_YAML = {"None": "null", "True": "true", "False": "false"}


@dataclass(frozen=True)
class KeyDoc:
    """A dotted key, and what it means: a phrase with its unit or its allowed values."""

    key: str
    meaning: str


def document_keys(spec: type, prefix: str = "") -> Iterator[KeyDoc]:
    """Yield every key that holds a value, in the order of the specs. A field without a comment has no meaning."""
    comments = read_comments(spec)
    types = get_type_hints(spec)
    for field in fields(spec):
        kind = types[field.name]
        if is_dataclass(kind):
            assert isinstance(kind, type)
            yield from document_keys(kind, f"{prefix}{field.name}.")
        else:
            parts = [comments.get(field.name, ""), _allowed(kind)]
            yield KeyDoc(f"{prefix}{field.name}", "; ".join(filter(None, parts)))


def read_comments(spec: type) -> dict[str, str]:
    """Return the comment of each field of a class and of those it extends, in the words of YAML."""
    found: dict[str, str] = {}
    for owner in filter(is_dataclass, reversed(spec.__mro__)):
        name = ""  # of the field whose comment the next line may continue
        for line in inspect.getsource(owner).splitlines():
            if field := FIELD.fullmatch(line):
                name = field["name"]
                found[name] = _in_yaml(field["comment"] or "")
            elif name and (more := CONTINUED.fullmatch(line)):
                found[name] += f" {_in_yaml(more['comment'])}"
            else:
                name = ""
    return found


def _in_yaml(comment: str) -> str:
    return re.sub(r"\b(None|True|False)\b", lambda word: IN_YAML[word[0]], comment)


def _allowed(kind: Any) -> str:
    kinds = [part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, StrEnum)]
    choices = [member for part in kinds for member in part]
    return f"one of {', '.join(choices)}" if choices else ""
