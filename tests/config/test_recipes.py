"""The recipes equal the paper's in every value, and each command's recipe is the expected one."""

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from roadmap.config import Config
from roadmap.training.spec import RecipeSpec

Read = Callable[..., Config]
ROOT = Path(__file__).parents[2]

# Table 5 (appendix A.1) and additions of the released code; drop_path is the regime's.
PAPER = {
    "name": "paper",
    "epochs": 300,
    "total_batch": 4096,
    "optimizer": "adamw",
    "lr": 4e-3,
    "momentum": 0.9,
    "beta2": 0.999,
    "weight_decay": 0.05,
    "decay_all": False,
    "schedule": "cosine",
    "warmup_epochs": 20.0,
    "min_lr": 1e-6,
    "label_smoothing": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "layer_scale_init": 1e-6,
    "init": "trunc_normal",
    "ema_decay": None,
    "clip_grad": None,
    "layer_decay": 1.0,
    "head_init_scale": 1.0,
    "decays": 2,
    "augment": {
        "crop": "resized",
        "scale": (0.08, 1.0),
        "rand_augment": "rand-m9-mstd0.5-inc1",
        "erasing": 0.25,
        "flip": 0.5,
    },
}
ORIGINAL = {  # the 76.13 row
    "name": "original",
    "epochs": 90,
    "total_batch": 256,
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "decay_all": True,
    "schedule": "step",
    "warmup_epochs": 0.0,
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "drop_path": 0.0,
    "layer_scale_init": None,
    "init": "torchvision",
    "ema_decay": None,
    "clip_grad": None,
    "layer_decay": 1.0,
    "head_init_scale": 1.0,
    "decays": 2,
    "augment": {"crop": "resized", "scale": (0.08, 1.0), "rand_augment": None, "erasing": 0.0, "flip": 0.5},
}
# Table 5's second recipe, for ImageNet-22K weights of the released code at 224 pixels.
FINETUNE = {
    **PAPER,
    "name": "finetune",
    "epochs": 30,
    "total_batch": 512,
    "lr": 5e-5,
    "weight_decay": 1e-8,
    "warmup_epochs": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "layer_decay": 0.8,
    "head_init_scale": 0.001,
}
UNUSED_BY_ORIGINAL = {"beta2", "min_lr"}  # AdamW's, and the cosine's


def in_both_orders(*overrides: str) -> list[tuple[str, ...]]:
    return [overrides, overrides[::-1]]


@pytest.mark.parametrize("expected", [PAPER, FINETUNE], ids=["paper", "finetune"])
@pytest.mark.parametrize(("regime", "drop_path"), [("resnet50", 0.1), ("resnet200", 0.5)])
def test_the_papers_recipes_are_table_5(
    read: Read, regime: str, drop_path: float, expected: dict[str, Any]
) -> None:
    config = read(f"recipe={expected['name']}", f"regime={regime}")
    assert asdict(config.recipe) == {**expected, "drop_path": drop_path}
    model = config.model
    assert (model.drop_path, model.layer_scale_init, model.init) == (drop_path, 1e-6, "trunc_normal")


def test_the_original_recipe_is_the_90_epochs_of_sgd(read: Read) -> None:
    config = read("recipe=original", "regime=resnet50")
    recipe = {key: value for key, value in asdict(config.recipe).items() if key not in UNUSED_BY_ORIGINAL}
    assert recipe == ORIGINAL
    model = config.model
    assert (model.drop_path, model.layer_scale_init, model.init) == (0.0, None, "torchvision")


def test_the_tables_here_are_complete() -> None:
    names = {field.name for field in fields(RecipeSpec)}
    assert {*PAPER, "drop_path"} == names == {*ORIGINAL, *UNUSED_BY_ORIGINAL}


@pytest.mark.parametrize("data", ["imagenet", "imagefolder"])
def test_imagenet_is_evaluated_as_in_the_paper(read: Read, data: str) -> None:
    """Resizes the short side to 256 = 224 / 0.875, bicubic; center crop 224."""
    spec = read(f"data={data}", "data.root=x", "data.num_classes=1000").data
    assert (spec.image_size, spec.crop_pct, spec.interpolation, spec.stem_stride) == (224, 0.875, "bicubic", 4)
    assert spec.mirror


SETTINGS: dict[str, dict[str, Any]] = {
    "paper": {"regime": "resnet50", "data": "imagenet", "recipe": "paper"},
    "cifar10": {"regime": "micro", "data": "cifar10_stride4", "recipe": "cifar10"},
    "laptop": {"regime": "micro", "data": "digits", "recipe": "short"},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_chooses_what_it_says(read: Read, setting: str) -> None:
    config = read(f"setting={setting}", "+roadmap=step0_resnet")
    chosen = {"regime": config.regime.name, "data": config.data.name, "recipe": config.recipe.name}
    assert chosen == SETTINGS[setting]
    assert config.experiment == f"{config.regime.name}-{config.data.name}"


def test_a_laptop_is_the_default(read: Read) -> None:
    assert read() == read("setting=laptop")


@pytest.mark.parametrize("overrides", in_both_orders("setting=paper", "+roadmap=original"))
def test_the_original_takes_its_recipe_under_any_setting(read: Read, overrides: tuple[str, ...]) -> None:
    config = read(*overrides)
    assert (config.recipe.name, config.regime.name, config.data.name) == ("original", "resnet50", "imagenet")


@pytest.mark.parametrize("overrides", in_both_orders("setting=paper", "+roadmap=original", "recipe=short"))
def test_a_recipe_that_is_typed_wins_over_both(read: Read, overrides: tuple[str, ...]) -> None:
    assert read(*overrides).recipe.name == "short"


@pytest.mark.parametrize("overrides", in_both_orders("setting=paper", "regime=resnet200", "data=digits"))
def test_a_choice_that_is_typed_wins_over_the_setting(read: Read, overrides: tuple[str, ...]) -> None:
    config = read(*overrides)
    assert (config.regime.name, config.data.name, config.recipe.name) == ("resnet200", "digits", "paper")
