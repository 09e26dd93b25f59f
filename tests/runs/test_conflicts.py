"""Neighbouring runs that would be mixed up: in one folder, or in one table."""

from collections.abc import Callable

import pytest

from roadmap.errors import RunError
from roadmap.runs.conflicts import check_folders, describe_other_settings, find_runs
from roadmap.runs.run_dir import RunDir

OpenRun = Callable[..., RunDir]  # see conftest.py


def test_two_runs_with_one_folder_are_an_error_before_training(open_run: OpenRun) -> None:
    one, other = open_run("recipe.lr=1e-3"), open_run("recipe.lr=2e-3")
    with pytest.raises(
        RunError, match=r"two runs .* recipe\.lr: 0\.001 -> 0\.002\. experiment=micro-digits-"
    ) as caught:
        check_folders([one, other])
    assert str(one.path) in str(caught.value)
    assert str(caught.value).count("${recipe.lr}") == 1
    check_folders([one, one, open_run("recipe.lr=2e-3", "seed=1")])


@pytest.mark.parametrize("word", ["hardware.precision=bf16", "hardware.per_device_batch=8", "model.form=conv"])
def test_swept_value_that_defines_no_result_is_an_error_before_training(open_run: OpenRun, word: str) -> None:
    key = word.partition("=")[0]
    with pytest.raises(RunError, match=rf"two runs .* {key}: .*\. experiment=micro-digits-'\${{{key}}}'"):
        check_folders([open_run(), open_run(word)])


def test_runs_with_other_settings_are_named_once(open_run: OpenRun) -> None:
    for seed in range(2):
        there = open_run("model/norm=layernorm", f"seed={seed}")
        there.claim()
        there.close()
    alike = open_run("model/kernel_size=9", "seed=7")  # only network and seed differ
    assert describe_other_settings([alike]) == []
    other = open_run("model/kernel_size=9", "recipe.epochs=5", "recipe.lr=1e-3")
    (text,) = describe_other_settings([other, alike])
    assert "holds runs with other settings, such as step0_resnet,norm=layernorm (recipe.epochs: 12 -> 5; " in text
    assert "recipe.lr: 0.004 -> 0.001)" in text
    assert describe_other_settings([open_run("recipe=original")]) == []  # distinguished by name


def test_damaged_configuration_does_not_affect_other_runs(open_run: OpenRun) -> None:
    there = open_run("model/norm=layernorm", "recipe.epochs=5")
    there.claim()
    (there.path / "config.yaml").write_text("{a: [")
    (text,) = describe_other_settings([open_run()])
    assert "(its config.yaml is damaged)" in text


def test_pending_run_does_not_conflict(open_run: OpenRun) -> None:
    open_run("model/norm=layernorm").plan()
    assert describe_other_settings([open_run("recipe.lr=1e-3")]) == []


def test_copied_run_folder_is_ignored(open_run: OpenRun) -> None:
    there = open_run("recipe.epochs=5")
    there.claim()
    there.close()
    there.path.rename(there.path.with_name("seed0.bak"))
    assert describe_other_settings([open_run()]) == []
    assert list(find_runs(there.path.parents[1])) == []
