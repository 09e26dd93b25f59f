"""Neighbouring runs that would be mixed up: in one folder, or in one table."""

import shlex
from collections.abc import Callable

import pytest

from roadmap.cli.run_folders import check_folders, open_run_dir
from roadmap.config import plan_runs
from roadmap.errors import RunError
from roadmap.runs.conflicts import describe_other_settings, find_runs
from roadmap.runs.run_dir import RunDir

OpenRun = Callable[..., RunDir]  # see conftest.py


def test_two_runs_with_one_folder_are_an_error_before_training(open_run: OpenRun) -> None:
    one, other = open_run("recipe.lr=1e-3"), open_run("recipe.lr=2e-3")
    with pytest.raises(
        RunError, match=r"two runs .* recipe\.lr: 0\.001 -> 0\.002\. 'experiment=micro-digits-"
    ) as caught:
        check_folders([one, other])
    assert str(one.path) in str(caught.value)
    assert str(caught.value).count("${recipe.lr}") == 1
    check_folders([one, one, open_run("recipe.lr=2e-3", "seed=1")])


@pytest.mark.parametrize("word", ["hardware.precision=bf16", "hardware.per_device_batch=8", "model.form=conv"])
def test_swept_value_that_defines_no_result_is_an_error_before_training(open_run: OpenRun, word: str) -> None:
    key = word.partition("=")[0]
    with pytest.raises(RunError, match=rf"two runs .* {key}: .*\. 'experiment=micro-digits-\${{{key}}}'"):
        check_folders([open_run(), open_run(word)])


@pytest.mark.parametrize(
    ("command", "experiments"),
    [
        ("experiment=t recipe=short,paper,cifar10", ["t-short", "t-paper", "t-cifar10"]),
        ("experiment=t regime=micro,nano,pico", ["t-micro", "t-nano", "t-pico"]),
        ("experiment=t data=cifar10,cifar100", ["t-cifar10", "t-cifar100"]),
        ("experiment=t recipe.drop_path=0.1,0.2", ["t-0.1", "t-0.2"]),
        ("experiment=t recipe.lr=0.1,0.2 seed=0,1", ["t-0.1", "t-0.1", "t-0.2", "t-0.2"]),
        ("regime=micro,nano recipe.lr=0.1,0.2", ["micro-0.1", "micro-0.2", "nano-0.1", "nano-0.2"]),
        (
            "experiment='my set' recipe.lr=0.1,0.2 recipe.epochs=3,4",
            ["my set-3-0.1", "my set-4-0.1", "my set-3-0.2", "my set-4-0.2"],
        ),
        ("experiment=\"'a (1)'\" recipe.lr=0.1,0.2", ["a (1)-0.1", "a (1)-0.2"]),
    ],
)
def test_the_named_experiment_gives_each_run_a_folder(command: str, experiments: list[str]) -> None:
    """As printed, behind the same command. If the runs have several experiments, the keys alone are the name."""
    words = ["+roadmap=step0_resnet", *shlex.split(command)]
    with pytest.raises(RunError) as caught:
        check_folders(open_all(words))
    _, _, advice = str(caught.value).rpartition(". ")
    word, *rest = shlex.split(advice)
    assert rest == ["gives", "each", "value", "its", "own", "experiment"]
    folders = open_all([*words, word])
    check_folders(folders)
    assert [folder.identity.experiment for folder in folders] == experiments
    assert len({folder.path for folder in folders}) == len(folders)


@pytest.mark.parametrize(
    "command",
    [
        "data.root=/a/images,/b/images",
        "init_from=a/checkpoint.pt,b/checkpoint.pt",
        "recipe.lr=1,2 recipe.epochs=3,4 recipe.beta2=0.9,0.99",
    ],
)
def test_values_that_are_no_names_need_separate_commands(command: str) -> None:
    with pytest.raises(RunError, match=r"\. Train each in a command of its own, with another experiment=NAME$"):
        check_folders(open_all(["+roadmap=step0_resnet", *command.split()]))


def open_all(words: list[str]) -> list[RunDir]:
    return [open_run_dir(planned) for planned in plan_runs(words, is_sweep=True)]


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
