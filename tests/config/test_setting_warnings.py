"""Each warning of the recipe check, the setting that silences it, and no warning for shipped configurations."""

from collections.abc import Callable

import pytest
from torch import nn

from roadmap.config import CONF_DIR, Config, list_length_warnings, list_warnings
from roadmap.training.recipe import build_optimizer

Read = Callable[..., Config]
STEPS = sorted(file.stem for file in (CONF_DIR / "roadmap").glob("*.yaml"))
ENDS = ("step0_resnet", "step12_downsample")
IMAGES = {"laptop": 1_433, "cifar10": 50_000, "paper": 1_281_167}  # training images
BATCHNORM, LAYERNORM = "+roadmap=step0_resnet", "+roadmap=step12_downsample"
# Typed overrides; the warning's first key; parts of its text; the override that silences it.
CASES = {
    "a rate for another batch": (
        ["recipe.total_batch=256"],
        "recipe.lr=0.004",
        "recipe.total_batch=64 and is not scaled for 256: in proportion it is recipe.lr=0.016",
        ["recipe.lr=0.016"],
    ),
    "a long warm-up": (
        ["recipe.epochs=30", "recipe.warmup_epochs=20"],
        "recipe.warmup_epochs=20",
        "more than half of recipe.epochs=30, so little is left at the full rate: recipe.warmup_epochs=2 ",
        ["recipe.warmup_epochs=2"],
    ),
    "a rate that rises": (["recipe.min_lr=0.1"], "recipe.min_lr=0.1", "above recipe.lr=0.004", ["recipe.lr=0.2"]),
    "an average of BatchNorm": (
        [BATCHNORM, "recipe.ema_decay=0.99"],
        "recipe.ema_decay=0.99",
        "severely hurts networks with BatchNorm (app. A.1): recipe.ema_decay=null, or model/norm=layernorm",
        ["model/norm=layernorm"],
    ),
    "BatchNorm of few images": (
        [BATCHNORM, "hardware.per_device_batch=8"],
        "hardware.per_device_batch=8",
        "takes its statistics from 8 images at a time",
        ["model/norm=layernorm"],
    ),
    "BatchNorm of a small update": (
        [BATCHNORM, "recipe.total_batch=8", "recipe.lr=1e-3"],
        "recipe.total_batch=8",
        "takes its statistics from 8 images at a time",
        ["model/norm=layernorm"],
    ),
    "an end that no schedule has": (
        ["recipe.schedule=step"],
        "recipe.min_lr=1e-06",
        "has no effect with recipe.schedule=step",
        ["recipe.min_lr=0"],
    ),
    "a part of the area that is not cut": (
        ["recipe.augment.scale=[0.5,1]"],
        "recipe.augment.scale=[0.5, 1.0]",
        "has no effect with recipe.augment.crop=padded",
        ["recipe.augment.crop=resized"],
    ),
    "AdamW's beta2 under SGD": (
        ["recipe=original", "recipe.beta2=0.95"],
        "recipe.beta2=0.95",
        "has no effect with recipe.optimizer=sgd",
        ["recipe.optimizer=adamw"],
    ),
    "a folder for embedded images": (
        ["data=digits", "data.root=/data"],
        "data.root=/data",
        "has no effect with data=digits, whose images are embedded",
        ["data=imagefolder", "data.num_classes=10"],
    ),
    "a cache of embedded images": (
        ["data=digits", "data.cache=/tmp/x"],
        "data.cache=/tmp/x",
        "has no effect with data=digits, whose images are embedded",
        ["data.cache=null"],
    ),
    "broken images that cannot be": (
        ["data=digits", "data.on_error=skip"],
        "data.on_error=skip",
        "has no effect with data=digits, whose images are embedded",
        ["data.on_error=raise"],
    ),
    "decays of a cosine": (
        ["recipe.decays=5"],
        "recipe.decays=5",
        "has no effect with recipe.schedule=cosine",
        ["recipe.schedule=step", "recipe.min_lr=0"],
    ),
    "a network of the roadmap under a reference": (
        ["+reference=resnet18", "model/norm=layernorm"],
        "model.norm=layernorm",
        "has no effect with +reference=resnet18: leave it out",
        ["model/norm=batchnorm"],
    ),
    "a stem under a reference": (
        ["+reference=resnet18", "data.stem_stride=4"],
        "data.stem_stride=4",
        "has no effect with +reference=resnet18: leave it out",
        ["data.stem_stride=2"],
    ),
    "LayerScale under a reference": (
        ["+reference=resnet18", "recipe.layer_scale_init=1e-6"],
        "recipe.layer_scale_init=1e-06",
        "has no effect with +reference=resnet18: leave it out",
        ["recipe.layer_scale_init=null"],
    ),
    "an initialization under a reference": (
        ["+reference=resnet18", "recipe.init=trunc_normal"],
        "recipe.init=trunc_normal",
        "has no effect with +reference=resnet18: leave it out",
        ["recipe.init=fan_in"],
    ),
    "a size under a reference": (
        ["+reference=resnet18", "regime=nano"],
        "regime=nano",
        "has no effect with +reference=resnet18, but on recipe.drop_path and the experiment's name",
        ["regime=micro"],
    ),
    "two stochastic depths": (
        ["recipe.drop_path=0.1", "model.drop_path=0.2"],
        "recipe.drop_path=0.1",
        "has no effect beside model.drop_path=0.2",
        ["model.drop_path=0.1"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_warning_names_its_key_and_the_way_out(read: Read, case: str) -> None:
    overrides, start, part, remedy = CASES[case]
    (text,) = list_warnings(read(*overrides))
    assert text.startswith(f"{start} ")
    assert part in f"{text} "
    assert list_warnings(read(*overrides, *remedy)) == []


@pytest.mark.parametrize(
    ("setting", "step"), [(setting, step) for setting in IMAGES for step in (STEPS if setting == "paper" else ENDS)]
)
def test_what_is_shipped_is_silent(read: Read, setting: str, step: str) -> None:
    config = read(f"setting={setting}", f"+roadmap={step}")
    updates = config.recipe.epochs * (IMAGES[setting] // config.recipe.total_batch)
    assert list_warnings(config) + list_length_warnings(config, updates) == []


@pytest.mark.parametrize("setting", IMAGES)
def test_a_reference_is_silent(read: Read, setting: str) -> None:
    """Its norm is unknown, and it takes no LayerScale from the recipe."""
    config = read(f"setting={setting}", "+reference=swin_tiny", "recipe.ema_decay=0.9")
    assert list_warnings(config) + list_length_warnings(config, 100) == []


@pytest.mark.parametrize("step", ["bag_of_tricks/step6_mixup", "training_techniques/step10_drop_path"])
def test_another_roadmaps_steps_are_silent(read: Read, step: str) -> None:
    """Of the recipe bag_of_tricks, whose decays its cosine does not use."""
    assert list_warnings(read("setting=paper", f"+roadmap={step}")) == []


def test_a_recipe_of_ones_own_is_not_held_against_a_file(read: Read) -> None:
    assert list_warnings(read("recipe.name=mine", "recipe.total_batch=256")) == []


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_momentum_affects_either_optimizer_and_needs_no_warning(read: Read, optimizer: str) -> None:
    """It is AdamW's beta1."""
    config = read("recipe.momentum=0.5", f"recipe.optimizer={optimizer}")
    (group,) = build_optimizer(nn.Linear(2, 2, bias=False), config.recipe).param_groups
    assert (group["betas"][0] if optimizer == "adamw" else group["momentum"]) == 0.5
    assert list_warnings(config) == []


def test_clipping_under_accumulation_is_of_the_whole_update_and_needs_no_warning(read: Read) -> None:
    assert list_warnings(read("recipe.clip_grad=1.0", "hardware.per_device_batch=16")) == []


def test_an_evaluation_trains_nothing(read: Read) -> None:
    assert list_warnings(read("mode=eval", "init_from=x.pt", "recipe.total_batch=256")) == []


@pytest.mark.parametrize(("updates", "warns"), [(9_999, True), (10_000, False)])
def test_an_average_that_outlasts_the_run(read: Read, updates: int, warns: bool) -> None:
    texts = list_length_warnings(read(LAYERNORM, "recipe.ema_decay=0.9999"), updates)
    assert len(texts) == warns
    for text in texts:
        assert text.startswith("recipe.ema_decay=0.9999 averages over 10,000 updates and the run has 9,999")
        assert "recipe.ema_decay=0.999 averages over a tenth of the run" in text


def test_an_average_that_never_moves(read: Read) -> None:
    (text,) = list_length_warnings(read(LAYERNORM, "recipe.ema_decay=1.0"), 10**9)
    assert text.startswith("recipe.ema_decay=1 averages over inf updates")


def test_an_average_advised_for_a_run_is_silent_in_it(read: Read) -> None:
    for updates in (5, 264, 10_000):
        (text,) = list_length_warnings(read(LAYERNORM, "recipe.ema_decay=0.999999"), updates)
        decay = text.split(": recipe.ema_decay=")[1].split()[0]
        assert list_length_warnings(read(LAYERNORM, f"recipe.ema_decay={decay}"), updates) == []


@pytest.mark.parametrize(
    ("scale", "updates", "warns"), [("1e-6", 264, True), ("1e-6", 93_600, False), ("1.0", 264, False)]
)
def test_a_layer_scale_that_cannot_grow(read: Read, scale: str, updates: int, warns: bool) -> None:
    texts = list_length_warnings(read(LAYERNORM, f"recipe.layer_scale_init={scale}"), updates)
    assert len(texts) == warns
    for text in texts:
        assert text.startswith("recipe.layer_scale_init=1e-06 with 264 updates: ")
        assert "recipe.layer_scale_init=null, or more recipe.epochs" in text
