"""Reading of a roadmap.toml: its typed keys, sections and tables, with checks that name the file and the key."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

from roadmap.config.convert import convert
from roadmap.config.roadmaps import About, Section, check_word
from roadmap.config.step_files import check_name
from roadmap.errors import ConfigError

TABLES = ("references", "tables", "figures")
HEX_COLOR = re.compile("#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6}")
PALETTE = ("#7c80b8", "#9cc9e3", "#4f9d90", "#e0cf85", "#c06a78", "#b5cc93")  # of sections without a color


def read_about(path: Path, name: str) -> tuple[About, list[Section], dict[str, Any]]:
    """Return a roadmap.toml's keys, its sections, each with a color, and its tables for `convert_tables`.

    Args:
        name: of the roadmap, which is its folder's.

    Raises:
        ConfigError: it is no TOML, or a key, value or color is wrong.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    tables = {key: content.pop(key, {}) for key in TABLES}
    check_name(path, name)
    about, sections = _convert(path, content.pop("sections", None), {"name": name, **content})
    if about.name != name:
        raise ConfigError(f"{path}: name={about.name}: must be the folder's name, {name}, or left out")
    return about, sections, tables


def convert_tables(path: Path, tables: Mapping[str, Any], steps: Sequence[str]) -> dict[str, Any]:
    """Return the tables of a roadmap.toml: lists of steps under figures, and texts in the others.

    Raises:
        ConfigError: a value is wrong, or a figure has no such step.
    """
    converted: dict[str, dict[str, Any]] = {}
    for key, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {key} must be a table: write [{key}], and a line NAME = VALUE for each")
        try:
            kind = tuple[str, ...] if key == "figures" else str
            converted[key] = {name: convert(kind, value, f"{key}.{name}") for name, value in table.items()}
            for name, value in converted[key].items() if key == "figures" else ():
                for step in value:
                    check_word(f"{key}.{name}", step, steps)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return converted


def _convert(path: Path, tables: Any, values: Mapping[str, Any]) -> tuple[About, list[Section]]:
    """Return the typed keys of a roadmap.toml, and its sections, each with a color."""
    try:
        about = convert(About, values)
        assert isinstance(about, About)
        if not isinstance(tables, list) or not tables:
            raise ConfigError("no [[sections]] yet: give at least one, with a label and its steps")
        read: list[Section] = [convert(Section, table, "sections") for table in tables]
        for one in read:
            if one.color:
                _check_color(f"sections.color of {one.label}", one.color)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    colors = cycle(PALETTE)
    return about, [replace(one, color=one.color or color) for one, color in zip(read, colors, strict=False)]


def _check_color(key: str, color: str) -> None:
    """Raise ConfigError unless figures and the report, which is a web page, both know a color."""
    if HEX_COLOR.fullmatch(color):
        return
    from PIL import ImageColor  # imported here so that `import roadmap` stays fast

    if color.lower() not in ImageColor.colormap:
        raise ConfigError(f'{key}="{color}": must be of the form "#7c80b8", or a name in CSS, such as "teal"')
