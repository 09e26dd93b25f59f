"""Reconstruction of a run's overrides from its saved configuration."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from roadmap.config.compose import compose
from roadmap.config.search_path import find_config, list_choices, quote
from roadmap.errors import ConfigError

# Given by the choice of the step or by the seed; file locations are not part of a configuration.
NO_OVERRIDE = ("step", "seed", "reference", "output_dir")
DESIGN = "model."  # of a step, given by its variant; a reference takes only classes and drop_path from here
NO_WORDS = ("data.note", "model.form")  # the printed note, and the implementation of a block
GROUPS = ("regime", "data", "recipe")


@dataclass(frozen=True)
class Words:
    """The overrides of `python train.py` for a run, without its seed."""

    choice: str  # such as +roadmap=step5_inverted; empty for a network without a step
    variant: tuple[str, ...]  # each design override separately
    setting: tuple[str, ...]  # regime, data, recipe, and every key that differs from their values


def find_words(values: Mapping[str, Any], variant: Mapping[str, str]) -> Words:
    """Return the overrides that reproduce a run, from its config.yaml and its identity's variant.

    Raises:
        ConfigError: an interpolation among the values.
        KeyError, TypeError: the values do not have the structure of a configuration.
    """
    refuse_interpolations(values)
    setting = tuple(f"{group}={quote(find_group_choice(group, values[group]))}" for group in GROUPS)
    is_step = values["reference"] is None
    told = {key: value for key, value in _list_leaves(values).items() if not (is_step and key.startswith(DESIGN))}
    differing = _find_differing(compose(*setting), told)
    overrides = [f"{key}={_write(value)}" for key, value in differing.items()]
    choice = _find_choice(values["step"]["name"], values["reference"])
    return Words(choice, tuple(_switch(*pair) for pair in variant.items()), (*setting, *overrides))


def find_group_choice(group: str, own: Mapping[str, Any]) -> str:
    """Return the file of that name or, for a custom name, the file with the fewest differences."""
    choices = list_choices(group)
    if own["name"] in choices:
        return str(own["name"])
    return min(choices, key=lambda choice: _count_differing(compose(f"{group}={quote(choice)}")[group], own))


def _count_differing(filed: DictConfig, own: Mapping[str, Any]) -> int:
    """Count differing values, without interpolations of other groups."""
    values, mine = flatten(OmegaConf.to_container(filed)), flatten(own)
    return sum(text != mine.get(key, text) for key, text in values.items() if "${" not in text)


def _find_differing(base: DictConfig, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's values that differ from `base` or fill a missing value in it, and update `base` with them.

    Interpolated values of `base` are compared after that: one that follows the run's value needs no override. The
    network's interpolations come after the recipe's, which come after the regime's.
    """
    values = _list_leaves(OmegaConf.to_container(base))
    found = set()
    for key in sorted(values, key=lambda key: ("${" in str(values[key]), key.startswith(DESIGN))):
        if key not in own or key.partition(".")[0] in NO_OVERRIDE or key in NO_WORDS:
            continue
        is_missing = values[key] == MISSING
        if is_missing or _show(own[key]) != _show(OmegaConf.select(base, key)):
            OmegaConf.update(base, key, own[key])
            if not is_missing or own[key] is not None:  # None: the images' location is not published
                found.add(key)
    return {key: value for key, value in own.items() if key in found}


def compose_again(
    step: str,
    reference: str | None,
    variant: Mapping[str, str],
    setting: Sequence[str],
    shared: Mapping[str, Any],
    own: Sequence[str],
) -> DictConfig:
    """Compose a network's configuration from regime, data, recipe, shared values and its own overrides.

    In `own`, overrides that choose a group's file take precedence over the name in `setting`.

    Raises:
        ConfigError: an interpolation, such as ${oc.env:NAME}, which would read the reader's environment.
        hydra.errors.HydraException: a choice no longer exists.
        omegaconf.errors.OmegaConfBaseException: a value's key no longer exists.
    """
    typed = [word for word in own if is_group_word(word)]
    refuse_interpolations({"step": step, "reference": reference, "variant": variant, "settings": typed}, "$")
    keyed = OmegaConf.from_dotlist([word for word in own if word not in typed])
    refuse_interpolations({**shared, "settings": OmegaConf.to_container(keyed)})
    choice = _find_choice(step, reference)
    named = zip(GROUPS, setting, strict=True)
    chosen = {group: find_group_choice(group, shared.get(group, {}) | {"name": name}) for group, name in named}
    overrides = {group: f"{group}={quote(name)}" for group, name in chosen.items()}
    groups = list((overrides | {word.partition("=")[0]: word for word in typed}).values())
    cfg = compose(*filter(None, [choice]), *groups, *(_switch(*pair) for pair in variant.items()))
    cfg.merge_with(shared)
    cfg.merge_with(keyed)
    return cfg


def refuse_interpolations(values: Mapping[Any, Any], mark: str = "${") -> None:
    """What is read back was resolved when it was written, and is never resolved again.

    Args:
        mark: what an interpolation begins with; "$" of words for Hydra, whose grammar lets the brace be escaped.

    Raises:
        ConfigError: a key or a text holds one; names the key.
    """
    for key, value in _list_leaves(values).items():
        for text in (key, *map(str, value if isinstance(value, list | tuple) else [value])):
            if mark in text:
                raise ConfigError(f"{key}: {text} is an interpolation, which is not resolved in what is read back")


def is_group_word(word: str) -> bool:
    """Return True if an override chooses the file of the regime, the data or the recipe."""
    return word.partition("=")[0] in GROUPS


def _find_choice(step: str, reference: str | None) -> str:
    if reference is not None:
        return f"+reference={quote(step if find_config(f'reference/{step}') is not None else reference)}"
    return f"+roadmap={quote(step)}" if find_config(f"roadmap/{step}") is not None else ""


def _switch(axis: str, value: str) -> str:
    value = "null" if value == "None" else value  # in names of older runs
    if find_config(f"model/{axis}/{value}") is not None:
        return f"model/{axis}={value}" if value.isdecimal() else f"model/{axis}={quote(value)}"
    return f"model.{axis}={value}"


def flatten(values: Any) -> dict[str, str]:
    """Return dotted keys and values in their command-line form."""
    return {key: _show(value) for key, value in _list_leaves(values).items()}


def _list_leaves(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return dotted keys and values of nested mappings."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            leaves |= _list_leaves(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _show(value: Any) -> str:
    """Format as in YAML; 1.0 becomes 1, since a configuration may have either for the same number."""
    if isinstance(value, list | ListConfig):
        return f"[{','.join(map(_show, value))}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _write(value: Any) -> str:
    """Format so that Hydra reads the same value."""
    return quote(value) if isinstance(value, str) else _show(value)
