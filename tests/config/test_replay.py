"""A run's saved configuration gives the overrides that compose it again, verified by the hash of its settings."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from roadmap.config import compose, read_config
from roadmap.config.replay import Words, compose_again, find_words
from roadmap.config.variant import find_variant
from roadmap.errors import ConfigError
from roadmap.runs.config_hash import hash_config

FOLDER = ("data=imagefolder", "data.root=/images", "data.num_classes=3")


def replay(*overrides: str) -> tuple[Words, bool]:
    """Return the overrides of the run that `words` train, and True if they compose the same configuration."""
    cfg = compose(*overrides)
    values = read_plain(cfg)
    found = find_words(values, find_variant(cfg))
    again = read_plain(compose(*filter(None, [found.choice]), *found.variant, *found.setting))
    return found, hash_config(again | {"seed": values["seed"]}) == hash_config(values)


def read_plain(cfg: DictConfig) -> dict[str, Any]:
    """Return the values of a run's config.yaml."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(read_config(cfg))))
    return values


def test_what_a_group_leaves_open_is_told() -> None:
    overrides, is_same = replay("+roadmap=step5_inverted", *FOLDER)
    assert is_same
    assert overrides.setting == (
        "regime=micro",
        "data=imagefolder",
        "recipe=short",
        "data.root=/images",
        "data.num_classes=3",
    )


def test_what_follows_another_value_is_told_where_it_does_not() -> None:
    overrides, is_same = replay("regime.drop_path=0.3")
    assert is_same
    assert overrides.setting[3:] == ("regime.drop_path=0.3",)
    overrides, is_same = replay("regime.drop_path=0.3", "recipe.drop_path=0.0")
    assert is_same
    assert overrides.setting[3:] == ("regime.drop_path=0.3", "recipe.drop_path=0")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((*FOLDER, "data.name=flowers"), ("data=imagefolder", "data.name=flowers")),
        (("data=imagenet", "data.name=mine", "data.image_size=64"), ("data=imagenet", "data.image_size=64")),
        (("data=cifar100", "data.name=coarse", "data.num_classes=20"), ("data=cifar100", "data.num_classes=20")),
        (("recipe=paper", "recipe.name=mine", "recipe.lr=1e-3"), ("recipe=paper", "recipe.name=mine")),
        (("regime=resnet50", "regime.name=slim", "regime.width.modern=48"), ("regime=resnet50",)),
    ],
)
def test_a_name_of_ones_own_is_told_beside_the_choice_that_is_nearest(
    overrides: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    found, is_same = replay(*overrides)
    assert is_same
    assert set(expected) < set(found.setting)


@pytest.mark.parametrize("named", ["null", "None"])  # the latter in names of older runs
def test_no_layer_scale_is_a_variant_that_can_be_typed(named: str) -> None:
    cfg = compose("+roadmap=step12_downsample", "recipe=paper", "model.layer_scale_init=null")
    assert find_variant(cfg) == {"layer_scale_init": "null"}
    overrides = find_words(read_plain(cfg), {"layer_scale_init": named})
    assert overrides.variant == ("model.layer_scale_init=null",)
    again = compose_again(
        "step12_downsample", None, {"layer_scale_init": named}, ("micro", "digits", "paper"), {}, ()
    )
    assert read_config(again) == read_config(cfg)


@pytest.mark.parametrize("name", ["swin_tiny", "resnet18"])
def test_a_reference_keeps_its_classes_and_its_stochastic_depth(name: str) -> None:
    overrides, is_same = replay(f"+reference={name}", "model.drop_path=0.2", "model.num_classes=12")
    assert is_same
    assert overrides.choice == f"+reference={name}"
    assert overrides.setting[3:] == ("model.num_classes=12", "model.drop_path=0.2")
    overrides, is_same = replay(f"+reference={name}", "recipe.drop_path=0.2", "data.num_classes=12")
    assert is_same
    assert overrides.setting[3:] == ("data.num_classes=12", "recipe.drop_path=0.2")


@pytest.mark.parametrize("path", ["1e3", "2.50", "true", "[a]", "Blüten", "~/images", "../a-b/c_1.5", "two words"])
def test_a_text_is_written_so_that_it_is_read_as_that_text(path: str) -> None:
    overrides = ("data=imagefolder", "data.num_classes=3", f"data.root='{path}'")
    found, _ = replay(*overrides)
    assert read_config(compose(*found.setting)).data.root == path
    published = OmegaConf.from_dotlist([word for word in found.setting if word.startswith("data.root=")])
    assert published.data.root == path


WORDS = {
    "regime": ["micro", "resnet50", "resnet200"],
    "data": ["digits", "cifar10_stride4", "imagenet", "imagefolder data.root=/images data.num_classes=7"],
    "recipe": ["short", "paper", "original"],
    "regime.name": ["slim"],
    "regime.drop_path": ["0", "0.3"],
    "regime.depths.modern": ["[1,1,2,1]"],
    "data.name": ["flowers", "cifar100", "2024"],
    "data.source": ["digits", "folder"],
    "data.num_classes": ["4"],
    "data.stem_stride": ["1"],
    "data.mean": ["[0.5,0.5,1]"],
    "data.cache": ["null", "/somewhere/else"],
    "recipe.name": ["mine", "paper"],
    "recipe.drop_path": ["0", "0.2"],
    "recipe.layer_scale_init": ["null", "1e-6", "1"],
    "recipe.init": ["torchvision"],
    "recipe.lr": ["1e-3"],
    "recipe.ema_decay": ["0.99"],
    "recipe.augment.rand_augment": ["null", "rand-m5"],
    "recipe.augment.scale": ["[0.5,1.0]"],
    "model/norm": ["batchnorm", "layernorm"],
    "model/kernel_size": ["3", "9"],
    "model.kernel_size": ["13"],
    "model.stem_stride": ["2"],
    "model.num_classes": ["4", "12"],
    "model.layer_scale_init": ["null", "0.1"],
    "model.drop_path": ["0.0", "0.2"],
    "model.init": ["trunc_normal"],
    "model.form": ["conv"],
    "step.name": ["own"],
    "seed": ["3"],
    "experiment": ["trial", "micro-digits"],
    "hardware.workers": ["2"],
    "init_from": ["'outputs/trial/step7_kernel,kernel_size=9/seed0/checkpoint.pt'"],
}
CHOICES = ["", "+roadmap=original", "+roadmap=step7_kernel", "+reference=swin_tiny", "+reference=resnet18"]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    choice=st.sampled_from(CHOICES),
    picked=st.fixed_dictionaries({}, optional={key: st.sampled_from(texts) for key, texts in WORDS.items()}),
)
def test_whatever_is_typed_is_replayed(choice: str, picked: dict[str, str]) -> None:
    typed = " ".join([choice, *(f"{key}={text}" for key, text in picked.items())]).split()
    try:
        cfg = compose(*typed)
        names = [read_config(cfg).regime.name, read_config(cfg).data.name, read_config(cfg).recipe.name]
    except ConfigError:
        reject()  # not trained
    overrides, is_same = replay(*typed)
    again = read_config(compose(*filter(None, [overrides.choice]), *overrides.variant, *overrides.setting))
    assert is_same
    assert [again.regime.name, again.data.name, again.recipe.name] == names
    assert again.experiment == cfg.experiment
    assert again.hardware == read_config(cfg).hardware
