"""The runs of a command line: their number, their order, and what makes each of them a variant of its step."""

import sys

import pytest

from roadmap.config import compose, plan_runs, prepare_overrides
from roadmap.config.roadmap_files import load_roadmap
from roadmap.errors import ConfigError

STEPS = load_roadmap().steps


@pytest.mark.system  # composes 39 runs: 3 s
def test_the_whole_roadmap_on_three_seeds_is_39_runs() -> None:
    planned_with_own_steps = plan_runs(["+roadmap=glob(step*)", "seed=0,1,2"], is_sweep=True)
    plan = [planned for planned in planned_with_own_steps if planned.config.step.name in STEPS]
    assert len(plan) == 39
    assert [planned.config.seed for planned in plan] == [0, 1, 2] * 13
    assert sorted(planned.config.step.index for planned in plan[::3]) == list(range(13))
    assert all(planned.variant == {} for planned in plan)
    for first, second, third in zip(plan[::3], plan[1::3], plan[2::3], strict=True):
        assert first.config.step == second.config.step == third.config.step


def test_seeds_and_plain_values_add_no_composition(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_runs(["+roadmap=step1_stage_ratio,step2_patchify"], is_sweep=True)
    monkeypatch.setattr(sys.modules[compose.__module__], "hydra_compose", None)
    words = ["seed=range(50)", "+roadmap=step1_stage_ratio,step2_patchify", "recipe.lr=0.25"]
    plan = plan_runs(words, is_sweep=True)
    assert [planned.config.seed for planned in plan[::2]] == list(range(50))
    assert {planned.config.recipe.lr for planned in plan} == {0.25}


def test_many_runs_are_counted_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_runs(["+roadmap=glob(step*)"], is_sweep=True)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich assume a terminal
    plan_runs(["+roadmap=glob(step*)"], is_sweep=True)
    written = capsys.readouterr()
    assert "checking each run" in written.err
    assert written.out == ""
    plan_runs(["+roadmap=step7_kernel", "model/kernel_size=3,5,7,9,11"], is_sweep=True)
    assert capsys.readouterr() == ("", "")


def test_the_last_of_several_values_counts() -> None:
    (planned,) = plan_runs(["seed=1", "seed=5"], is_sweep=False)
    assert planned.config.seed == 5


def test_a_single_run_is_a_sweep_of_one() -> None:
    overrides = ["+roadmap=step0_resnet", "hydra.verbose=true"]
    assert plan_runs(overrides, is_sweep=True) == plan_runs(overrides, is_sweep=False)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+roadmap=step0_resnet,step1_stage_ratoi"], "roadmap=step1_stage_ratoi: there is no such choice."),
        (["model/kernel_size=3,5,8"], "model/kernel_size=8: there is no such choice. Allowed: 3, 5, 7, 9, 11"),
        (["recipe.lr=0.1,-0.1"], "recipe.lr=-0.1: must be at least 0"),
        (["recipe.total_batch=64,66", "hardware.per_device_batch=64"], "recipe.total_batch=66 "),
        (["+roadmap=glob(stpe*)"], "+roadmap=glob(stpe*) is a sweep of no run"),
    ],
)
def test_a_mistake_in_the_last_run_is_found_before_the_first(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_runs(overrides, is_sweep=True)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "variant"),
    [
        ("+roadmap=step7_kernel", {}),
        ("+roadmap=step7_kernel model/kernel_size=7", {}),
        ("+roadmap=step7_kernel model/kernel_size=9", {"kernel_size": "9"}),
        ("+roadmap=step7_kernel model.kernel_size=13", {"kernel_size": "13"}),
        ("model/kernel_size=9", {"kernel_size": "9"}),
        (
            "+roadmap=step12_downsample model/norm=batchnorm model/activation=relu",
            {"activation": "relu", "norm": "batchnorm"},
        ),
        ("+roadmap=step5_inverted setting=paper regime=resnet200", {}),
        ("+roadmap=step5_inverted recipe=paper recipe.drop_path=0.3 recipe.layer_scale_init=0.1", {}),
        ("+roadmap=step5_inverted data=cifar100 data.image_size=64 seed=4 hardware.device=cpu", {}),
        ("+roadmap=step5_inverted model.form=linear", {}),
        ("+roadmap=original setting=paper recipe=short", {}),
        ("+reference=resnet34 model/kernel_size=9", {}),
    ],
)
def test_a_variant_is_what_the_design_differs_in(overrides: str, variant: dict[str, str]) -> None:
    (planned,) = plan_runs(overrides.split(), is_sweep=False)
    assert planned.variant == variant


@pytest.mark.parametrize("step", ["step5_inverted", "bag_of_tricks/step3_resnet_d"])
@pytest.mark.parametrize("is_last", [True, False])
def test_a_reference_beside_a_step_is_refused_in_either_order(step: str, is_last: bool) -> None:
    words = [f"+roadmap={step}", "+reference=resnet34"][:: 1 if is_last else -1]
    message = rf"{step} is a step of the roadmap, resnet34 a network beside it: choose one of them, by \+roadmap or"
    with pytest.raises(ConfigError, match=message):
        plan_runs(words, is_sweep=False)
    with pytest.raises(ConfigError, match=message):
        compose(*words)


def test_a_reference_never_takes_the_name_of_a_step() -> None:
    with pytest.raises(ConfigError, match=r"choose one of them, by \+roadmap or by \+reference"):
        plan_runs(["+reference=resnet34", "step.name=step5_inverted"], is_sweep=False)


def test_a_glob_is_over_steps_alone_whatever_was_composed_before() -> None:
    plan_runs(prepare_overrides(["+roadmap='step12_downsample,norm=batchnorm'"]), is_sweep=True)
    runs = plan_runs(["+roadmap=glob(step12*)"], is_sweep=True)
    assert [run.name for run in runs] == ["step12_downsample"]
