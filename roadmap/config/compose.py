"""Composition of a configuration from command-line overrides, by Hydra."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from roadmap.config.copies import copier
from roadmap.config.file_cache import file_cached
from roadmap.config.hydra_errors import explain_hydra_error
from roadmap.config.keywords import use_words
from roadmap.config.overwritten_choices import check_not_overwritten
from roadmap.config.resolvers import register_resolvers
from roadmap.config.roadmaps import AXIS_GROUP, is_axis
from roadmap.config.search_path import (
    CONF_DIR,
    SearchPath,
    current,
    find_config,
    is_group,
    parse_word,
    quote,
    register,
    takes_one_choice,
    use,
)
from roadmap.config.yaml_errors import check_files
from roadmap.errors import ConfigError

SWEEP = "+sweep="
REFERENCE = re.compile(r"^\+reference=(?P<names>[\w.,'\" -]+)$")
GROUP_WORD = re.compile(r"^(?P<group>\+?[\w/]+)=(?P<choices>[^'\"]+)$")
# A step with overrides, in the form of its folder's name: +roadmap='step12_downsample,norm=batchnorm'
VARIANT = re.compile(r"'(?P<step>[^,'=]+),(?P<switched>[\w.]+=[^,'=]+(,[\w.]+=[^,'=]+)*)'")

# A path such as outputs/trial/step7_kernel,kernel_size=9/seed0/checkpoint.pt, in this project's folder names.
PATH_OF_A_VARIANT = re.compile(r"^(?P<key>init_from|data\.root)=(?P<path>[^'\"=\s]+,\w+=[^'\"\s]+)$")


def compose(*overrides: str, **values: Any) -> DictConfig:
    """Return the configuration that `python train.py OVERRIDES...` trains.

    A folder of configs of one's own takes `hydra.searchpath=[file:///PATH]`, and a module of one's own
    `modules=[NAME]`, as there.

    >>> roadmap.compose(roadmap="step7_kernel", model={"kernel_size": 9}, seed=1).model.kernel_size
    9

    Raises:
        ConfigError: a group, choice, key, folder or module does not exist, or the overrides are those of a sweep.
    """
    with use_words(overrides, values) as words:
        if sweeps := [word for word in words if word.startswith(SWEEP)]:
            raise ConfigError(
                f"{sweeps[0]}: compose returns one run's configuration; roadmap.sweep trains a sweep's"
            )
        return compose_words(words)


def compose_words(words: Sequence[str]) -> DictConfig:
    """Compose overrides as typed on the command line, on the current search path.

    Raises:
        ConfigError: as compose.
    """
    search_path = SearchPath(current().folders, modules=current().modules)
    try:
        cfg = compose_overrides(search_path, prepare_overrides(words))
    except HydraException as error:
        raise ConfigError(explain_hydra_error(error, words)) from None
    except RecursionError:
        with use(search_path):
            check_files(words)  # whose error names the files
        raise
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def compose_overrides(search_path: SearchPath, overrides: Sequence[str]) -> DictConfig:
    """Compose prepared overrides, with Hydra's own node; plain values are set in a shared composition."""
    base, values = divide_overrides(overrides)
    return set_values(compose_with_hydra(search_path, base), values, search_path, overrides)


def divide_overrides(overrides: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Divide overrides into those that choose configs, and the plain values that Hydra sets after them.

    If an override adds, deletes or sets a mapping or list, the order matters, and all are left to Hydra.
    """
    for word in overrides:
        _check_one_choice(word)
    split = [(word, _split_word(word)) for word in overrides]
    base = [word for word, value in split if value is None]
    if all(parse_word(word).is_hydra_override() or is_group(parse_word(word).key_or_group) for word in base):
        return tuple(base), dict(value for _, value in split if value is not None)
    return tuple(overrides), {}


def set_values(
    cfg: DictConfig, values: Mapping[str, Any], search_path: SearchPath, overrides: Sequence[str]
) -> DictConfig:
    """Set plain values in a composition; if one does not fit, Hydra composes all, and reports what is wrong."""
    try:
        for key, value in values.items():
            OmegaConf.update(cfg, key, value)
    except OmegaConfBaseException:
        return compose_with_hydra(search_path, tuple(overrides))
    return cfg


def compose_with_hydra(search_path: SearchPath, overrides: tuple[str, ...]) -> DictConfig:
    """Compose with Hydra's own node, cached: it takes a third of a second, and a sweep repeats each step."""
    return _compose_checked(search_path, overrides)()


@file_cached
def _compose_checked(search_path: SearchPath, overrides: tuple[str, ...]) -> Callable[[], DictConfig]:
    composed = _compose_once(search_path, overrides)
    check_not_overwritten(composed(), overrides, lambda others: _compose_once(search_path, tuple(others))())
    return composed


@file_cached
def _compose_once(search_path: SearchPath, overrides: tuple[str, ...]) -> Callable[[], DictConfig]:
    with own_hydra():
        return copier(hydra_compose(search_path.config_name, list(overrides), return_hydra_config=True))


@contextmanager
def own_hydra() -> Iterator[ConfigLoader]:
    """Initialize Hydra on the search path, also inside a Hydra job, and restore that job's state afterwards."""
    register()
    register_resolvers()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF_DIR), job_name="train", version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().hydra = outer


def prepare_overrides(overrides: Sequence[str]) -> list[str]:
    """Convert overrides as typed by users to the form that Hydra accepts.

    A choice that Hydra would read as a number or the like (model/kernel_size=9, recipe=1e-3) is quoted, since it
    takes only strings for choices. So is the path of a variant's file, for its comma and equals sign. A reference
    without a file (+reference=resnet34) becomes a choice of its own, so that any timm model can be named; and so
    does a variant, so that one sweep can hold networks that are no product of choices.
    """
    prepared = []
    for override in overrides:
        if (match := PATH_OF_A_VARIANT.match(override)) and find_config(override.replace("=", "/", 1)) is None:
            override = f"{match['key']}='{match['path']}'"
        elif match := REFERENCE.match(override):
            for name in match["names"].split(","):
                _register_reference(name.strip(" '\""))
        elif override.startswith("+roadmap="):
            for match in VARIANT.finditer(override):
                _register_variant(match["step"], match["switched"].split(","))
        if match := GROUP_WORD.match(override):
            override = f"{match['group']}={_quote_choices(match['group'].lstrip('+'), match['choices'])}"
        prepared.append(override)
    return prepared


def _quote_choices(group: str, choices: str) -> str:
    """Return the choices of an override, with config names quoted if Hydra requires it."""
    if not is_group(group):
        return choices
    if find_config(f"{group}/{choices}") is not None:  # one name, though it may hold a comma or parentheses
        return quote(choices)
    texts = [choice.strip() for choice in choices.split(",")]
    if not any(_is_name(group, text) for text in texts):
        return choices
    return ",".join(quote(text) if _is_name(group, text) else text for text in texts)


def _is_name(group: str, text: str) -> bool:
    """Return True if a choice is a config's name, or a number, which cannot mean anything else."""
    return text.isdecimal() or (not text.isidentifier() and find_config(f"{group}/{text}") is not None)


def _split_word(word: str) -> tuple[str, Any] | None:
    """Return key and value of an override that sets one plain value, on which no choice depends; else None."""
    override = parse_word(word)
    key, value = override.key_or_group, override.value()
    is_set = not (override.is_add() or override.is_force_add() or override.is_delete() or override.package)
    is_key = not (override.is_hydra_override() or "/" in key or is_group(key))
    is_plain = isinstance(value, str | int | float | bool | None) and not override.is_sweep_override()
    return (key, value) if is_set and is_key and is_plain else None


def _check_one_choice(word: str) -> None:
    """Raise ConfigError if a group of this project is given a list, of which Hydra would use the last choice."""
    override = parse_word(word)
    group, values = override.key_or_group, override.value()
    if isinstance(values, list) and takes_one_choice(group):
        key, _, _ = word.partition("=")
        choices = ",".join(quote(str(getattr(value, "text", value))) for value in values)
        raise ConfigError(
            f"{word}: a run has one choice of {group}. A sweep has a run for each: -m {key}={choices}, in Python "
            "roadmap.sweep"
        )


def _register_reference(name: str) -> None:
    if name and find_config(f"reference/{name}") is None:
        node = {"reference": name, "step": {"name": name, "index": None, "label": name}}
        ConfigStore.instance().store(name=name, node=node, group="reference", package="_global_")


def _register_variant(step: str, switched: Sequence[str]) -> None:
    if find_config(f"roadmap/{','.join([step, *switched])}") is not None:
        return
    folder, _, name = f"roadmap/{step}".rpartition("/")
    overrides: list[Any] = []
    values = OmegaConf.create()
    for axis, value in (word.split("=") for word in switched):
        group = f"{AXIS_GROUP}{axis}" if is_axis(axis) else axis
        if is_group(group):
            overrides.append({f"override /{group}": value})
        else:
            OmegaConf.update(values, axis if "." in axis else f"model.{axis}", parse_word(f"x={value}").value())
    ConfigStore.instance().store(
        name=",".join([name, *switched]),
        node={"defaults": [f"/roadmap/{step}", *overrides, "_self_"], **values},
        group=folder,
        package="_global_",
    )


def forget_variants() -> None:
    """Remove registered variants, so that a glob() matches only steps, whatever this process composed before."""
    _forget(ConfigStore.instance().repo.get("roadmap", {}))


def _forget(choices: dict[str, Any]) -> None:
    for name, node in list(choices.items()):
        if isinstance(node, dict):  # the folder of a roadmap
            _forget(node)
        elif "," in name:
            del choices[name]
