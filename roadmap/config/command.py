"""The runs that a command line asks for, checked before the first of them starts."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from roadmap.config.compose import CONF_DIR, compose, own_hydra
from roadmap.config.convert import suggest
from roadmap.config.spec import Config, explain_key, read_config
from roadmap.config.variant import find_variant
from roadmap.errors import ConfigError


@dataclass(frozen=True)
class PlannedRun:
    config: Config
    variant: dict[str, str]


def plan_runs(overrides: Sequence[str], is_sweep: bool) -> list[PlannedRun]:
    """Every run of `python train.py [-m] OVERRIDES...`, in the order in which Hydra starts them.

    Raises:
        ConfigError: a word that means nothing; says what is allowed in its place.
    """
    try:
        jobs = _split_sweep(overrides) if is_sweep else [list(overrides)]
        return [plan_run(cfg) for cfg in _compose_all(jobs)]
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error)) from None


def plan_run(cfg: DictConfig) -> PlannedRun:
    """One composed configuration, checked."""
    return PlannedRun(read_config(cfg), find_variant(cfg))


def _split_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Hydra's own reading of a sweep, glob() and choices included."""
    with own_hydra() as loader:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [[word for word in job if not word.startswith("hydra")] for job in jobs]


def _compose_all(jobs: Sequence[Sequence[str]]) -> list[DictConfig]:
    """Composing takes a fifth of a second, so runs that differ in the seed alone share one composition."""
    composed: dict[tuple[str, ...], DictConfig] = {}
    configs = []
    for job in jobs:
        seeds = [word.removeprefix("seed=") for word in job if re.fullmatch(r"seed=\d+", word)]
        others = tuple(word for word in job if not re.fullmatch(r"seed=\d+", word))
        if others not in composed:
            composed[others] = compose(*others)
        cfg = copy.deepcopy(composed[others])
        if seeds:
            cfg.seed = int(seeds[-1])
        configs.append(cfg)
    return configs


def explain(error: Exception) -> str:
    """Hydra's message without its search path, with the keys or choices that are allowed."""
    text = str(error)
    if match := re.search(r"Could not override '([\w.]+)'", text):
        if "No match in the defaults list" not in text:
            return explain_key(match[1])
    if match := re.search(r"Could not override '(?P<path>[\w/]+)/(?P<group>\w+)'", text):
        return _explain_group(match["path"], match["group"])
    if match := re.search(r"Could not find '(?P<group>[\w/]+)/(?P<choice>[^']+)'", text):
        return _explain_choice(match["group"], match["choice"])
    return text.split("Config search path")[0].strip()


def _explain_group(path: str, group: str) -> str:
    groups = sorted(entry.name for entry in (CONF_DIR / path).glob("*") if entry.is_dir())
    return f"there is no group {path}/{group}. Allowed in {path}: {', '.join(groups) or 'none'}"


def _explain_choice(group: str, choice: str) -> str:
    choices: list[Any] = sorted(
        (file.stem for file in (CONF_DIR / group).glob("*.yaml")),
        key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)],
    )
    return f"{group}={choice}: there is no such choice.{suggest(choice, choices)} Allowed: {', '.join(choices)}"
