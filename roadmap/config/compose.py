"""Composition of a configuration from command-line overrides, by Hydra."""

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

CONF_DIR = Path(__file__).resolve().parents[2] / "conf"
REFERENCE = re.compile(r"^\+reference=(?P<names>[\w.,'\" -]+)$")
NUMBERED_CHOICE = re.compile(r"^(?P<group>\+?model/\w+)=(?P<choices>\d+(\s*,\s*\d+)*)$")
# A step with design overrides, in the form of its folder's name: +roadmap='step12_downsample,norm=batchnorm'
VARIANT = re.compile(r"'(?P<step>\w+),(?P<switched>\w+=\w+(,\w+=\w+)*)'")

# A path such as outputs/trial/step7_kernel,kernel_size=9/seed0/checkpoint.pt, in this project's folder names.
PATH_OF_A_VARIANT = re.compile(r"^(?P<key>init_from|data\.root)=(?P<path>[^'\"=\s]+,\w+=[^'\"\s]+)$")


def list_choices(group: str) -> list[str]:
    """Return the files of a group in `conf/`, with step2 before step10."""

    def by_number(name: str) -> list[Any]:
        return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

    return sorted((file.stem for file in (CONF_DIR / group).glob("*.yaml")), key=by_number)


def compose(*overrides: str) -> DictConfig:
    """Return the configuration that `python train.py OVERRIDES...` trains.

    Raises:
        hydra.errors.HydraException: a group, choice or key does not exist.
    """
    return copy.deepcopy(_compose_once(tuple(prepare_overrides(overrides))))


@cache
def _compose_once(overrides: tuple[str, ...]) -> DictConfig:
    """Compose, cached: it takes a fifth of a second, and a sweep needs each step for its runs and its variants."""
    with own_hydra():
        return hydra_compose("config", list(overrides))


@contextmanager
def own_hydra() -> Iterator[ConfigLoader]:
    """Initialize Hydra on `conf/`, also inside a Hydra job, and restore that job's state afterwards."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().hydra = outer


def prepare_overrides(overrides: Sequence[str]) -> list[str]:
    """Convert overrides as typed by users to the form that Hydra accepts.

    A numeric choice (model/kernel_size=9) is quoted, since Hydra parses it as an integer and accepts only strings
    as choices. So is the path of a variant's file, for its comma and equals sign. A reference without a file
    (+reference=resnet34) is registered as a choice, so that any timm model can be named. So is a variant, so that
    one sweep can include networks that are no product of choices.
    """
    prepared = []
    for override in overrides:
        if match := NUMBERED_CHOICE.match(override):
            quoted = ",".join(f"'{choice.strip()}'" for choice in match["choices"].split(","))
            override = f"{match['group']}={quoted}"
        elif match := PATH_OF_A_VARIANT.match(override):
            override = f"{match['key']}='{match['path']}'"
        elif match := REFERENCE.match(override):
            for name in match["names"].split(","):
                _register_reference(name.strip(" '\""))
        elif override.startswith("+roadmap="):
            for match in VARIANT.finditer(override):
                _register_variant(match["step"], match["switched"].split(","))
        prepared.append(override)
    return prepared


def _register_reference(name: str) -> None:
    if name and not (CONF_DIR / "reference" / f"{name}.yaml").exists():
        node = {"reference": name, "step": {"name": name, "index": None, "label": name}}
        ConfigStore.instance().store(name=name, node=node, group="reference", package="_global_")


def _register_variant(step: str, switched: Sequence[str]) -> None:
    pairs = (word.split("=") for word in switched)
    overrides = [{f"override /model/{axis}": choice} for axis, choice in pairs]
    name = ",".join([step, *switched])
    ConfigStore.instance().store(
        name=name, node={"defaults": [step, *overrides, "_self_"]}, group="roadmap", package="_global_"
    )


def forget_variants() -> None:
    """Remove registered variants, so that a glob() matches only steps, whatever this process composed before."""
    choices = ConfigStore.instance().repo.get("roadmap", {})
    for name in [name for name in choices if "," in name]:
        del choices[name]
