"""The words that a run records plan the same run again."""

from dataclasses import replace
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from roadmap.config import SearchPath, plan_runs, read_search_path
from roadmap.config.command_words import find_words
from roadmap.config.search_path import PRIMARY

CHECKPOINT = "init_from=outputs/trial/step7_kernel,kernel_size=9,norm=layernorm/seed0/checkpoint.pt"


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        (["+roadmap=step7_kernel", "model/kernel_size=9,11", "hydra/launcher=joblib"], ["+roadmap=step7_kernel"]),
        (
            ["+roadmap=step0_resnet,'step12_downsample,norm=batchnorm'", "seed=3"],
            ["+roadmap=step0_resnet", "seed=3"],
        ),
        (["+reference=resnet34,swin_tiny", "model.drop_path=0.2"], ["+reference=resnet34", "model.drop_path=0.2"]),
        (["experiment=a-${hydra:job.num}", CHECKPOINT, "seed=0,1"], ["experiment=a-0", CHECKPOINT, "seed=0"]),
        (["data.note='a, b'", "data.cache='${seed}$x'"], ["data.note='a, b'", "data.cache='0$x'"]),
        (
            ["recipe.augment.scale=[0.5,1.0]", "recipe.lr=1e-3"],
            ["recipe.augment.scale=[0.5,1.0]", "recipe.lr=0.001"],
        ),
    ],
)
def test_a_run_records_words_that_plan_it_again(typed: list[str], recorded: list[str]) -> None:
    runs = plan_runs(typed, is_sweep=True)
    assert [word for word in runs[0].overrides or () if not word.startswith("model/")] == recorded
    for run in {run.name: run for run in runs}.values():
        assert run.overrides is not None
        assert plan_runs(run.overrides, is_sweep=False) == [run]


def test_a_variant_of_a_sweep_is_one_word() -> None:
    (run,) = plan_runs(["+roadmap='step12_downsample,norm=batchnorm'", "model/kernel_size=9"], is_sweep=True)
    assert run.overrides == ("+roadmap='step12_downsample,norm=batchnorm'", "model/kernel_size=9")


@pytest.mark.parametrize(
    ("folders", "name"),
    [
        ((), PRIMARY),
        (("a",), PRIMARY),
        (("a",), "mine"),
        (("a", "b c", "pkg://roadmap"), "mine"),
        (("pkg://roadmap",), PRIMARY),
    ],
)
def test_the_folders_of_own_configs_are_recorded_as_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: tuple[str, ...], name: str
) -> None:
    for folder in ("a", "b c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").touch()
    places = tuple(folder if "://" in folder else str(tmp_path / folder) for folder in folders)
    (run,) = plan_runs([], is_sweep=False)
    words = find_words(["seed=3"], run.config, SearchPath(places, name))
    monkeypatch.chdir("/")  # paths are absolute
    arguments = get_args_parser().parse_args(words)
    again = read_search_path(arguments.overrides, arguments.config_dir, arguments.config_name)
    assert again == SearchPath(places, name)
    assert words[-1] == "seed=3"


def test_planned_values_keep_their_words() -> None:
    (run,) = plan_runs(["seed=3"], is_sweep=False)
    assert type(run).of_values(run.values()) == run
    unknown = replace(run, overrides=None)
    assert type(run).of_values(unknown.values()) == unknown
