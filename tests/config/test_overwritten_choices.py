"""A choice that the chosen step's files overwrite is refused, and one that still has an effect is taken."""

from collections.abc import Callable
from pathlib import Path

import pytest

from roadmap.config import compose, plan_runs, read_sweep
from roadmap.config.search_path import SearchPath, use
from roadmap.errors import ConfigError

FIRST = "+roadmap=training_techniques/step0_original_recipe"
LAST = "+roadmap=training_techniques/step10_drop_path"
TRICKS = "+roadmap=bag_of_tricks/step3_resnet_d"


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (
            [FIRST, "recipe=short"],
            [
                "recipe=short: training_techniques/step0_original_recipe writes 11 of the 13 values that it would",
                "change: recipe.epochs=90, recipe.total_batch=256, recipe.optimizer=sgd, recipe.lr=0.1 and others",
                "Leave it out, and give recipe.augment.crop=padded 'recipe.augment.scale=[1.0,1.0]'",
                "as in recipe.epochs=12",
            ],
        ),
        (
            ["recipe=paper", FIRST],
            ["writes 16 of the 16 values", "Leave it out; a single key", "recipe.epochs=300"],
        ),
    ],
)
def test_an_overwritten_choice_is_refused_with_what_to_give_instead(overrides: list[str], parts: list[str]) -> None:
    for refused in (lambda: compose(*overrides), lambda: plan_runs([*overrides, "seed=0,1"], is_sweep=True)):
        with pytest.raises(ConfigError) as caught:
            refused()
        for part in parts:
            assert part in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([FIRST, "setting=paper"], ("original", 90, "resnet50")),
        ([FIRST, "setting=cifar10"], ("original", 90, "micro")),  # under the name of the recipe that it has
        (["+roadmap=original", "setting=cifar10"], ("original", 90, "micro")),
        ([FIRST, "recipe=original", "regime=nano"], ("original", 90, "nano")),
        ([FIRST, "recipe.epochs=12"], ("original", 12, "micro")),
        ([LAST, "recipe=paper", "regime=resnet50"], ("paper", 300, "resnet50")),  # whose values are the step's
        ([TRICKS, "setting=paper"], ("bag_of_tricks", 120, "resnet50")),
        ([TRICKS, "recipe=short"], ("short", 12, "micro")),  # but for the values that its steps change
        ([TRICKS, "setting=cifar10"], ("bag_of_tricks", 120, "micro")),
        ([TRICKS, "setting=cifar10", "recipe=cifar10"], ("cifar10", 10, "micro")),
        (["+roadmap=original", "setting=paper", "recipe=short"], ("short", 12, "resnet50")),
        (["+roadmap=step7_kernel", "setting=cifar10"], ("cifar10", 10, "micro")),
    ],
)
def test_a_choice_with_an_effect_is_taken(overrides: list[str], expected: tuple[str, int, str]) -> None:
    cfg = compose(*overrides)
    assert (cfg.recipe.name, cfg.recipe.epochs, cfg.regime.name) == expected


def test_a_sweep_of_steps_with_recipes_is_refused_before_its_first_run() -> None:
    sweep = read_sweep(["+sweep=roadmap", "sweep.roadmap=training_techniques", "recipe=paper"], is_sweep=True)
    assert sweep is not None
    with pytest.raises(ConfigError, match="recipe=paper: training_techniques/step0_original_recipe writes 16 of"):
        plan_runs(sweep.overrides(sweep.spec.names()), is_sweep=True)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], None]:
    def write(name: str, text: str) -> None:
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# @package _global_\n{text}\n")

    return write


def test_an_axis_or_setting_that_a_users_step_overwrites(write: Callable[[str, str], None], tmp_path: Path) -> None:
    write(
        "roadmap/mine", "step: {name: mine, index: null, label: mine}\nmodel: {norm: layernorm}\nrecipe: {lr: 0.1}"
    )
    write("setting/slow", "recipe: {lr: 0.2, epochs: 3}")
    with use(SearchPath((str(tmp_path),))):
        with pytest.raises(ConfigError, match=r"mine writes 1 of the 1 values .* as in model.norm=batchnorm"):
            compose("+roadmap=mine", "model/norm=batchnorm")
        with pytest.raises(
            ConfigError,
            match=r"setting=slow: mine writes recipe.lr=0.1 itself, so recipe.lr=0.2 .*itself: recipe.epochs=3",
        ):
            compose("+roadmap=mine", "setting=slow")
