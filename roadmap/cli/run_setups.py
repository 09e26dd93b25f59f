"""Configurations of runs, from the config.yaml of each run or from a published experiment."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roadmap.analysis.publish import hide_places
from roadmap.analysis.report.commands import Setup
from roadmap.analysis.report.diagrams import Sections
from roadmap.analysis.run_table import DONE, Run
from roadmap.config.convert import convert
from roadmap.config.replay import DESIGN, compose_again, find_words, flatten, is_group_word, refuse_interpolations
from roadmap.config.schema import Config, read_config
from roadmap.config.search_path import SEARCH_PATH, SearchPath, current, parse_word, quote, use
from roadmap.config.variant import NO_DESIGN
from roadmap.errors import ConfigError, RunError, first_line
from roadmap.model.describe import describe_network
from roadmap.model.plan import plan_network
from roadmap.model.spec import Form, ModelSpec, RegimeSpec
from roadmap.runs.atomic import read_json
from roadmap.runs.config_hash import fill_neutral, hash_config
from roadmap.runs.run_dir import CONFIG, STATE

YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is faster, if it is built in
UNREADABLE = (HydraException, OmegaConfBaseException, yaml.YAMLError)
OWN = (
    "seed",
    "experiment",
    "output_dir",
    "logger",
    "step",
    "model",
    "reference",
    "retry_failed",
    "init_from",
    "mode",
)
RECIPE = "recipe.yaml"  # of a published experiment: every setting shared by its finished runs
PLACES = ("root", "cache")  # of the data, on the machine that trained


def read_setup(run: Run) -> Setup | None:
    """Return the configuration of a run; None if it has written none yet."""
    try:
        values = read_config_of(run)
        if values is None:
            return None
        folders = _read_config_folders(run)
        with use(SearchPath(folders) if folders else current()):
            overrides = find_words(values, run.variant)
        own = (f"{SEARCH_PATH}=[{','.join(map(quote, folders))}]",) if folders else ()
        network, problem = read_network(values)
        return Setup(
            overrides.choice, (*overrides.variant, *overrides.setting, *own), flatten(values), network, problem
        )
    except (*UNREADABLE, RunError, OSError, KeyError, TypeError, ValueError) as error:
        return Setup("", (), {}, None, f"{CONFIG} cannot be read ({type(error).__name__}: {first_line(error)})")


def _read_config_folders(run: Run) -> tuple[str, ...]:
    """Return the folders of a user's own configs from which a run was composed."""
    folders = read_json(run.path / STATE).get("config_folders", [])
    return tuple(str(folder) for folder in folders)


def read_config_of(run: Run) -> dict[str, Any] | None:
    """Return a run's configuration values, from its config.yaml or from its published experiment.

    Raises:
        ConfigError: the published recipe holds an interpolation, or composes another configuration.
    """
    path = run.path / CONFIG
    if path.exists():
        return read_values(path)
    recipe = run.path.parents[1] / RECIPE
    if not recipe.exists():
        return None
    refuse_interpolations({"experiment": run.experiment})
    setting = (run.regime, run.data, run.recipe)
    own = shlex.split(run.settings or "")
    cfg = compose_again(run.step, run.reference, run.variant, setting, read_values(recipe), own)
    cfg.seed, cfg.experiment = run.seed, run.experiment
    for place in PLACES:
        if OmegaConf.is_missing(cfg.data, place):  # a path on the machine that trained, not published
            cfg.data[place] = None
    config_hash = hash_config(asdict(read_config(cfg)))
    if run.config_hash not in (None, config_hash):
        raise ConfigError(
            f"{RECIPE} and today's conf/ give the configuration {config_hash}, {run.config_hash} was trained"
        )
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    return {field.name: values[field.name] for field in fields(Config)}  # in the order of a run's file


def read_setup_anywhere(run: Run) -> Setup | None:
    """Return the configuration of a run, without the paths of the machine that trained it and its dashboard."""
    setup = read_setup(run)
    if setup is None:
        return None
    keys = {f"data.{name}" for name in PLACES} | {SEARCH_PATH}

    def is_private(key: str) -> bool:
        return key in keys or key.startswith("logger.")

    return replace(
        setup,
        overrides=tuple(word for word in setup.overrides if not is_private(word.partition("=")[0])),
        values={key: text for key, text in setup.values.items() if not is_private(key)},
        problem=setup.problem and hide_places(setup.problem),
    )


def read_network(values: Mapping[str, Any]) -> tuple[Sections | None, str | None]:
    """Return the layers of a step, or None and why: another version of this project wrote the configuration."""
    if values["reference"] is not None:
        return None, None
    # The implementation of a block is not drawn, so an unknown value of it does no harm.
    design = values["model"] | dict.fromkeys(NO_DESIGN, Form.conv)
    try:
        plan = plan_network(convert(ModelSpec, design, "model"), convert(RegimeSpec, values["regime"], "regime"))
        return describe_network(plan, int(values["data"]["image_size"])), None
    except ConfigError as error:
        return None, f"no diagram, its configuration is of another version: {error}"


def read_values(path: Path) -> dict[str, Any]:
    """Read a configuration as plain values; it was resolved when it was written.

    Raises:
        RunError: the file is damaged.
    """
    try:
        values: Any = yaml.load(path.read_text(encoding="utf-8"), YAML)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is damaged: {first_line(error)}") from error
    if not isinstance(values, dict):
        raise RunError(f"{path} is damaged: it holds no keys")
    return fill_neutral(values) if path.name == CONFIG else values


def find_recipe(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the settings shared by all finished runs, nested as in a configuration."""
    done = [run.path for run in runs if run.state == DONE]
    paths = (path / CONFIG if (path / CONFIG).exists() else path.parents[1] / RECIPE for path in done)
    configs = [read_values(path) for path in dict.fromkeys(paths) if path.exists()]
    if not configs:
        return {}
    recipe = {key: value for key, value in configs[0].items() if key not in OWN}
    recipe["data"] = {key: value for key, value in recipe["data"].items() if key not in PLACES}
    for config in configs[1:]:
        recipe = keep_shared(recipe, config)
    return recipe


def add_own_settings(runs: Iterable[Run], recipe: Mapping[str, Any]) -> list[Run]:
    """Return the runs, each with the overrides for its settings that are not in the shared `recipe`."""
    shared = flatten(recipe)
    found = []
    for run in runs:
        setup = read_setup_anywhere(run)
        if setup is None or not setup.values:  # published by another version of conf/
            found.append(run)
            continue
        own = [word for word in setup.overrides if _is_own(run, word) and word.partition("=")[0] not in shared]
        found.append(replace(run, settings=shlex.join(own) or None))
    return found


def _is_own(run: Run, word: str) -> bool:
    """Return True if an override is not implied by the run's regime, data, recipe and variant."""
    key = word.partition("=")[0]
    if is_group_word(word):
        return parse_word(word).value() != getattr(run, key)
    return "." in key and (run.reference is not None or not key.startswith(DESIGN))


def keep_shared(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that two configurations share."""
    shared: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(others.get(key), Mapping):
            shared[key] = keep_shared(value, others[key])
        elif key in others and others[key] == value:
            shared[key] = value
    return shared
