"""Defects in the files of a command's composition: the file, the line, and what to write there."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from roadmap.config.convert import suggest
from roadmap.config.search_path import CONF_DIR, current, find_config, is_group, list_choices, parse_word
from roadmap.errors import ConfigError
from roadmap.model.custom_axes import AXES

GLOBAL = ("roadmap", "reference", "setting")  # groups whose files set keys of the whole configuration
PACKAGE = "# @package _global_"
EMPTY = "is empty: it says what changes, as KEY: VALUE"
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is faster, if it is built in
STRING = "tag:yaml.org,2002:str"
ENTRY = re.compile(r"(?P<keywords>((optional|override) )*)(?P<group>[^@]+)(@.*)?")


def find_defect(overrides: Sequence[str]) -> str | None:
    """Return the first defect in the files that the overrides choose, and in their bases; None without one."""
    seen: set[Path] = set()
    for name in _chosen(overrides):
        if defect := next(_find_defects(name, seen), None):
            return defect
    return None


UNKNOWN_GROUP = " No file has its group, and no module in use registers this axis: name yours, by modules=[NAME]"


def check_chosen(overrides: Sequence[str]) -> None:
    """Raise ConfigError if a chosen config is empty, or is hidden by one of the same name."""
    for name in _chosen(overrides):
        files = [file for place in current().places() if (file := place / f"{name}.yaml").is_file()]
        for file in files[1:]:
            raise ConfigError(f"{file} is not read: {files[0]} has the same name and comes first: rename it")
        if (
            files
            and _has_to_speak(files[0], name)
            and all(not line.strip() or line.lstrip().startswith(b"#") for line in _lines(files[0]))
        ):
            raise ConfigError(f"{files[0]} {EMPTY}")


def _has_to_speak(path: Path, name: str) -> bool:
    """Return True for a step and any user file; `conf/setting/laptop.yaml` is the setting that changes nothing."""
    return name.startswith("roadmap/") or not path.is_relative_to(CONF_DIR)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _chosen(overrides: Sequence[str]) -> Iterator[str]:
    yield current().config_name
    for override in map(parse_word, overrides):
        group = override.key_or_group
        if is_group(group) and not override.is_delete():
            values = override.value()
            texts = [values] if isinstance(values, str) else getattr(values, "list", [])
            yield from (f"{group}/{getattr(text, 'text', text)}" for text in texts)


def _find_defects(name: str, seen: set[Path]) -> Iterator[str]:
    path = find_config(name)
    if path is None or path in seen:
        return
    seen.add(path)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        yield f"{path}, line {line}: no UTF-8 (byte 0x{content[error.start]:02X}): save the file as UTF-8"
        return
    try:
        node = yaml.compose(text, YAML)
    except yaml.YAMLError as error:
        yield explain_syntax(path, text, error)
        return
    if node is None:
        if _has_to_speak(path, name):
            yield f"{path} {EMPTY}"
    elif not isinstance(node, MappingNode):
        kind = "a list" if isinstance(node, SequenceNode) else "a single value"
        yield f"{_place(path, node)}: {kind}; a config is lines of KEY: VALUE, and a list stands under defaults:"
    else:
        yield from _find_twice(path, node)
        group = name.rpartition("/")[0]
        if group in GLOBAL and PACKAGE not in text:
            yield f"{path}, line 1: the file begins with {PACKAGE}, without which its keys go below {group}"
        yield from _find_in_defaults(path, group, node, seen)


def explain_syntax(path: Path, text: str, error: yaml.YAMLError) -> str:
    """Return the line of a syntax error, and what to write there."""
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    if mark is None:
        return f"{path}: {problem}"
    lines = text.splitlines()
    if mark.line >= len(lines):  # at the end of the file: the unclosed part starts earlier
        mark = getattr(error, "context_mark", None) or mark
    place, line = f"{path}, line {mark.line + 1}", lines[min(mark.line, len(lines) - 1)]
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in problem:
        return f"{place}: a tab; indent with spaces"
    if "mapping values are not allowed" in problem and line.count(":") > 1:
        key, _, value = line.strip().removeprefix("- ").partition(":")
        return f'{place}: a value with a colon is quoted: {key}: "{value.strip()}"'
    return f"{place}: {problem}: {line.strip()}"


def _find_twice(path: Path, node: Node) -> Iterator[str]:
    if isinstance(node, MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.value in lines:
                yield f"{_place(path, key)}: {key.value} is there twice, first in line {lines[key.value]}: keep one"
            lines[str(key.value)] = key.start_mark.line + 1
            yield from _find_twice(path, value)


def _find_in_defaults(path: Path, group: str, node: MappingNode, seen: set[Path]) -> Iterator[str]:
    entries = next((value for key, value in node.value if key.value == "defaults"), None)
    if entries is None:
        return
    if not isinstance(entries, SequenceNode):
        yield f"{_place(path, entries)}: defaults is a list; each line of it begins with a dash"
        return
    for entry in entries.value:
        if isinstance(entry, ScalarNode):
            if entry.value == "_self_" or "${" in entry.value:
                continue
            yield from _find_missing(path, entry, _absolute(group, entry.value), seen)
        elif isinstance(entry, MappingNode) and len(entry.value) == 1:
            ((key, value),) = entry.value
            yield from _find_in_choice(path, group, key, value, seen)
        else:
            yield f"{_place(path, entry)}: a line of defaults is a NAME, or one GROUP: NAME"


def _find_in_choice(path: Path, group: str, key: Node, value: Node, seen: set[Path]) -> Iterator[str]:
    match = ENTRY.fullmatch(str(key.value))
    if match is None or not isinstance(value, ScalarNode) or "${" in value.value:
        return
    chosen = _absolute(group, match["group"])
    if value.tag.endswith(":null"):
        return
    if value.tag != STRING:
        yield f'{_place(path, value)}: a choice is a string, so this one is quoted: - {key.value}: "{value.value}"'
        return
    if "override" not in match["keywords"] and _has_choice(chosen) and path != find_config(current().config_name):
        replaced = f'- override /{chosen}: "{value.value}"'
        yield f"{_place(path, key)}: {chosen} has a choice already, which is replaced: {replaced}"
        return
    if not is_group(chosen) and is_group(match["group"]):
        yield f"{_place(path, key)}: {chosen} is no group; from the top it is written /{match['group']}"
        return
    if "optional" not in match["keywords"]:
        yield from _find_missing(path, value, f"{chosen}/{value.value}", seen)


def _has_choice(group: str) -> bool:
    """Return True if `conf/config.yaml` chooses one."""
    path = find_config("config")
    entries = yaml.load(path.read_text(encoding="utf-8"), YAML)["defaults"] if path else []
    return group.removeprefix("model/") in AXES or any(
        isinstance(entry, dict) and group in entry for entry in entries
    )


def _find_missing(path: Path, node: Node, name: str, seen: set[Path]) -> Iterator[str]:
    group, _, choice = name.rpartition("/")
    if name.startswith("hydra/"):
        return
    known = list_choices(group)
    if find_config(name) is None:
        if choice not in known:  # those of a module have no file
            allowed = f"{suggest(choice, known)} Allowed: {', '.join(known)}" if known else UNKNOWN_GROUP
            yield f"{_place(path, node)}: there is no {name}.{allowed}"
        return
    yield from _find_defects(name, seen)


def _absolute(group: str, name: str) -> str:
    """Resolve as Hydra: below the file's own group, unless a name begins with a slash."""
    return name[1:] if name.startswith("/") else f"{group}/{name}".strip("/")


def _place(path: Path, node: Node) -> str:
    return f"{path}, line {node.start_mark.line + 1}"
