"""A series as a file: the roadmap's ends over stem stride and learning rate, then all steps at the best setting."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hydra.errors import HydraException

from roadmap.config.convert import convert, suggest
from roadmap.config.plan_runs import plan_runs
from roadmap.config.schema import check_folder_name
from roadmap.config.search_path import list_choices, parse_word
from roadmap.config.step_files import ROADMAPS
from roadmap.config.yaml_errors import load_yaml
from roadmap.errors import ConfigError
from roadmap.model.spec import STEM_STRIDES
from roadmap.runs.config_hash import describe_differences, flatten, is_outside
from roadmap.runs.read_files import damaged, read_json

STATE_ENDING = "-series.json"
START_S = 10  # per run: starting its process, building its network, loading its images
MARGIN = 0.8  # part of the time that is planned: the steps between the ends may be slower
FREE = {"note", "jobs", "ends.minutes", "steps.seeds"}  # may change while a series is under way


@dataclass(frozen=True)
class EndsSpec:
    """The first phase: every network at every stride and learning rate, with seed 0."""

    minutes: float  # maximum duration; it ends earlier if all its runs are done. 0: without this phase
    first: str  # the two ends, whose difference is the gap
    last: str
    others: tuple[str, ...]  # networks to compare with the ends
    stem_strides: tuple[int, ...]  # in order of value, like the rates
    rates: tuple[float, ...]
    overrides: tuple[str, ...]  # such as data.holdout=5000

    def __post_init__(self) -> None:
        if self.minutes < 0:
            raise ConfigError(f"ends.minutes={self.minutes}: must be at least 0")
        for key, values in (("stem_strides", self.stem_strides), ("rates", self.rates)):
            if not values:
                raise ConfigError(f"ends.{key}=[]: needs at least one value")
            _check_distinct(f"ends.{key}", values)
        if odd := [stride for stride in self.stem_strides if stride not in STEM_STRIDES]:
            raise ConfigError(f"ends.stem_strides: {odd[0]} must be 4, 2 or 1")
        if min(self.rates) <= 0:
            raise ConfigError(f"ends.rates: {min(self.rates)} must be above 0")
        _check_distinct("ends.first, last and others", [name.rpartition("/")[2] for name in self.networks])

    @property
    def networks(self) -> tuple[str, ...]:
        return (self.first, self.last, *self.others)

    @property
    def names(self) -> tuple[str, str]:
        """The names of the ends' folders, without that of a roadmap (bag_of_tricks/step6_mixup)."""
        return self.first.rpartition("/")[2], self.last.rpartition("/")[2]


@dataclass(frozen=True)
class StepsSpec:
    """The second phase: all steps, one seed after the other."""

    seeds: int  # maximum
    seeds_to_fit: int  # the number of epochs leaves time for so many seeds
    least_epochs: int
    most_epochs: int
    overrides: tuple[str, ...]

    def count_epochs(self, seconds: float, jobs: int, epoch_seconds: float, networks: int) -> int:
        """Return the epochs that fit into `seconds` for `seeds_to_fit` seeds, with `jobs` concurrent runs.

        Args:
            epoch_seconds: per run, while `jobs` runs share the device.
            networks: number of steps.
        """
        a_run = MARGIN * seconds * jobs / (networks * self.seeds_to_fit) - START_S
        return min(max(math.floor(a_run / epoch_seconds), self.least_epochs), self.most_epochs)


@dataclass(frozen=True)
class SeriesSpec:
    """The content of a series' file, such as scripts/gpu_series.yaml."""

    name: str  # the experiments are NAME-ends-s2-lr0.004, ... and NAME-steps
    note: str  # for the results page, for example about the images
    jobs: int  # concurrent runs
    overrides: tuple[str, ...]  # of every run
    ends: EndsSpec
    steps: StepsSpec

    def __post_init__(self) -> None:
        check_folder_name("name", self.name)
        _check_in_override("name", self.name)
        for key, value in (("jobs", self.jobs), ("steps.seeds", self.steps.seeds)):
            if value < 1:
                raise ConfigError(f"{key}={value}: must be at least 1")
        if not 1 <= self.steps.least_epochs <= self.steps.most_epochs:
            raise ConfigError(f"steps.least_epochs={self.steps.least_epochs}: must be from 1 to steps.most_epochs")
        if not 1 <= self.steps.seeds_to_fit <= self.steps.seeds:
            raise ConfigError(f"steps.seeds_to_fit={self.steps.seeds_to_fit}: must be from 1 to steps.seeds")

    def edit_overrides(self, edit: Callable[[Sequence[str]], Iterable[str]]) -> "SeriesSpec":
        """Return the series with `edit` applied to each of its lists of overrides."""
        ends = replace(self.ends, overrides=tuple(edit(self.ends.overrides)))
        steps = replace(self.steps, overrides=tuple(edit(self.steps.overrides)))
        return replace(self, overrides=tuple(edit(self.overrides)), ends=ends, steps=steps)

    @property
    def state_file(self) -> str:
        """The name of the file with its progress, in the output folder."""
        return f"{self.name}{STATE_ENDING}"

    @property
    def experiments(self) -> list[str]:
        """The experiments of both phases."""
        settings = ((stride, lr) for stride in self.ends.stem_strides for lr in self.ends.rates)
        return [*(self.ends_experiment(*setting) for setting in settings), self.steps_experiment]

    @property
    def steps_experiment(self) -> str:
        return f"{self.name}-steps"

    def ends_experiment(self, stem_stride: int | str, lr: float | str) -> str:
        return f"{self.name}-ends-s{stem_stride}-lr{lr}"

    def ends_overrides(self, *networks: str) -> list[str]:
        """Return the sweep of the first phase, first stride first, since Hydra varies the last override fastest.

        Args:
            networks: only these; default: all.
        """
        ends = self.ends
        return [
            f"data.stem_stride={','.join(map(str, ends.stem_strides))}",
            f"recipe.lr={','.join(map(str, ends.rates))}",
            f"+roadmap={','.join(repr(name) if ',' in name else name for name in networks or ends.networks)}",
            *self.overrides,
            *ends.overrides,
            f"experiment={self.ends_experiment('${data.stem_stride}', '${recipe.lr}')}",
        ]

    def steps_overrides(self, stem_stride: int, lr: float, epochs: int) -> list[str]:
        """Return the sweep of the second phase, one seed after the other."""
        return [
            f"seed={','.join(map(str, range(self.steps.seeds)))}",
            "+sweep=roadmap",
            *self.overrides,
            *self.steps.overrides,
            f"data.stem_stride={stem_stride}",
            f"recipe.lr={lr}",
            f"recipe.epochs={epochs}",
            f"experiment={self.steps_experiment}",
        ]


def _check_distinct(key: str, values: Sequence[object]) -> None:
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise ConfigError(f"{key}: {twice[0]} is there twice, and its runs would share a folder: keep one")


def _check_in_override(key: str, name: str) -> None:
    """Raise ConfigError if Hydra does not read a name as it is written."""
    try:
        is_read = "$" not in name and parse_word(f"{key}={name}-steps").value() == f"{name}-steps"
    except HydraException:
        is_read = False
    if not is_read:
        raise ConfigError(
            f"{key}={name}: must be of letters a to z, digits, spaces inside and the signs _ - + . @ %"
        )


def check_networks(path: Path, spec: SeriesSpec, overrides: Sequence[str] = ()) -> None:
    """Raise ConfigError if an end or another network is no step on the search path, or its runs have another name.

    Finished ends are found by the names in the file, so step7_kernel,kernel_size=7 must be written step7_kernel.

    Args:
        overrides: of the command, for every run.
    """
    ends = spec.ends
    others = [(f"ends.others[{i}]", name) for i, name in enumerate(ends.others)]
    for key, name in (("ends.first", ends.first), ("ends.last", ends.last), *others):
        folder, _, step = name.partition(",")[0].rpartition("/")
        known = list_choices(f"{ROADMAPS}/{folder}" if folder else ROADMAPS)
        if step not in known:
            allowed = f" Allowed: {', '.join(known)}" if known else ""
            raise ConfigError(f"{path}: {key}={name}: there is no such step.{suggest(step, known)}{allowed}")
        prefix = f"{folder}/" if folder else ""
        runs = plan_runs([*spec.ends_overrides(name), *overrides], is_sweep=True)
        found = list(dict.fromkeys(f"{prefix}{run.name}" for run in runs))
        if len(found) > 1:
            raise ConfigError(f"{path}: {key}={name}: its runs have several names: {'; '.join(found)}. Keep one")
        if found != [name]:
            raise ConfigError(f"{path}: {key}={name}: its runs have the name {found[0]}: write that")


@dataclass(frozen=True)
class ChosenSetting:
    """The setting of all steps, and why it was chosen."""

    stem_stride: int
    lr: float
    epochs: int
    reason: str


@dataclass(frozen=True)
class Sweeps:
    """The overrides of each phase, as its sweep was started, without places of the machine."""

    ends: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesState:
    """The progress of a series, kept in OUTPUT_DIR/NAME-series.json."""

    jobs: int  # concurrent runs
    cores: int
    note: str
    spec: SeriesSpec | None = None  # None of a version that did not record it
    overrides: tuple[str, ...] = ()  # at the end of the command
    sweeps: Sweeps = Sweeps()
    ends_seconds: float = 0.0  # spent on the ends so far
    choice: ChosenSetting | None = None
    device: str | None = None  # "cpu" if asked for, else "of the machine"; None of a version that did not record it


def find_changes(old: SeriesState, new: SeriesState) -> list[str]:
    """Return what differs of the file and the overrides that results depend on, as "key: old -> new"."""
    if old.spec is None:
        return []
    old = replace(old, device=old.device or new.device)
    return describe_differences(asdict(old), asdict(new), _deciding_values)


def _deciding_values(state: dict[str, Any]) -> dict[str, Any]:
    """Return the values that the results of a series depend on, without those of its progress and machine."""
    values = {key: value for key, value in flatten(state["spec"]).items() if key not in FREE}
    values |= {"the command's overrides": state["overrides"], "the device": state["device"]}
    return {key: _deciding_words(value) if key.endswith("overrides") else value for key, value in values.items()}


def _deciding_words(overrides: Iterable[str]) -> list[str]:
    return [word for word in overrides if not is_outside(word.lstrip("+~").partition("=")[0])]


def read_series_state(path: Path) -> SeriesState | None:
    """Return the progress of a series; None if it has none yet.

    Raises:
        DamagedError: the file cannot be read, or a value is missing or unusable.
    """
    content = read_json(path)
    try:
        state = None if content is None else convert(SeriesState, content)
    except ConfigError as error:
        raise damaged(path, error) from error
    assert state is None or isinstance(state, SeriesState)
    return state


def read_series(path: Path) -> SeriesSpec:
    """Return the typed content of a series' file.

    Raises:
        ConfigError: a key is unknown or missing, or a value is unusable; names the file.
    """
    content = load_yaml(path)
    try:
        spec = convert(SeriesSpec, content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    assert isinstance(spec, SeriesSpec)
    return spec
