"""Valid configurations: errors name the key, the value and what is allowed."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from roadmap.config import compose, read_config
from roadmap.errors import ConfigError


@pytest.fixture(scope="module")
def composed() -> DictConfig:
    return compose("+roadmap=step0_resnet")


def read_with(composed: DictConfig, **changes: Any) -> Any:
    """Read the configuration with dotted keys changed; their dots are written as two underscores."""
    cfg = composed.copy()
    for name, value in changes.items():
        OmegaConf.update(cfg, name.replace("__", "."), value, force_add=True)
    return read_config(cfg)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        # a key that does not exist
        ({"epohcs": 3}, ["no key epohcs", "Allowed at the top: mode, ", "setting, +roadmap, +reference"]),
        ({"recipee": 3}, ["no key recipee.", "Did you mean recipe?"]),
        ({"epochs": 3}, ["no key epochs at the top", "Did you mean recipe.epochs?"]),
        ({"recipe__epoch": 3}, ["no key recipe.epoch.", "Did you mean recipe.epochs?", "Allowed in recipe: "]),
        (
            {"recipe__augment__flipp": 0.5},
            ["no key recipe.augment.flipp.", "Did you mean recipe.augment.flip?", "rand_augment, erasing, flip"],
        ),
        ({"zzz": 3}, ["no key zzz. Allowed"]),
        # a value of the wrong type, or no choice
        ({"seed": "abc"}, ["seed=abc: must be a whole number"]),
        ({"seed": 1.5}, ["seed=1.5: must be a whole number"]),
        ({"seed": True}, ["seed=True: must be a whole number"]),
        ({"seed": None}, ["seed=null: must be a whole number"]),
        ({"recipe__lr": "fast"}, ["recipe.lr=fast: must be a number"]),
        ({"recipe__lr": True}, ["recipe.lr=True: must be a number"]),
        ({"recipe__lr": float("nan")}, ["recipe.lr=nan: must be a finite number"]),
        ({"recipe__clip_grad": float("inf")}, ["recipe.clip_grad=inf: must be a finite number"]),
        ({"recipe__decay_all": "yes"}, ["recipe.decay_all=yes: must be true or false"]),
        ({"recipe__decay_all": 1}, ["recipe.decay_all=1: must be true or false"]),
        ({"experiment": None}, ["experiment=null: must be a string"]),
        ({"data__mean": 0.5}, ["data.mean=0.5: must be a list, as in data.mean=[...]"]),
        ({"data__mean": [0.5, "x", 0.5]}, ["data.mean[1]=x: must be a number"]),
        ({"regime__depths__modern": [1, 1, 1.5, 1]}, ["regime.depths.modern[2]=1.5: must be a whole number"]),
        ({"recipe__augment": 3}, ["recipe.augment=3: must be a group of keys: crop, scale, "]),
        ({"model": None}, ["model=None: must be a group of keys: stage_ratio, stem, "]),
        ({"mode": "evl"}, ["mode=evl: there is no such choice. Did you mean eval? Allowed: train, eval"]),
        ({"model__norm": "bn"}, ["model.norm=bn: there is no such choice. Allowed: batchnorm, layernorm"]),
        ({"model__stem": 4}, ["model.stem=4: there is no such choice. Allowed: resnet, patchify"]),
        ({"recipe__optimizer": "adam"}, ["Did you mean adamw? Allowed: adamw, sgd"]),
        ({"data__source": None}, ["data.source=None: there is no such choice. Allowed: digits, cifar10, "]),
        ({"logger__name": "neptune"}, ["logger.name=neptune: there is no such logger. Allowed: mlflow, none, "]),
        # a value out of range
        ({"seed": -1}, ["seed=-1", "from 0 to 4294967295"]),
        ({"seed": 2**32}, ["seed=4294967296", "from 0 to 4294967295"]),
        ({"experiment": ""}, ["experiment=", "one folder"]),
        ({"experiment": "a/b"}, ["experiment=a/b", "one folder"]),
        ({"experiment": ".."}, ["experiment=..", "one folder"]),
        ({"step__name": "a/b"}, ["step.name=a/b", "one folder"]),
        ({"recipe__lr": -0.1}, ["recipe.lr=-0.1", "at least 0"]),
        ({"recipe__epochs": 0}, ["recipe.epochs=0", "at least 1"]),
        ({"recipe__warmup_epochs": 1000}, ["recipe.warmup_epochs=1000.0", "recipe.epochs="]),
        ({"recipe__clip_grad": 0}, ["recipe.clip_grad=0", "above 0"]),
        ({"recipe__ema_decay": 1.5}, ["recipe.ema_decay=1.5", "from 0 to 1"]),
        ({"recipe__label_smoothing": 1.0}, ["recipe.label_smoothing=1.0", "below 1"]),
        ({"recipe__augment__flip": 1.5}, ["recipe.augment.flip=1.5", "0 to 1"]),
        ({"recipe__augment__scale": [0.5]}, ["recipe.augment.scale=", "two fractions"]),
        ({"model__kernel_size": 8}, ["model.kernel_size=8", "odd"]),
        ({"data__stem_stride": 3}, ["model.stem_stride=3", "4, 2 or 1"]),
        ({"data__crop_pct": 1.5}, ["data.crop_pct=1.5", "at most 1"]),
        ({"data__std": [0.5, 0.5, 0.0]}, ["data.std=", "above 0"]),
        ({"regime__depths__modern": [1, 1, 0, 1]}, ["regime.depths.modern=", "four numbers of at least 1"]),
        ({"regime__depths__modern": [1, 1]}, ["regime.depths.modern=(1, 1)", "three or four numbers"]),
        ({"regime__depths__modern": [1, 1, 3]}, ["modern=(1, 1, 3)", "the same number of stages"]),
        ({"hardware__per_device_batch": 0}, ["hardware.per_device_batch=0", "at least 1"]),
        ({"mode": "eval"}, ["mode=eval", "init_from=NAME", "init_from=FILE"]),
    ],
)
def test_the_message_of_a_wrong_key_or_value(
    composed: DictConfig, change: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_with(composed, **change)
    for part in parts:
        assert part in str(caught.value)


def test_all_missing_values_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(compose("data=imagefolder"))
    assert str(caught.value) == "no value yet for data.root: give one, as in data.root=VALUE"
    config = read_config(compose("data=imagefolder", "data.root=photos", "data.num_classes=7"))
    assert (config.data.root, config.model.num_classes) == ("photos", 7)


def test_an_interpolation_to_nothing_is_named(composed: DictConfig) -> None:
    with pytest.raises(ConfigError, match=r"^Interpolation key 'recipe\.learning_rate' not found$"):
        read_with(composed, recipe__min_lr="${recipe.learning_rate}")


@pytest.mark.parametrize(("value", "read"), [(3, "3"), ("3", "3"), ("trial", "trial")])
def test_a_name_may_be_a_number(composed: DictConfig, value: object, read: str) -> None:
    assert read_with(composed, experiment=value).experiment == read


def test_a_whole_number_is_a_number_and_null_is_none(composed: DictConfig) -> None:
    recipe = read_with(composed, recipe__lr=1, recipe__clip_grad=None).recipe
    assert (recipe.lr, type(recipe.lr), recipe.clip_grad) == (1.0, float, None)


def test_a_composed_configuration_that_was_saved_is_read_before_any_is_composed(
    composed: DictConfig, tmp_path: Path
) -> None:
    """Its values still refer to each other by the resolvers that a composition registers."""
    OmegaConf.save(composed, tmp_path / "config.yaml")
    OmegaConf.clear_resolver("warmup")
    found = OmegaConf.load(tmp_path / "config.yaml")
    assert isinstance(found, DictConfig)
    assert read_config(found) == read_config(composed)
