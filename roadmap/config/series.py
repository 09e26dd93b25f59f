"""A series as a file: the ends of the roadmap over stem stride and rate, then all steps at the best setting."""

import math
from dataclasses import dataclass
from pathlib import Path

import yaml

from roadmap.config.convert import convert
from roadmap.errors import ConfigError, first_line

STEPS = 13
START_S = 10  # of a run: its process, its network, its images
MARGIN = 0.8  # of the time that is planned: the steps between the ends may be slower


@dataclass(frozen=True)
class EndsSpec:
    """The first phase: every network at every stride and rate, with seed 0."""

    minutes: float  # it ends after so many, or if all its runs are done
    first: str  # the two ends, whose difference is the gap
    last: str
    others: tuple[str, ...]  # networks that are compared with the ends
    stem_strides: tuple[int, ...]  # in order of value, as the rates
    rates: tuple[float, ...]
    overrides: tuple[str, ...]  # such as data.holdout=5000


@dataclass(frozen=True)
class StepsSpec:
    """The second phase: all steps, seed after seed."""

    seeds: int  # at most
    seeds_to_fit: int  # the epochs are as many as leave time for so many seeds
    least_epochs: int
    most_epochs: int
    overrides: tuple[str, ...]

    def count_epochs(self, seconds: float, jobs: int, epoch_seconds: float) -> int:
        """As many as fit into `seconds` for `seeds_to_fit` seeds, with `jobs` runs at a time.

        Args:
            epoch_seconds: of one run while `jobs` runs share the device.
        """
        a_run = MARGIN * seconds * jobs / (STEPS * self.seeds_to_fit) - START_S
        return min(max(math.floor(a_run / epoch_seconds), self.least_epochs), self.most_epochs)


@dataclass(frozen=True)
class SeriesSpec:
    """The content of a series' file, such as scripts/gpu_series.yaml."""

    name: str  # the experiments are NAME-ends-s2-lr0.004, ... and NAME-steps
    note: str  # for the page of the results, such as what the images are
    jobs: int  # runs at a time
    overrides: tuple[str, ...]  # of every run
    ends: EndsSpec
    steps: StepsSpec

    def __post_init__(self) -> None:
        for key, values in (("stem_strides", self.ends.stem_strides), ("rates", self.ends.rates)):
            if not values:
                raise ConfigError(f"ends.{key}=[]: needs at least one value")
        for key, value in (("jobs", self.jobs), ("steps.seeds", self.steps.seeds)):
            if value < 1:
                raise ConfigError(f"{key}={value}: must be at least 1")
        if not 1 <= self.steps.least_epochs <= self.steps.most_epochs:
            raise ConfigError(f"steps.least_epochs={self.steps.least_epochs}: must be from 1 to steps.most_epochs")
        if not 1 <= self.steps.seeds_to_fit <= self.steps.seeds:
            raise ConfigError(f"steps.seeds_to_fit={self.steps.seeds_to_fit}: must be from 1 to steps.seeds")

    def ends_experiment(self, stem_stride: int | str, lr: float | str) -> str:
        """The experiment of the ends at one setting."""
        return f"{self.name}-ends-s{stem_stride}-lr{lr}"

    @property
    def steps_experiment(self) -> str:
        return f"{self.name}-steps"

    def ends_overrides(self) -> list[str]:
        """The sweep of the first phase, the first stride first: Hydra varies the last override fastest."""
        ends = self.ends
        names = (ends.first, ends.last, *ends.others)
        return [
            f"data.stem_stride={','.join(map(str, ends.stem_strides))}",
            f"recipe.lr={','.join(map(str, ends.rates))}",
            f"+roadmap={','.join(repr(name) if ',' in name else name for name in names)}",
            *self.overrides,
            *ends.overrides,
            f"experiment={self.ends_experiment('${data.stem_stride}', '${recipe.lr}')}",
        ]

    def steps_overrides(self, stem_stride: int, lr: float, epochs: int) -> list[str]:
        """The sweep of the second phase, seed after seed."""
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


def read_series(path: Path) -> SeriesSpec:
    """The typed content of a series' file.

    Raises:
        ConfigError: a key is unknown or missing, or a value can't be used; names the file.
    """
    try:
        spec = convert(SeriesSpec, yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {first_line(error)}") from error
    assert isinstance(spec, SeriesSpec)
    return spec
