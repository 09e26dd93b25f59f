"""Choices of a command, such as recipe=short, that the files of the chosen step overwrite."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roadmap.config.file_cache import note_read
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import value_text
from roadmap.config.search_path import find_config, is_group, parse_word, quote
from roadmap.config.step_files import NO_CHOICE, ROADMAPS
from roadmap.config.yaml_errors import load_yaml
from roadmap.errors import ConfigError
from roadmap.runs.config_hash import flatten

SETTING = "setting"
NAMING = ("reference", "sweep", SETTING)  # groups that no step overwrites
LISTED = 4  # values that a message shows
Compose = Callable[[Sequence[str]], DictConfig]


def check_not_overwritten(cfg: DictConfig, overrides: Sequence[str], compose: Compose) -> None:
    """Refuse a choice of the overrides of which the step's files overwrite most, and a reference beside a step.

    A step's file may write values of a recipe, which come after the chosen recipe's: under recipe=short,
    training_techniques trains for 90 epochs all the same, and the run's recipe has the name short.

    Args:
        cfg: the composition of the overrides, with Hydra's own node.
        compose: returns the composition of other overrides.

    Raises:
        ConfigError: names the choice, the step's values, and what to give instead.
    """
    check_one_network(cfg.hydra.runtime.choices)
    parsed = {word: parse_word(word) for word in overrides}
    chosen = {word: _choice(one) for word, one in parsed.items() if is_group(one.key_or_group)}
    groups = {parsed[word].key_or_group: word for word, choice in chosen.items() if choice is not None}
    step = chosen.get(groups.pop(ROADMAPS, ""))
    if step is None or not groups:
        return
    step, *switched = step.split(",")
    written = _written_by(f"{ROADMAPS}/{step}") - {axis.partition("=")[0] for axis in switched}
    if SETTING in groups:
        _check_setting(cfg, groups[SETTING], step, {one.key_or_group for one in parsed.values()}, written)
    for group, word in groups.items():
        own = {name for name in written if f"{name}.".startswith(f"{group.replace('/', '.')}.")}
        if own and group not in NAMING:
            _check_choice(cfg, word, step, group, own, overrides, compose)


def check_one_network(choices: Mapping[str, str | None]) -> None:
    """Refuse a step beside a reference, of which Hydra would take the values of both, and the name of the last."""
    step, reference = choices.get(ROADMAPS), choices.get("reference")
    if step and reference:
        raise ConfigError(
            f"{step} is a step of the roadmap, {reference} a network beside it: "
            "choose one of them, by +roadmap or by +reference"
        )


def _check_choice(
    cfg: DictConfig, word: str, step: str, group: str, written: set[str], overrides: Sequence[str], compose: Compose
) -> None:
    """Refuse a choice if the step writes more of the values that it would change than it leaves."""
    try:
        alone = compose([other for other in overrides if parse_word(other).key_or_group != ROADMAPS])
        without = compose([other for other in overrides if other != word])
    except (HydraException, OmegaConfBaseException):  # a word that only the step's files allow
        return
    choice = cfg.hydra.runtime.choices.get(group)
    if choice == without.hydra.runtime.choices.get(group) and choice == load_roadmap(cfg.step.roadmap).recipe:
        return  # the name that the recipe of every step has
    key = group.replace("/", ".")
    now, asked, before = (_values(config, key) for config in (cfg, alone, without))
    changed = {name: value for name, value in asked.items() if before.get(name) != value and name != f"{key}.name"}
    lost = {name: now.get(name) for name in changed if name in written and now.get(name) != changed[name]}
    left = {name: value for name, value in changed.items() if name not in lost}
    if len(lost) <= len(left):
        return
    example = next(_words({name: changed[name] for name in lost}))
    instead = f", and give {' '.join(_words(left))}" if left else ""
    raise ConfigError(
        f"{word}: {step} writes {len(lost)} of the {len(changed)} values that it would change: {_list(lost)}. "
        f"Leave it out{instead}; a single key overrides a step's value, as in {example}"
    )


def _check_setting(cfg: DictConfig, word: str, step: str, typed: set[str], written: set[str]) -> None:
    """Refuse a setting if the step's files overwrite a value that its file writes.

    A step may choose another recipe than the setting, as the original ResNet does: the run has that one's name.
    """
    content = _read(find_config(word.replace("=", "/", 1).replace("'", "")))
    if not isinstance(content, dict):
        return
    content.pop("defaults", None)
    asked = {key: value for key, value in flatten(content).items() if key not in typed}
    lost = {key: OmegaConf.select(cfg, key) for key, value in asked.items() if key in written}
    lost = {key: value for key, value in lost.items() if value != asked[key]}
    if lost:
        used = {key: value for key, value in asked.items() if key not in lost}
        instead = f" Give what is used of it by itself: {' '.join(_words(used))}" if used else ""
        unused = _list({key: asked[key] for key in lost})
        raise ConfigError(
            f"{word}: {step} writes {_list(lost)} itself, so {unused} of this setting has no effect.{instead}"
        )


def _choice(override: Override) -> str | None:
    """Return the one config that an override chooses; None if it is no text."""
    value = None if override.is_delete() else override.value()
    text = getattr(value, "text", value)
    return text if isinstance(text, str) else None


def _written_by(name: str) -> set[str]:
    """Return the keys with a value in a step's file, and in those that it is based on."""
    path = find_config(name)
    content = _read(path)
    if not isinstance(content, dict):
        return set()
    bases = [entry for entry in content.pop("defaults", None) or [] if isinstance(entry, str) and entry != "_self_"]
    folder = name.rpartition("/")[0]
    found = set(flatten({key: value for key, value in content.items() if key not in NO_CHOICE}))
    return found.union(*(_written_by(base[1:] if base[0] == "/" else f"{folder}/{base}") for base in bases))


def _read(path: Path | None) -> Any:
    if path is None:
        return None
    note_read(path)
    return load_yaml(path)


def _values(cfg: DictConfig, key: str) -> dict[str, Any]:
    """Return the values at and below a key, by their full keys; unresolved if one does not resolve."""
    try:
        node: Any = OmegaConf.select(cfg, key)
        value = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException:
        node = cfg._get_node(key.partition(".")[0])
        value = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else None
    return flatten({key: value})


def _list(values: Mapping[str, Any]) -> str:
    words = list(_words(values))
    return f"{', '.join(words[:LISTED])}{' and others' if len(words) > LISTED else ''}"


def _words(values: Mapping[str, Any]) -> Iterator[str]:
    """Return values as overrides, for a shell."""
    for key, value in values.items():
        if isinstance(value, list):
            yield f"'{key}=[{','.join(map(str, value))}]'"
        else:
            text = quote(value) if isinstance(value, str) else value_text(value)
            yield f"{key}={text}"
