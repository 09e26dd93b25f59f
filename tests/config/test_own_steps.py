"""A step of the user's own after the last one, in no folder of a roadmap, continues the default roadmap."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from roadmap.config import plan_runs, read_sweep
from roadmap.config.roadmap_files import find_roadmap, load_roadmap
from roadmap.config.search_path import SearchPath, use
from roadmap.config.sweep_networks import leave_one_out
from roadmap.errors import ConfigError


@pytest.fixture
def write_step(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Write the step `step13_mine`, based on a step, into a folder of the user's own, and search there."""

    def write(base: str) -> None:
        (tmp_path / "roadmap").mkdir()
        (tmp_path / "roadmap/step13_mine.yaml").write_text(
            f"# @package _global_\ndefaults: [{base}, override /model/response_norm: grn, _self_]\n"
            "step: {name: step13_mine, index: 13, label: mine}\n"
        )

    with use(SearchPath((str(tmp_path),))):
        yield write


def test_a_step_of_the_users_own_after_the_last_is_a_roadmap_for_sweeps_and_effects(
    write_step: Callable[[str], None],
) -> None:
    write_step("step12_downsample")
    roadmap = load_roadmap("step13_mine")
    assert roadmap.steps == (*load_roadmap().steps, "step13_mine")
    assert roadmap.choices[-1].axis == "response_norm"
    sweep = read_sweep(["+sweep=leave_one_out", "sweep.roadmap=step13_mine", "sweep.choices=[norm]"], True)
    assert sweep is not None
    assert sweep.overrides(sweep.spec.names()) == ["+roadmap=step13_mine,'step13_mine,norm=batchnorm'"]
    last, own = "step12_downsample", "step13_mine"
    for names, found in (
        ([last, own], own),
        ([last, own, f"{own},norm=batchnorm", f"{last},norm=batchnorm"], own),
        ([last, own, f"{last},norm=batchnorm"], "convnext"),  # whose leave-one-out it is
        ([last], "convnext"),
    ):
        assert find_roadmap(names).name == found


def test_of_own_steps_after_each_other_the_roadmap_is_that_of_the_sweep(
    tmp_path: Path, write_step: Callable[[str], None]
) -> None:
    write_step("step12_downsample")
    for name, axis in (("step14_next", "shortcut: avgpool"), ("step14_other", "stride_conv: first")):
        (tmp_path / f"roadmap/{name}.yaml").write_text(
            f"# @package _global_\ndefaults: [step13_mine, override /model/{axis}, _self_]\n"
            f"step: {{name: {name}, index: 14, label: next}}\n"
        )
    mine, following, other = "step13_mine", "step14_next", "step14_other"
    roadmap = load_roadmap(following)
    sweep = [roadmap.name_of(roadmap.design_of(network)) for network in leave_one_out(roadmap)]
    assert mine in sweep  # the next step's choice reverted
    for names, found in (
        (sweep, following),
        ([mine, f"{mine},norm=batchnorm", following], mine),  # whose leave-one-out it is
        ([mine, f"{mine},norm=batchnorm", following, f"{following},norm=batchnorm"], following),
        ([mine, following], following),
        ([following, f"{other},norm=batchnorm", mine], other),
        (
            [f"{following},norm=batchnorm", *(f"{other},{axis}" for axis in ("norm=batchnorm", "stem=resnet"))],
            other,
        ),
    ):
        assert find_roadmap(names).name == found


def test_a_step_that_does_not_continue_the_roadmap_is_no_roadmap(write_step: Callable[[str], None]) -> None:
    write_step("step11_layernorm")
    with pytest.raises(
        ConfigError, match="does not continue the roadmap convnext: begin its defaults with step12_"
    ):
        load_roadmap("step13_mine")
    assert find_roadmap(["step13_mine"]).name == "convnext"


@pytest.mark.parametrize(("index", "is_right"), [("12", False), ("13", True), ("14", False), ("null", True)])
def test_the_index_of_an_own_step_follows_its_base(
    write_step: Callable[[str], None], tmp_path: Path, index: str, is_right: bool
) -> None:
    """A change is measured against the step one index lower, so that has to be the base."""
    write_step("step12_downsample")
    file = tmp_path / "roadmap/step13_mine.yaml"
    file.write_text(file.read_text().replace("index: 13", f"index: {index}"))
    expected = rf"step\.index={index}, and step12_downsample, .* has 12: .* write index: 13, or index: null"
    with nullcontext() if is_right else pytest.raises(ConfigError, match=expected):
        plan_runs(["+roadmap=step13_mine"], is_sweep=False)
