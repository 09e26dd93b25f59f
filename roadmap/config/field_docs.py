"""Meaning of the keys that a user sets, read from the comments beside the fields of the specs, their only home."""

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from textwrap import dedent
from typing import Any, get_args, get_type_hints

CONTINUED = re.compile(r"#\s{2,}")  # a comment below a field's, indented, goes on with it
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
    for owner in reversed(spec.__mro__):
        if is_dataclass(owner):
            found |= _read_own_comments(owner)
    return found


def _read_own_comments(spec: type) -> dict[str, str]:
    source = dedent(inspect.getsource(spec))
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    rows = {row: node for node in body.body for row in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    found: dict[str, str] = {}
    last: str | None = None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        node = rows.get(token.start[0])
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
            found[last] = _clean(token.string)
        elif node is None and last and CONTINUED.match(token.string):
            found[last] += f" {_clean(token.string)}"
        else:
            last = None
    return found


def _clean(comment: str) -> str:
    text = comment.lstrip("# ").strip()
    return re.sub(r"\b(None|True|False)\b", lambda match: IN_YAML[match[0]], text)


def _allowed(kind: Any) -> str:
    choices = [member for part in (kind, *get_args(kind)) for member in _members(part)]
    return f"one of {', '.join(choices)}" if choices else ""


def _members(kind: Any) -> list[str]:
    return list(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else []
