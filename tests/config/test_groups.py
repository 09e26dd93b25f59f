"""Every axis is a group of files under conf/model, and regimes match the paper's two roadmaps."""

from collections.abc import Callable
from dataclasses import asdict, fields
from enum import StrEnum
from pathlib import Path
from typing import get_type_hints

import pytest
from omegaconf import OmegaConf

from roadmap.config import CONF_DIR
from roadmap.config.schema import GROUPS, Config
from roadmap.model.spec import ModelSpec

MODEL_DIR = CONF_DIR / "model"
AXES = sorted(folder.name for folder in MODEL_DIR.iterdir())
FILES = sorted(MODEL_DIR.glob("*/*.yaml"))
# Fields of the network that are not design choices: they are set by the data, the recipe or the device.
NO_AXES = {"num_classes", "stem_stride", "layer_scale_init", "drop_path", "init", "form"}
Read = Callable[..., Config]
KERNEL_SIZES = {"3", "5", "7", "9", "11"}


def test_every_axis_is_a_group() -> None:
    assert set(AXES) == {field.name for field in fields(ModelSpec)} - NO_AXES


@pytest.mark.parametrize("axis", AXES)
def test_every_value_of_an_axis_has_a_file(axis: str) -> None:
    kind = get_type_hints(ModelSpec)[axis]
    values = KERNEL_SIZES if kind is int else {member.value for member in kind}
    assert {file.stem for file in (MODEL_DIR / axis).iterdir()} == values


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_a_file_sets_its_own_key_to_its_own_name_and_nothing_else(file: Path) -> None:
    value = int(file.stem) if file.stem.isdecimal() else file.stem
    assert OmegaConf.to_container(OmegaConf.load(file)) == {file.parent.name: value}
    package, comment, *_ = file.read_text().splitlines()
    assert package == "# @package model"
    assert comment.startswith("# ")


@pytest.mark.parametrize("place", [0, -1])
def test_choices_of_all_axes_arrive_in_the_network(read: Read, place: int) -> None:
    choices = {axis: sorted(file.stem for file in (MODEL_DIR / axis).iterdir())[place] for axis in AXES}
    model = asdict(read(*(f"model/{axis}={choice}" for axis, choice in choices.items())).model)
    assert {axis: str(model[axis]) for axis in AXES} == choices


@pytest.mark.parametrize("group", ["data", "recipe", "regime", "logger"])
def test_a_choice_is_called_as_its_file(group: str) -> None:
    for file in (CONF_DIR / group).glob("*.yaml"):
        loaded = OmegaConf.load(file)
        assert loaded.name == file.stem
        known = {field.name for field in fields(get_type_hints(Config)[group])}
        if "defaults" in loaded:  # based on another choice, with differences
            assert {str(key) for key in loaded} < {*known, "defaults"}
        else:
            assert {str(key) for key in loaded} == known


def test_the_message_about_unknown_keys_knows_every_group() -> None:
    keys = {field.name for field in fields(Config)}
    groups = {folder.name for folder in CONF_DIR.iterdir() if folder.is_dir() and folder.name != "hydra"}
    keyless = {name.lstrip("+") for name in GROUPS}
    assert groups - keys <= keyless <= groups


def test_the_micro_regime_keeps_the_shape_of_the_papers(read: Read) -> None:
    """The same stage grows with the ratio, and the width has the same factor of 1.5."""
    micro = read("regime=micro").regime
    assert micro.depths.modern[2] > micro.depths.resnet[2]
    assert micro.width.modern / micro.width.resnet == 96 / 64


def test_enums_have_values_that_are_their_names() -> None:
    """Messages list the values, and users type the names."""
    for kind in get_type_hints(ModelSpec).values():
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            assert [member.name for member in kind] == [member.value for member in kind]
