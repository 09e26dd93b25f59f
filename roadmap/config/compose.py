"""From words on a command line to a configuration, as Hydra composes it."""

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
# A step with designs switched, as its folder is called: +roadmap='step12_downsample,norm=batchnorm'
VARIANT = re.compile(r"'(?P<step>\w+),(?P<switched>\w+=\w+(,\w+=\w+)*)'")

# A path such as outputs/trial/step7_kernel,kernel_size=9/seed0/checkpoint.pt, as this project names its folders.
PATH_OF_A_VARIANT = re.compile(r"^(?P<key>init_from|data\.root)=(?P<path>[^'\"=\s]+,\w+=[^'\"\s]+)$")


def list_choices(group: str) -> list[str]:
    """The files of a group in `conf/`, step2 before step10."""

    def by_number(name: str) -> list[Any]:
        return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

    return sorted((file.stem for file in (CONF_DIR / group).glob("*.yaml")), key=by_number)


def compose(*overrides: str) -> DictConfig:
    """The configuration that `python train.py OVERRIDES...` trains.

    Raises:
        hydra.errors.HydraException: a group, choice or key that does not exist.
    """
    return copy.deepcopy(_compose_once(tuple(prepare_overrides(overrides))))


@cache
def _compose_once(overrides: tuple[str, ...]) -> DictConfig:
    """Takes a fifth of a second, and a sweep asks for each step several times: for its runs and its variants."""
    with own_hydra():
        return hydra_compose("config", list(overrides))


@contextmanager
def own_hydra() -> Iterator[ConfigLoader]:
    """Hydra over `conf/`, also inside a job of Hydra's, which it leaves as it was."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().hydra = outer


def prepare_overrides(overrides: Sequence[str]) -> list[str]:
    """What users type, in the form that Hydra accepts.

    A choice that is a number (model/kernel_size=9) is quoted, since Hydra reads it as an integer and takes
    only strings for choices. So is the path of a variant's file, for its comma and equals sign. A reference
    without a file (+reference=resnet34) becomes a choice of its own, so that any timm model can be named; and so
    does a variant, so that one sweep can hold networks that are no product of choices.
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
    """A glob() is over the steps, whatever variants were composed before it in this process."""
    choices = ConfigStore.instance().repo.get("roadmap", {})
    for name in [name for name in choices if "," in name]:
        del choices[name]
