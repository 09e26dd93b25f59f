"""The whole configuration as one typed object, read from its YAML."""

from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any, get_type_hints

from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roadmap.config.convert import convert, explain_unknown_key
from roadmap.config.resolvers import register_resolvers
from roadmap.config.roadmaps import DEFAULT
from roadmap.data.spec import DataSpec
from roadmap.errors import ConfigError
from roadmap.model.custom_axes import AXES
from roadmap.model.spec import ModelSpec, RegimeSpec
from roadmap.runs.logger_spec import LoggerSpec
from roadmap.training.spec import HardwareSpec, RecipeSpec

GROUPS = ("setting", "+roadmap", "+reference", "+sweep")  # groups that are not keys

OF_RESOLVER = " raised while resolving interpolation: "  # what OmegaConf puts before a resolver's error


class Mode(StrEnum):
    train = "train"
    eval = "eval"  # no training: top-1 and top-5 of the weights in `init_from`


@dataclass(frozen=True)
class StepSpec:
    """The configuration's name, in folders, tables and figures."""

    name: str  # the file in conf/roadmap or conf/reference
    index: int | None  # position on the roadmap, 0 to 12 in the paper; None if not on it
    label: str  # in figures
    roadmap: str = DEFAULT  # the roadmap whose step this is
    varies: tuple[str, ...] = ()  # settings that its steps change: comparable runs may differ in them


@dataclass(frozen=True)
class Config:
    """The configuration of one run. The YAML in `conf/` has the same structure."""

    mode: Mode  # eval measures the weights in init_from and trains nothing
    experiment: str  # folder of runs that are compared with each other
    output_dir: str  # folder of the experiments
    seed: int  # random seed of initialization, order, augmentation and mixing
    init_from: str | None  # a run's folder, a weights file (FILE:ema), timm:NAME, hub:OWNER/NAME, resnet50
    retry_failed: bool  # a sweep retries its failed runs; a single run is always retried
    reference: str | None  # a timm model to train instead of the roadmap's network
    step: StepSpec
    model: ModelSpec
    regime: RegimeSpec
    data: DataSpec
    recipe: RecipeSpec
    hardware: HardwareSpec
    logger: LoggerSpec
    modules: tuple[str, ...] = ()  # your own Python modules, which register axes (docs/extend.md)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed={self.seed}: must be from 0 to {2**32 - 1}")
        for key, name in (("experiment", self.experiment), ("step.name", self.step.name)):
            check_folder_name(key, name)
        if any(mark in self.step.name for mark in ",="):
            raise ConfigError(
                f"step.name={self.step.name}: in a folder's name, a comma and an equals sign part a step from what "
                "differs from it, so a step has none"
            )
        if self.mode is Mode.eval and self.init_from is None:
            raise ConfigError("mode=eval needs weights: init_from=NAME or init_from=FILE")


def check_folder_name(key: str, name: str) -> None:
    """Raise ConfigError if the value of a key cannot be the name of a folder of runs."""
    if not name or PurePath(name).name != name or name.startswith(".") or not name.isprintable():
        raise ConfigError(
            f"{key}={name}: must be the name of one folder below output_dir, and not begin with a dot: "
            "scripts read no hidden one"
        )


def read_config(cfg: DictConfig) -> Config:
    """Return the typed configuration.

    Raises:
        ConfigError: an unknown key, a missing value or one of the wrong type; names the key and what is allowed.
    """
    register_resolvers()  # a configuration from a file may be read before any is composed
    names = [str(key) for key in cfg if key != "hydra"]  # values may refer to Hydra's own node
    if missing := [key for name in names for key in _find_missing(_plain(cfg, name, False), f".{name}")]:
        raise ConfigError(f"no value yet for {', '.join(missing)}: give one, as in {missing[0]}=VALUE")
    try:
        values = {name: _plain(cfg, name, True) for name in names}
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0].rpartition(OF_RESOLVER)[2]) from None
    for name in values:
        if name not in {field.name for field in fields(Config)}:
            raise ConfigError(explain_key(name))
    config = convert(Config, values)
    assert isinstance(config, Config)
    return config


def recorded_values(config: Config) -> dict[str, Any]:
    """Return the plain values to record with a run, without own axes at their neutral choice.

    So a run that a module has not changed is read without that module.
    """
    values = asdict(config)
    for axis in AXES.values():
        if values["model"].get(axis.name) == axis.neutral:
            del values["model"][axis.name]
    return values


def _plain(cfg: DictConfig, key: str, resolve: bool) -> Any:
    node = cfg._get_node(key)
    if isinstance(node, Container) and not node._is_interpolation():
        return OmegaConf.to_container(node, resolve=resolve)
    return cfg[key] if resolve else node._value()  # type: ignore[union-attr]


def explain_key(full_key: str) -> str:
    """Return a message for a dotted key that does not exist, with the keys at its deepest existing level."""
    spec: Any = Config
    path = full_key.split(".")
    for depth, name in enumerate(path):
        known = [field.name for field in fields(spec)]
        if name not in known:
            nested = [key for key in list_keys(Config) if key.endswith(f".{name}")] if depth == 0 else []
            if nested:
                return f"there is no key {name} at the top. Did you mean {' or '.join(nested)}?"
            return explain_unknown_key(".".join(path[: depth + 1]), known + (list(GROUPS) if depth == 0 else []))
        spec = get_type_hints(spec)[name]
        if not is_dataclass(spec):
            break
    return f"{full_key}: {'.'.join(path[: depth + 1])} is a single value and has no keys"


def list_keys(spec: Any, prefix: str = "") -> list[str]:
    """Return every dotted key that holds a value, in the order of the specs."""
    if not is_dataclass(spec):
        return [prefix[1:]]
    types = get_type_hints(spec)
    return [key for field in fields(spec) for key in list_keys(types[field.name], f"{prefix}.{field.name}")]


def _find_missing(values: Any, prefix: str = "") -> list[str]:
    """Return keys with the value `???`; omegaconf's own search stops at the first interpolation of one."""
    if isinstance(values, dict):
        return [key for name in values for key in _find_missing(values[name], f"{prefix}.{name}")]
    return [prefix[1:]] if values == "???" else []
