"""A roadmap as a value: its steps in order, the choice that each makes, its sections, and the published results.

A roadmap is a folder of `conf/roadmap/` with a file for each step, `roadmap.toml` about it, and possibly
`published.csv`. The default one, ConvNeXt's, lies in `conf/roadmap/` itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from roadmap.config.convert import suggest
from roadmap.config.paper import PaperRow
from roadmap.config.search_path import SearchPath, is_group, list_choices, use
from roadmap.errors import ConfigError
from roadmap.runs.naming import network_name

DEFAULT = "convnext"
AXIS_GROUP = "model/"
INHERITED = "from the recipe"  # value of a key of the model that a step sets, and no file before it

Network = frozenset[str]  # the choices that are made, by name; all others are not
Design = dict[str, str]  # the value of every axis
Order = tuple[str, ...]  # choices, by name
NONE: Network = frozenset()


@dataclass(frozen=True)
class Choice:
    """What one step changes: an axis or key of the network (norm), a group (recipe) or a key (recipe.mixup)."""

    step: str
    starts: Design  # each axis that the step changes, and its value before
    ends: Design  # the same axes, and their values from the step on

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self.ends)

    @property
    def axis(self) -> str:
        """The name of the choice: its first axis."""
        return self.axes[0]

    @property
    def start(self) -> str:
        return self.starts[self.axis]

    @property
    def end(self) -> str:
        return self.ends[self.axis]


@dataclass(frozen=True)
class Section:
    """Consecutive steps that a figure labels together; several sections may form one group of choices."""

    label: str
    steps: tuple[str, ...]
    group: str | None = None
    color: str = ""  # roadmap_files.py gives one to a section without


@dataclass(frozen=True, kw_only=True)
class About:
    """The keys of roadmap.toml apart from its tables."""

    title: str
    name: str
    paper: str = ""
    original: str | None = None  # the step before the first, which has a recipe of its own
    curve: str | None = None  # the step whose axis is drawn as a curve
    recipe: str | None = None  # name of the published results' recipe


@dataclass(frozen=True, kw_only=True)
class Roadmap(About):
    """The content of a roadmap's folder; roadmap_files.py reads and checks it."""

    steps: tuple[str, ...]  # their names, in order
    folders: tuple[str, ...]  # of each step, below conf/: "roadmap" or "roadmap/NAME"
    labels: tuple[str, ...]  # of each step
    choices: tuple[Choice, ...]  # of each step but the first
    fixed: Design  # axes of conf/model that no step changes, and their values
    sections: tuple[Section, ...]
    published: tuple[PaperRow, ...]
    references: dict[str, str]  # networks beside the roadmap, and the regime of each
    tables: dict[str, str]  # where the results of a regime are printed
    figures: dict[str, tuple[str, ...]]  # of the paper, by number: the steps whose blocks they show
    search_path: SearchPath = field(default=SearchPath(), repr=False, compare=False)  # that it was found on

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The names of the choices, in order."""
        return tuple(choice.axis for choice in self.choices)

    @cached_property
    def all_axes(self) -> tuple[str, ...]:
        """Every axis: those of the choices in their order, then those that no step changes."""
        return (*(axis for choice in self.choices for axis in choice.axes), *self.fixed)

    @property
    def all_choices(self) -> Network:
        return frozenset(self.axes)

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The choices of each group of sections, by its name; a group without one, as of step 0, is left out."""
        groups: dict[str, tuple[str, ...]] = {}
        for section in self.sections:
            own = tuple(choice.axis for choice in self.choices if choice.step in section.steps)
            if section.group is not None and own:
                groups[section.group] = groups.get(section.group, ()) + own
        return groups

    @property
    def ungrouped(self) -> tuple[str, ...]:
        """The choices that are in no group."""
        return tuple(axis for axis in self.axes if not any(axis in own for own in self.groups.values()))

    @cached_property
    def setting_axes(self) -> tuple[str, ...]:
        """The axes outside of the network, such as recipe.mixup: settings in which comparable runs may differ."""
        with use(self.search_path):
            return tuple(axis for axis in self.all_axes if is_setting(axis))

    def place_of(self, step: str) -> int | None:
        """Return the place of a step in the order, 0 for the first; None for a step of another roadmap."""
        return self.steps.index(step) if step in self.steps else None

    def choice_of(self, step: str) -> Choice | None:
        """Return the choice that a step makes; None for the first step, and for another roadmap's."""
        return next((choice for choice in self.choices if choice.step == step), None)

    def section_of(self, step: str) -> Section | None:
        return next((section for section in self.sections if step in section.steps), None)

    def override(self, name: str) -> str:
        """Return the choice of `+roadmap=` that is the network of this name: bag_of_tricks/step1_stride_3x3."""
        step = name.partition(",")[0]
        folder = self.folders[self.steps.index(step)] if step in self.steps else "roadmap"
        return f"{folder.removeprefix('roadmap').lstrip('/')}/{name}".lstrip("/")

    def path_network(self, step: int) -> Network:
        """Return the choices of a step: the first `step` of them."""
        return frozenset(self.axes[:step])

    def design_of(self, network: Network) -> Design:
        design: Design = {}
        for choice in self.choices:
            design |= choice.ends if choice.axis in network else choice.starts
        return design | self.fixed

    def network_of(self, design: Mapping[str, str]) -> Network | None:
        """Return the choices of a design; None if it has a value that is neither start nor end."""
        network = frozenset(choice.axis for choice in self.choices if choice.ends.items() <= design.items())
        return network if self.design_of(network) == dict(design) else None

    def levels_of(self, axis: str) -> list[str]:
        """Return every value of an axis, the first step's first; of a plain key, those that the steps give it."""
        start = self.design_of(NONE)[axis]
        with use(self.search_path):
            if is_axis(axis):
                return [start, *(level for level in list_choices(AXIS_GROUP + axis) if level != start)]
            ends = [choice.ends[axis] for choice in self.choices if axis in choice.ends]
            return list(dict.fromkeys([start, *ends]))

    def name_of(self, design: Mapping[str, str]) -> str:
        """Return the nearest step and what differs from it, such as step12_downsample,norm=batchnorm.

        Of two equally near steps, take the one closer to an end of the roadmap, where sweeps revert or add choices.
        An inherited value can't be written as a difference, so it takes a step that inherits it.
        """
        last = len(self.steps) - 1
        bases = [self.design_of(self.path_network(step)) for step in range(len(self.steps))]
        differing = [{axis: design[axis] for axis in self.all_axes if design[axis] != base[axis]} for base in bases]

        def distance(step: int) -> tuple[bool, int, int]:
            return INHERITED in differing[step].values(), len(differing[step]), min(step, last - step)

        nearest = min(range(len(self.steps)), key=distance)
        return network_name(self.steps[nearest], differing[nearest])

    def is_name(self, name: str) -> bool:
        """Return True if a design may have this name: a step, with some axes overridden."""
        step, *switched = name.split(",")
        return step in self.steps and all(word.partition("=")[0] in self.all_axes for word in switched)

    def design_named(self, step: str, variant: Mapping[str, str]) -> Design | None:
        """Return the design of a step with a variant; None for another step, or if another key is overridden."""
        if step not in self.steps:
            return None
        design = self.design_of(self.path_network(self.steps.index(step)))
        return design | dict(variant) if variant.keys() <= design.keys() else None

    @cached_property
    def regimes(self) -> tuple[str, ...]:
        """The regimes of the published results; the first one is compared with regimes that have none."""
        return tuple(dict.fromkeys(row.regime for row in self.published))

    def find_published(self, regime: str, step: str, variant: Mapping[str, str]) -> PaperRow | None:
        """Return the published result of a network; None if there is none.

        Another value of a step's own axis may be another step: step 7 with kernel 3 is step 6.
        """
        if step in self.references:
            return None if variant else self._published(self.references[step], "reference", {})
        choice = self.choice_of(step)
        table = regime if regime in self.regimes or not self.regimes else self.regimes[0]
        found = self._published(table, step, variant)
        if found is None and choice is not None and choice.starts == variant:
            return self._published(table, self.steps[self.steps.index(step) - 1], {})
        return found

    def _published(self, regime: str, config: str, variant: Mapping[str, str]) -> PaperRow | None:
        wanted = regime, config, tuple(variant.items())
        rows = (row for row in self.published if (row.regime, row.config, row.variant) == wanted)
        return next(rows, None)


def is_setting(axis: str) -> bool:
    """Return True if an axis is not of the network: a key such as recipe.mixup, or a group such as recipe."""
    return "." in axis or (is_group(axis) and not is_axis(axis))


def is_axis(name: str) -> bool:
    """Return True for a group of conf/model."""
    return "." not in name and is_group(f"{AXIS_GROUP}{name}")


def value_text(value: object) -> str:
    """Return a value as it is written in an override and in a folder's name: null, true, 0.8 or a word."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_axes(key: str, words: Sequence[str], known: Sequence[str]) -> None:
    """Raise ConfigError if an axis or choice is not a known one or is named twice, or if there is none."""
    for word in words:
        check_word(key, word, known)
    if not words or len(set(words)) < len(words):
        raise ConfigError(f"{key}={','.join(words)}: must name at least one axis, and each once")


def check_word(key: str, word: str, known: Sequence[str]) -> None:
    """Raise ConfigError if the word is not a known one."""
    if word not in known:
        raise ConfigError(f"{key}={word}: there is no {word}.{suggest(word, known)} Allowed: {', '.join(known)}")
