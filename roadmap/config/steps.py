"""The roadmap's choices, one per step, as defined in `conf/`, and the networks that sweeps combine from them.

A network, like its folder, is named by the nearest step and by what differs from it. So the last step with
`downsample` reverted is step 11, step 0 with `stage_ratio` added is step 1, and sweeps share their runs.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import yaml

from roadmap.config.convert import suggest
from roadmap.config.paper import paper_rows
from roadmap.config.search_path import CONF_DIR, list_choices
from roadmap.errors import ConfigError
from roadmap.runs.naming import network_name

AXIS_GROUP = "model/"


@dataclass(frozen=True)
class Choice:
    """A design axis of `conf/model/`, and the roadmap step that changes it."""

    axis: str
    start: str  # ResNet's value
    end: str  # ConvNeXt's value
    step: str  # name of the step that changes start to end


Network = frozenset[str]  # the axes at their end value; all others are at their start value
Design = dict[str, str]  # the value of every axis
Order = tuple[str, ...]  # axes


def _read_defaults(file: str, prefix: str) -> Design:
    """Return the choices of `conf/model/` in a file's defaults list, by axis."""
    with (CONF_DIR / f"{file}.yaml").open(encoding="utf-8") as stream:
        content: Mapping[str, Any] = yaml.safe_load(stream)
    entries = [entry for entry in content.get("defaults", []) if isinstance(entry, dict)]
    pairs = [(key.removeprefix(prefix), str(value)) for entry in entries for key, value in entry.items()]
    return {key.removeprefix(AXIS_GROUP): value for key, value in pairs if key.startswith(AXIS_GROUP)}


def _read_choices(steps: Sequence[str]) -> Iterable[Choice]:
    starts = _read_defaults("config", prefix="")
    for step in steps:
        made = _read_defaults(f"roadmap/{step}", prefix="override /")
        if len(made) != 1:
            raise ConfigError(
                f"conf/roadmap/{step}.yaml: a step of the paper makes one choice of conf/model, this one makes "
                f"{len(made)}; give a step of your own a file of its own"
            )
        ((axis, end),) = made.items()
        yield Choice(axis, starts[axis], end, step)


# The paper's steps, 0 to 12; a user's own steps are in the same folder.
STEPS = tuple(
    row.config for row in paper_rows() if row.regime == "resnet50" and row.step is not None and row.adopted
)
CHOICES = tuple(_read_choices(STEPS[1:]))
AXES = tuple(choice.axis for choice in CHOICES)
GROUPS = {  # of choices, by the paper's sections
    "macro": ("stage_ratio", "stem"),  # 2.2
    "depthwise": ("conv", "width"),  # 2.3
    "block": ("block", "position", "kernel_size"),  # 2.4 and 2.5
    "micro": ("activation", "activation_count", "norm_count", "norm", "downsample"),  # 2.6
}
NONE: Network = frozenset()
ALL: Network = frozenset(AXES)


def path_network(step: int) -> Network:
    """Return the choices of a step of the paper: the first `step` of them."""
    return frozenset(AXES[:step])


def design_of(network: Network) -> Design:
    return {choice.axis: choice.end if choice.axis in network else choice.start for choice in CHOICES}


def levels_of(axis: str) -> list[str]:
    """Return every value of an axis, ResNet's first."""
    (start,) = (choice.start for choice in CHOICES if choice.axis == axis)
    return [start, *(level for level in list_choices(AXIS_GROUP + axis) if level != start)]


def name_of(design: Mapping[str, str]) -> str:
    """Return the nearest step and what differs from it, such as step12_downsample,norm=batchnorm.

    Of two equally near steps, take the one closer to an end of the roadmap, where sweeps revert or add choices.
    """
    last = len(STEPS) - 1
    differing = [_differences(design, design_of(path_network(step))) for step in range(len(STEPS))]
    nearest = min(range(len(STEPS)), key=lambda step: (len(differing[step]), min(step, last - step)))
    return network_name(STEPS[nearest], differing[nearest])


def is_name(name: str) -> bool:
    """Return True if a design may have this name: a step of the paper, with roadmap axes overridden."""
    step, *switched = name.split(",")
    return step in STEPS and all(word.partition("=")[0] in AXES for word in switched)


def _differences(design: Mapping[str, str], base: Mapping[str, str]) -> Design:
    return {axis: design[axis] for axis in AXES if design[axis] != base[axis]}


def check_axes(key: str, axes: Sequence[str]) -> None:
    """Raise ConfigError if an axis does not exist or is named twice, or if there is none."""
    for axis in axes:
        check_word(key, axis, AXES)
    if not axes or len(set(axes)) < len(axes):
        raise ConfigError(f"{key}={','.join(axes)}: must name at least one axis, and each once")


def check_word(key: str, word: str, known: Sequence[str]) -> None:
    """Raise ConfigError if the word is not a known one."""
    if word not in known:
        raise ConfigError(f"{key}={word}: there is no {word}.{suggest(word, known)} Allowed: {', '.join(known)}")


def leave_one_out(axes: Sequence[str] = AXES) -> list[Network]:
    """Return the last step, and the last step with each choice reverted."""
    return [ALL, *(ALL - {axis} for axis in axes)]


def add_one_in(axes: Sequence[str] = AXES) -> list[Network]:
    """Return step 0, and step 0 with each single choice added."""
    return [NONE, *(frozenset({axis}) for axis in axes)]


def join_groups(groups: Iterable[str]) -> Network:
    """Return the choices of the given GROUPS."""
    return frozenset(axis for group in groups for axis in GROUPS[group])


def group_networks() -> list[Network]:
    """Return every combination of GROUPS, smallest first."""
    return [join_groups(some) for size in range(len(GROUPS) + 1) for some in combinations(GROUPS, size)]


def factorial(step: str, axes: Sequence[str]) -> list[Design]:
    """Return a step with every combination of some axes' values; the last axis varies fastest."""
    base = design_of(path_network(STEPS.index(step)))
    return [base | dict(zip(axes, levels, strict=True)) for levels in product(*map(levels_of, axes))]


def sample_orders(pairs: int, seed: int, axes: Sequence[str] = AXES) -> list[Order]:
    """Draw random orders of the choices, each followed by its reverse; deterministic in the seed.

    A larger number of pairs starts with the orders of a smaller one.
    """
    generator = random.Random(seed)
    orders: list[Order] = []
    for _ in range(pairs):
        order = tuple(generator.sample(list(axes), len(axes)))
        orders += [order, order[::-1]]
    return orders


def networks_along(order: Order) -> list[Network]:
    """Return the networks from no choice to all choices of the order."""
    return [frozenset(order[:length]) for length in range(len(order) + 1)]


def networks_needed(orders: Sequence[Order]) -> list[Network]:
    """Return the distinct networks of some orders, smallest first."""
    found = {network: None for order in orders for network in networks_along(order)}
    return sorted(found, key=lambda network: (len(network), [axis not in network for axis in AXES]))
