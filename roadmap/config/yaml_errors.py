"""Reading of YAML configs, and defects in a command's files: the file, the line, and what to write there."""

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from roadmap.config.convert import suggest
from roadmap.config.search_path import CONF_DIR, current, find_config, is_group, list_choices, parse_word
from roadmap.errors import ConfigError
from roadmap.model.custom_axes import AXES

GLOBAL = ("roadmap", "reference", "setting")  # groups whose files set keys of the whole configuration
CONFIGS = ("*.yaml", "roadmap.toml")  # in a group's folder
PACKAGE = "# @package _global_"
EMPTY = "is empty: it says what changes, as KEY: VALUE"
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is faster, if it is built in
STRING = "tag:yaml.org,2002:str"
MERGE = "tag:yaml.org,2002:merge"  # the key <<, which may be there several times
EXPONENT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$")
ENTRY = re.compile(r"(?P<keywords>((optional|override) )*)(?P<group>[^@]+)(@.*)?")


UNKNOWN_GROUP = " No file has its group, and no module in use registers this axis: name yours, by modules=[NAME]"


@dataclass
class Walk:
    """The files that a check has come to."""

    checked: set[Path] = field(default_factory=set)
    chain: list[Path] = field(default_factory=list)  # each named in the defaults of the one before it


def describe_cycle(chain: Sequence[Path]) -> str:
    """Describe files whose defaults name the next one, and of which the last is the first."""
    names = " -> ".join(path.name for path in chain)
    return f"these files name each other in their defaults: {names}: take one of them out"


class Loader(YAML):  # type: ignore[misc, valid-type]
    """Reads 1e-3 as a number, as Hydra does in its files. For YAML 1.1 only 1.0e-3 is one."""


Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))


def load_yaml(path: Path) -> Any:
    """Return the content of a file.

    Raises:
        ConfigError: it is no UTF-8 or no YAML, or has a key twice; names the line and what to write there.
    """
    return _read(path, lambda loader, node: None if node is None else loader.construct_document(node))


def _read(path: Path, convert: Callable[[Any, Node | None], Any]) -> Any:
    """Return what `convert` makes of a file's loader and root node; the errors are those of `load_yaml`."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            _check_keys(path, node, set())
            return convert(loader, node)
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = f"0x{content[error.start]:02X}"
        raise ConfigError(f"{path}, line {line}: no UTF-8 (byte {byte}): save the file as UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(_explain_syntax(path, text, error)) from None


def default_choices() -> dict[str, str]:
    """Return the choice of each group in `conf/config.yaml`, and the neutral one of each registered axis."""
    entries = load_yaml(CONF_DIR / "config.yaml")["defaults"]
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    return {f"model/{axis.name}": axis.neutral for axis in AXES.values()} | dict(pairs)


def check_files(overrides: Sequence[str]) -> None:
    """Raise ConfigError for the first defect in the files that the overrides choose, and in their bases."""
    walk = Walk()
    for name in _chosen(overrides):
        _check_file(name, walk)


def check_chosen(overrides: Sequence[str]) -> None:
    """Raise ConfigError if a chosen config is empty."""
    for name in _chosen(overrides):
        file = find_config(name)
        if file is not None and _has_to_speak(file, name):
            lines = map(bytes.strip, file.read_bytes().splitlines())
            if all(not line or line.startswith(b"#") for line in lines):
                raise ConfigError(f"{file} {EMPTY}")


def check_hidden() -> None:
    """Raise ConfigError for a file on the search path that another one of the same name keeps from being read.

    It may be one that no override names: a default, a step's base, a roadmap.toml. Equal files do no harm.
    """
    places = current().places()
    if len(places) == 1:
        return
    groups = {path.parent.relative_to(CONF_DIR) for path in CONF_DIR.rglob("*/*.yaml")}
    groups |= {path.parent.relative_to(place) for place in places for path in place.glob("roadmap/*/*.yaml")}
    names = [f"{current().config_name}.yaml", *(f"{group}/{name}" for group in groups for name in CONFIGS)]
    read: dict[Path, Path] = {}
    for place in places:
        for file in sorted(file for name in names for file in place.glob(name)):
            first = read.setdefault(file.relative_to(place), file)
            if first.read_bytes() != file.read_bytes():
                what = "the file" if file.suffix == ".yaml" else "its folder"
                raise ConfigError(f"{file} is not read: {first} has the same name and comes first: rename {what}")


def _has_to_speak(path: Path, name: str) -> bool:
    """Return True for a step and any user file; `conf/setting/laptop.yaml` is the setting that changes nothing."""
    return name.startswith("roadmap/") or not path.is_relative_to(CONF_DIR)


def _chosen(overrides: Sequence[str]) -> Iterator[str]:
    yield current().config_name
    for override in map(parse_word, overrides):
        group = override.key_or_group
        if is_group(group) and not override.is_delete():
            values = override.value()
            texts = [values] if isinstance(values, str) else getattr(values, "list", [])
            yield from (f"{group}/{getattr(text, 'text', text)}" for text in texts)


def _check_file(name: str, walk: Walk) -> None:
    path = find_config(name)
    if path is None or path in walk.checked:
        return
    walk.checked.add(path)
    walk.chain.append(path)
    _check_content(path, name, walk)
    walk.chain.pop()


def _check_content(path: Path, name: str, walk: Walk) -> None:
    node = _read(path, lambda _, node: node)
    if node is None:
        if _has_to_speak(path, name):
            raise ConfigError(f"{path} {EMPTY}")
        return
    if not isinstance(node, MappingNode):
        kind = "a list" if isinstance(node, SequenceNode) else "a single value"
        raise _error(path, node, f"{kind}; a config is lines of KEY: VALUE, and a list stands under defaults:")
    group = name.rpartition("/")[0]
    if group in GLOBAL and path.read_bytes().startswith(codecs.BOM_UTF8):
        raise ConfigError(f"{path}, line 1: a byte order mark hides {PACKAGE}: save the file as UTF-8 without one")
    if group in GLOBAL and PACKAGE not in path.read_text(encoding="utf-8"):
        raise ConfigError(
            f"{path}, line 1: the file begins with {PACKAGE}, without which its keys go below {group}"
        )
    _check_defaults(path, group, node, walk)


def _explain_syntax(path: Path, text: str, error: yaml.YAMLError) -> str:
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


def _check_keys(path: Path, node: Node | None, seen: set[int]) -> None:
    """Raise ConfigError for a key that is there twice; visit each node once, since an alias may close a circle."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.tag != MERGE:
                if key.value in lines:
                    first = f"first in line {lines[key.value]}"
                    raise _error(path, key, f"{key.value} is there twice, {first}: keep one")
                lines[key.value] = key.start_mark.line + 1
            _check_keys(path, value, seen)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            _check_keys(path, item, seen)


def _check_defaults(path: Path, group: str, node: MappingNode, walk: Walk) -> None:
    entries = next((value for key, value in node.value if key.value == "defaults"), None)
    if entries is None:
        return
    if not isinstance(entries, SequenceNode):
        raise _error(path, entries, "defaults is a list; each line of it begins with a dash")
    for entry in entries.value:
        if isinstance(entry, ScalarNode):
            if entry.value != "_self_" and "${" not in entry.value:
                _check_base(path, entry, _absolute(group, entry.value), walk)
        elif isinstance(entry, MappingNode) and len(entry.value) == 1:
            ((key, value),) = entry.value
            _check_choice(path, group, key, value, walk)
        else:
            raise _error(path, entry, "a line of defaults is a NAME, or one GROUP: NAME")


def _check_choice(path: Path, group: str, key: Node, value: Node, walk: Walk) -> None:
    match = ENTRY.fullmatch(str(key.value))
    if match is None or not isinstance(value, ScalarNode) or "${" in value.value or value.tag.endswith(":null"):
        return
    chosen = _absolute(group, match["group"])
    if value.tag != STRING:
        quoted = f'- {key.value}: "{value.value}"'
        raise _error(path, value, f"a choice is a string, so this one is quoted: {quoted}")
    if "override" not in match["keywords"] and chosen in default_choices():
        if path != find_config(current().config_name):
            replaced = f'- override /{chosen}: "{value.value}"'
            raise _error(path, key, f"{chosen} has a choice already, which is replaced: {replaced}")
    elif not is_group(chosen) and is_group(match["group"]):
        raise _error(path, key, f"{chosen} is no group; from the top it is written /{match['group']}")
    if "optional" not in match["keywords"]:
        _check_base(path, value, f"{chosen}/{value.value}", walk)


def _check_base(path: Path, node: Node, name: str, walk: Walk) -> None:
    """Check a config that another names: it exists, and has no defect."""
    group, _, choice = name.rpartition("/")
    if name.startswith("hydra/"):
        return
    known = list_choices(group)
    if find_config(name) is None and choice not in known:  # those of a module have no file
        allowed = f"{suggest(choice, known)} Allowed: {', '.join(known)}" if known else UNKNOWN_GROUP
        raise _error(path, node, f"there is no {name}.{allowed}")
    if (file := find_config(name)) in walk.chain:
        raise _error(path, node, describe_cycle([*walk.chain[walk.chain.index(file) :], file]))
    _check_file(name, walk)


def _absolute(group: str, name: str) -> str:
    """Resolve as Hydra: below the file's own group, unless a name begins with a slash."""
    return name[1:] if name.startswith("/") else f"{group}/{name}".strip("/")


def _error(path: Path, node: Node, text: str) -> ConfigError:
    return ConfigError(f"{path}, line {node.start_mark.line + 1}: {text}")
