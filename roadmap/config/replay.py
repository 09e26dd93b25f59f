"""From what a run left behind of its configuration back to the words and values that compose it again."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from roadmap.config.compose import CONF_DIR, compose, list_choices

# Told by the choice of the step, or by the seed; where files lie is no part of a configuration.
NO_OVERRIDE = ("step", "seed", "reference", "output_dir")
DESIGN = "model."  # of a step, told by its variant; a reference has none, and takes classes and drop_path from here
NO_WORDS = ("data.note", "model.form")  # what is printed, and how a block is computed
GROUPS = ("regime", "data", "recipe")
# A text that Hydra takes without quotes, and for no number, truth value or null; of texts, digits first are quoted.
PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)(?:[a-z_/]|\.+/)[\w./+-]*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Words:
    """The words of `python train.py` for a run, but for its seed."""

    choice: str  # such as +roadmap=step5_inverted; empty for the network that no step names
    variant: tuple[str, ...]  # each design switched alone
    setting: tuple[str, ...]  # regime, data, recipe, and every key that differs from what these bring


def find_words(values: Mapping[str, Any], variant: Mapping[str, str]) -> Words:
    """Of the values of a config.yaml, and what the run's identity says that differs from its step.

    Raises:
        KeyError, TypeError: the values have not the shape of a configuration.
    """
    setting = tuple(f"{group}={find_group_choice(group, values[group])}" for group in GROUPS)
    is_step = values["reference"] is None
    told = {key: value for key, value in _list_leaves(values).items() if not (is_step and key.startswith(DESIGN))}
    differing = _find_differing(compose(*setting), told)
    overrides = [f"{key}={_write(value)}" for key, value in differing.items()]
    choice = _find_choice(values["step"]["name"], values["reference"])
    return Words(choice, tuple(_switch(*pair) for pair in variant.items()), (*setting, *overrides))


def find_group_choice(group: str, own: Mapping[str, Any]) -> str:
    """The file of that name; of a name of the run's own, that from which the fewest values differ."""
    choices = list_choices(group)
    if own["name"] in choices:
        return str(own["name"])
    return min(choices, key=lambda choice: _count_differing(compose(f"{group}={choice}")[group], own))


def _count_differing(filed: DictConfig, own: Mapping[str, Any]) -> int:
    """Without what follows another group."""
    values, mine = flatten(OmegaConf.to_container(filed)), flatten(own)
    return sum(text != mine.get(key, text) for key, text in values.items() if "${" not in text)


def _find_differing(base: DictConfig, own: Mapping[str, Any]) -> dict[str, Any]:
    """What a run has otherwise than `base`, or in place of a value that is missing there; `base` takes it over.

    A value of `base` that follows another is compared after that: where it follows the run's, no word is needed.
    A network's follow the recipe's, which follow the regime's.
    """
    values = _list_leaves(OmegaConf.to_container(base))
    found = set()
    for key in sorted(values, key=lambda key: ("${" in str(values[key]), key.startswith(DESIGN))):
        if key not in own or key.partition(".")[0] in NO_OVERRIDE or key in NO_WORDS:
            continue
        is_missing = values[key] == MISSING
        if is_missing or _show(own[key]) != _show(OmegaConf.select(base, key)):
            OmegaConf.update(base, key, own[key])
            if not is_missing or own[key] is not None:  # None: where images lie is not published
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
    """The configuration of a network in a regime, on data, by a recipe, with values that are shared and its own.

    Of `own`, the words that choose a group's file go before the name in `setting`.

    Raises:
        hydra.errors.HydraException: a choice that is no longer there.
        omegaconf.errors.OmegaConfBaseException: a value's key is no longer there.
    """
    choice = _find_choice(step, reference)
    named = zip(GROUPS, setting, strict=True)
    chosen = {group: find_group_choice(group, shared.get(group, {}) | {"name": name}) for group, name in named}
    keyed = [word for word in own if not is_group_word(word)]
    chosen |= dict(word.split("=", 1) for word in own if is_group_word(word))
    groups = [f"{group}={name}" for group, name in chosen.items()]
    cfg = compose(*filter(None, [choice]), *groups, *(_switch(*pair) for pair in variant.items()))
    cfg.merge_with(shared)
    cfg.merge_with_dotlist(keyed)
    return cfg


def is_group_word(word: str) -> bool:
    """Whether a word chooses the file of the regime, the data or the recipe."""
    return word.partition("=")[0] in GROUPS


def _find_choice(step: str, reference: str | None) -> str:
    if reference is not None:
        return f"+reference={step if (CONF_DIR / 'reference' / f'{step}.yaml').exists() else reference}"
    return f"+roadmap={step}" if (CONF_DIR / "roadmap" / f"{step}.yaml").exists() else ""


def _switch(axis: str, value: str) -> str:
    value = "null" if value == "None" else value  # as older runs are named
    is_choice = (CONF_DIR / "model" / axis / f"{value}.yaml").exists()
    return f"model/{axis}={value}" if is_choice else f"model.{axis}={value}"


def flatten(values: Any) -> dict[str, str]:
    """Dotted keys and values, as they are written on a command line."""
    return {key: _show(value) for key, value in _list_leaves(values).items()}


def _list_leaves(values: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys and values of nested mappings."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            leaves |= _list_leaves(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _show(value: Any) -> str:
    """As YAML has it; 1.0 is written 1, as a configuration may have either for the same number."""
    if isinstance(value, list | ListConfig):
        return f"[{','.join(map(_show, value))}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _write(value: Any) -> str:
    """As Hydra reads the same value."""
    is_plain = not isinstance(value, str) or PLAIN.fullmatch(value)
    return _show(value) if is_plain else repr(value)
