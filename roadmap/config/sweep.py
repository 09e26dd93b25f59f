"""Sweeps as configurations: `+sweep=NAME`, from `conf/sweep/`, expands to the networks that it trains.

Leave-one-out and sampled orders are no product of choices, which is all that Hydra can sweep over. So the override
is replaced before Hydra parses it: by `+roadmap=` with the name of each network (roadmap/config/steps.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roadmap.config.compose import compose, prepare_overrides
from roadmap.config.convert import convert
from roadmap.config.hydra_errors import explain_hydra_error
from roadmap.config.search_path import list_choices, quote
from roadmap.config.steps import (
    AXES,
    GROUPS,
    STEPS,
    Network,
    add_one_in,
    check_axes,
    check_word,
    design_of,
    factorial,
    group_networks,
    leave_one_out,
    levels_of,
    name_of,
    networks_needed,
    sample_orders,
)
from roadmap.errors import ConfigError

SWEEP = "+sweep="
SETTING = "sweep."
# Without brackets, which zsh would expand.
LIST = re.compile(r"(?P<key>sweep\.(axes|choices))=(?P<names>\w+(,\w+)*)")
NETWORK = re.compile(rf"(\+roadmap|\+reference|model[/.]({'|'.join(AXES)}))=.*")  # chosen by the sweep itself


class Kind(StrEnum):
    """The rule by which a sweep chooses its networks."""

    roadmap = "roadmap"
    leave_one_out = "leave_one_out"
    add_one_in = "add_one_in"
    shapley = "shapley"
    groups = "groups"
    factorial = "factorial"


@dataclass(frozen=True)
class SweepSpec:
    """The content of a file in `conf/sweep/`."""

    kind: Kind

    def names(self) -> list[str]:
        """Return the names of the distinct networks, as in their folders."""
        return [name for name in list_choices("roadmap") if name.startswith("step")]

    def describe(self) -> str:
        return "every step"

    def options(self) -> list[str]:
        """Return the options that scripts/attribute.py needs to read the results."""
        return []


@dataclass(frozen=True)
class OneChoiceSpec(SweepSpec):
    """Leave-one-out or add-one-in."""

    choices: tuple[str, ...] | None  # axes of conf/model, such as [stem,norm]; null is all twelve

    def __post_init__(self) -> None:
        if self.choices is not None:
            check_axes("sweep.choices", self.choices)

    def names(self) -> list[str]:
        networks = leave_one_out if self.kind is Kind.leave_one_out else add_one_in
        return _names_of(networks(self.choices or AXES))

    def describe(self) -> str:
        base, change = (STEPS[-1], "removed") if self.kind is Kind.leave_one_out else (STEPS[0], "added")
        which = " or ".join(self.choices) if self.choices else f"one of {len(AXES)} choices"
        return f"{base}, and {base} with {which} {change}"


@dataclass(frozen=True)
class ShapleySpec(SweepSpec):
    pairs: int  # of sampled orders: each with its reverse
    order_seed: int  # of the sampling; more pairs of one seed start with the same orders, so runs are kept

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ConfigError(f"sweep.pairs={self.pairs}: must be at least 1")

    def names(self) -> list[str]:
        return _names_of(networks_needed(sample_orders(self.pairs, self.order_seed)))

    def describe(self) -> str:
        networks = 2 * self.pairs * (len(AXES) + 1)
        return f"{2 * self.pairs} orders of {len(AXES)} choices, which pass through {networks} networks"

    def options(self) -> list[str]:
        return ["--order-seed", str(self.order_seed)] if self.order_seed else []


@dataclass(frozen=True)
class GroupsSpec(SweepSpec):
    """Every combination of the paper's groups of choices, by section."""

    def names(self) -> list[str]:
        return _names_of(group_networks())

    def describe(self) -> str:
        return f"every combination of {len(GROUPS)} groups of choices: {', '.join(GROUPS)}"


@dataclass(frozen=True)
class FactorialSpec(SweepSpec):
    axes: tuple[str, ...]  # of conf/model; every choice of each
    step: str  # which sets the other axes

    def __post_init__(self) -> None:
        check_axes("sweep.axes", self.axes)
        check_word("sweep.step", self.step, STEPS)

    def names(self) -> list[str]:
        return [name_of(design) for design in factorial(self.step, self.axes)]

    def describe(self) -> str:
        levels = [f"{axis} {'/'.join(levels_of(axis))}" for axis in self.axes]
        return f"{self.step} with {' x '.join(levels)}"

    def options(self) -> list[str]:
        return ["--axes", ",".join(self.axes), *([] if self.step == STEPS[-1] else ["--step", self.step])]


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
        networks = ",".join(map(quote, names))
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
    for word in others:
        if NETWORK.fullmatch(word):
            raise ConfigError(f"{word}: {named[0]} chooses the networks by itself; leave the one or the other out")
    if not is_sweep:
        raise ConfigError(f"{named[0]} is {len(spec.names()):,} networks; runs over all of them take -m")
    return Sweep(named[0], spec, others)


def _read_spec(word: str, settings: Sequence[str]) -> SweepSpec:
    # Added with ++, so that the spec, not Hydra, reports which settings this sweep has.
    settings = ["++" + LIST.sub(r"\g<key>=[\g<names>]", setting) for setting in settings]
    try:
        values: Any = OmegaConf.to_container(compose(word, *settings).sweep)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain_hydra_error(error, [word, *settings])) from None
    for key, value in values.items():
        if value == "???":
            raise ConfigError(f"no value yet for sweep.{key}: give one, as in sweep.{key}={','.join(AXES[6:8])}")
    kind = convert(Kind, values.get("kind"), "sweep.kind")
    spec = convert(SPECS[kind], values, "sweep")
    assert isinstance(spec, SweepSpec)
    return spec


def _names_of(networks: Sequence[Network]) -> list[str]:
    return [name_of(design_of(network)) for network in networks]
