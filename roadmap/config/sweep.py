"""Sweeps as configurations: `+sweep=NAME`, from `conf/sweep/`, expands to the networks that it trains.

Leave-one-out and sampled orders are no product of choices, which is all that Hydra can sweep over. So the override
is replaced before Hydra parses it: by `+roadmap=` with the name of each network (roadmap/config/sweep_networks.py).
`sweep.roadmap=NAME` takes the steps and choices of another roadmap than ConvNeXt's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from roadmap.config.compose import SWEEP, compose_words, prepare_overrides
from roadmap.config.convert import convert
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import DEFAULT, Network, Roadmap, check_axes, check_word, is_setting
from roadmap.config.search_path import is_group, list_choices, parse_word, quote
from roadmap.config.sweep_networks import (
    add_one_in,
    factorial,
    group_networks,
    leave_one_out,
    networks_needed,
    sample_orders,
)
from roadmap.errors import ConfigError
from roadmap.runs.config_hash import flatten

SETTING = "sweep."
# Without brackets, which zsh would expand.
LIST = re.compile(r"(?P<key>sweep\.(axes|choices))=(?P<names>[\w.]+(,[\w.]+)*)")


class Kind(StrEnum):
    """The rule by which a sweep chooses its networks."""

    roadmap = "roadmap"
    leave_one_out = "leave_one_out"
    add_one_in = "add_one_in"
    shapley = "shapley"
    groups = "groups"
    factorial = "factorial"


@dataclass(frozen=True, kw_only=True)
class SweepSpec:
    """The content of a file in `conf/sweep/`."""

    kind: Kind
    roadmap: str = DEFAULT  # the roadmap whose steps and choices are trained

    @property
    def source(self) -> Roadmap:
        return load_roadmap(self.roadmap)

    def names(self) -> list[str]:
        """Return the names of the distinct networks, as in their folders."""
        steps = self.source.steps
        if self.roadmap != DEFAULT:
            return list(steps)
        own = [name for name in list_choices("roadmap") if name.startswith("step") and name not in steps]
        return [*steps, *own]

    def describe(self) -> str:
        return "every step"

    def options(self) -> list[str]:
        """Return the options that scripts/attribute.py needs to read the results."""
        return []


@dataclass(frozen=True, kw_only=True)
class OneChoiceSpec(SweepSpec):
    """Leave-one-out or add-one-in."""

    choices: tuple[str, ...] | None  # those to remove or add, such as [stem,norm]; None: all

    def __post_init__(self) -> None:
        if self.choices is not None:
            check_axes("sweep.choices", self.choices, self.source.axes)

    def names(self) -> list[str]:
        networks = leave_one_out if self.kind is Kind.leave_one_out else add_one_in
        return _names_of(self.source, networks(self.source, self.choices))

    def describe(self) -> str:
        steps, is_last = self.source.steps, self.kind is Kind.leave_one_out
        base, change = (steps[-1], "removed") if is_last else (steps[0], "added")
        which = " or ".join(self.choices) if self.choices else f"one of {len(self.source.axes)} choices"
        return f"{base}, and {base} with {which} {change}"


@dataclass(frozen=True, kw_only=True)
class ShapleySpec(SweepSpec):
    pairs: int  # number of sampled orders, each with its reverse
    order_seed: int  # random seed of the sampling; more pairs of one seed start with the same orders

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ConfigError(f"sweep.pairs={self.pairs}: must be at least 1")

    def names(self) -> list[str]:
        axes = self.source.axes
        return _names_of(self.source, networks_needed(sample_orders(self.pairs, self.order_seed, axes), axes))

    def describe(self) -> str:
        count = len(self.source.axes)
        networks = 2 * self.pairs * (count + 1)
        return f"{2 * self.pairs} orders of {count} choices, which pass through {networks} networks"

    def options(self) -> list[str]:
        return ["--order-seed", str(self.order_seed)] if self.order_seed else []


@dataclass(frozen=True, kw_only=True)
class GroupsSpec(SweepSpec):
    """Every combination of the groups of choices that a roadmap's sections name."""

    def __post_init__(self) -> None:
        if len(self.source.groups) < 2:
            raise ConfigError(
                f"sweep.roadmap={self.roadmap}: its sections name no two groups of choices: give each section of "
                "its roadmap.toml a group (the first step makes no choice)"
            )

    def names(self) -> list[str]:
        return _names_of(self.source, group_networks(self.source))

    def describe(self) -> str:
        groups, others = self.source.groups, self.source.ungrouped
        without = f"; without {', '.join(others)}, in no group" if others else ""
        return f"every combination of {len(groups)} groups of choices: {', '.join(groups)}{without}"


@dataclass(frozen=True, kw_only=True)
class FactorialSpec(SweepSpec):
    axes: tuple[str, ...]  # the axes whose choices are all combined, such as [kernel_size,norm]
    step: str | None  # the step that sets the other axes; None: the last one

    def __post_init__(self) -> None:
        check_axes("sweep.axes", self.axes, self.source.all_axes)
        if self.step is not None:
            check_word("sweep.step", self.step, self.source.steps)

    @property
    def base(self) -> str:
        """The step of which the networks are combinations."""
        return self.step or self.source.steps[-1]

    def names(self) -> list[str]:
        return [self.source.name_of(design) for design in factorial(self.source, self.base, self.axes)]

    def describe(self) -> str:
        levels = [f"{axis} {'/'.join(self.source.levels_of(axis))}" for axis in self.axes]
        return f"{self.base} with {' x '.join(levels)}"

    def options(self) -> list[str]:
        is_last = self.base == self.source.steps[-1]
        return ["--axes", ",".join(self.axes), *([] if is_last else ["--step", self.base])]


SPECS: dict[Kind, type[SweepSpec]] = {
    Kind.roadmap: SweepSpec,
    Kind.leave_one_out: OneChoiceSpec,
    Kind.add_one_in: OneChoiceSpec,
    Kind.shapley: ShapleySpec,
    Kind.groups: GroupsSpec,
    Kind.factorial: FactorialSpec,
}


@dataclass(frozen=True)
class Sweep:
    """The expansion of `+sweep=NAME` in a command."""

    word: str  # as typed
    spec: SweepSpec
    others: tuple[str, ...]  # the command's overrides including this one, without the sweep's settings

    def overrides(self, names: Sequence[str]) -> list[str]:
        """Return the command that trains the named networks, for Hydra."""
        networks = ",".join(quote(self.spec.source.override(name)) for name in names)
        return prepare_overrides([f"+roadmap={networks}" if word == self.word else word for word in self.others])


def read_sweep(overrides: Sequence[str], is_sweep: bool) -> Sweep | None:
    """Return the sweep that a command names; None if it names none.

    Raises:
        ConfigError: an unknown name, setting or axis, or an override that chooses a network beside the sweep.
    """
    named = [word for word in overrides if word.startswith(SWEEP)]
    if not named:
        return None
    if len(named) > 1 or "," in named[0]:
        raise ConfigError(f"{' '.join(named)}: one sweep a command; a second command shares the runs of the first")
    others = tuple(word for word in overrides if not word.startswith(SETTING))
    spec = _read_spec(named[0], [word for word in overrides if word.startswith(SETTING)])
    chosen = _words_of_networks(spec.source)
    for word in others:
        if _chooses(word, chosen):
            raise ConfigError(f"{word}: {named[0]} chooses the networks by itself; leave the one or the other out")
    if not is_sweep:
        raise ConfigError(
            f"{named[0]} is {len(spec.names()):,} networks; runs over all of them take -m (in Python roadmap.sweep)"
        )
    return Sweep(named[0], spec, others)


def _read_spec(word: str, settings: Sequence[str]) -> SweepSpec:
    typed: dict[str, str] = {}
    for setting in settings:
        key = setting.partition("=")[0]
        if key in typed:
            several = f", for several as in {key}=ONE,TWO" if LIST.match(f"{key}=x") else ""
            raise ConfigError(f"{typed[key]} {setting}: {key} is given twice; give it once{several}")
        typed[key] = setting
    # Added with ++, so that the spec, not Hydra, reports which settings this sweep has.
    settings = ["++" + LIST.sub(r"\g<key>=[\g<names>]", setting) for setting in settings]
    values: Any = OmegaConf.to_container(compose_words([word, *settings]).sweep)
    for key, value in values.items():
        if value == "???":
            raise ConfigError(f"no value yet for sweep.{key}: give one, as in sweep.{key}=kernel_size,activation")
    kind = convert(Kind, values.get("kind"), "sweep.kind")
    spec = convert(SPECS[kind], values, "sweep")
    assert isinstance(spec, SweepSpec)
    return spec


def _words_of_networks(roadmap: Roadmap) -> set[str]:
    """Return the keys of overrides that choose a network, which the sweep does itself."""
    settings = {axis for axis in roadmap.all_axes if is_setting(axis)}
    networks = {f"model{mark}{axis}" for axis in roadmap.all_axes for mark in "/."}
    return {"roadmap", "reference", *settings, *networks}


def _chooses(word: str, keys: set[str]) -> bool:
    """Return True if an override sets, deletes or chooses one of the keys, also as a part of a mapping."""
    try:
        override = parse_word(word)
    except OverrideParseException:  # reported when the runs are planned
        return False
    key, value = override.key_or_group, override.value()
    values = value.list if isinstance(value, ChoiceSweep) else [value]
    named = {inner for one in values for inner in flatten({key: one if isinstance(one, dict) else None})}
    whole = tuple(f"{name}." for name in named if not is_group(name))  # null, or another key's value
    return not keys.isdisjoint(named) or any(key.startswith(whole) for key in keys)


def _names_of(roadmap: Roadmap, networks: Sequence[Network]) -> list[str]:
    return [roadmap.name_of(roadmap.design_of(network)) for network in networks]
