"""Each experiment is read with the roadmap and the modules that its own runs recorded."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from trial_rows import Write

import roadmap
from roadmap.analysis.own_configs import find_search_path
from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.results import aggregate, step_before
from roadmap.analysis.run_table import write_run_table
from roadmap.config.roadmap_files import list_roadmaps
from roadmap.config.search_path import SearchPath, current, use

CHOICES = {"norms": ("norm", "layernorm"), "kernels": ("kernel_size", "9")}  # of each experiment's roadmap


@pytest.fixture(autouse=True)
def _default_search_path() -> Iterator[None]:
    with use(SearchPath()):
        yield


@pytest.fixture
def write_experiment(tmp_path: Path, write_run: Write) -> Callable[[str], Path]:
    """Write two runs of a roadmap `mine` in a folder of its own; those of each experiment make another choice."""

    def write(experiment: str) -> Path:
        folder = tmp_path / f"configs of {experiment}"
        place = folder / "roadmap/mine"
        place.mkdir(parents=True)
        steps = ["start", "end"]
        (place / "roadmap.toml").write_text(f'title = "Mine"\n[[sections]]\nlabel = "All"\nsteps = {steps}\n')
        axis, choice = CHOICES[experiment]
        for index, defaults in enumerate(
            ["_self_", f"/roadmap/mine/start, override /model/{axis}: '{choice}', _self_"]
        ):
            step = f"step: {{name: {steps[index]}, index: {index}, label: {steps[index]}, roadmap: mine}}"
            text = f"# @package _global_\ndefaults: [{defaults}]\n{step}\n"
            (place / f"{steps[index]}.yaml").write_text(text)
            for seed in (0, 1):
                run = write_run(
                    steps[index], seed, 70 + index + 0.1 * seed, experiment=experiment, step_index=index
                )
                words = [f"--config-dir={folder}", f"+roadmap=mine/{steps[index]}", f"seed={seed}"]
                (run / "overrides.yaml").write_text(yaml.safe_dump(words))
        return folder

    return write


@pytest.mark.parametrize("order", [("norms", "kernels"), ("kernels", "norms")])
def test_each_experiment_has_the_effects_of_its_own_roadmap(
    tmp_path: Path, write_experiment: Callable[[str], Path], order: tuple[str, str]
) -> None:
    for experiment in CHOICES:
        write_experiment(experiment)
    frames = {experiment: roadmap.load_results(experiment, tmp_path) for experiment in order}
    for experiment in order:
        assert set(roadmap.effects(frames[experiment]).axis) == {CHOICES[experiment][0]}
    both = roadmap.effects(pd.concat(frames.values()))
    assert both.groupby("experiment").axis.first().to_dict() == {"norms": "norm", "kernels": "kernel_size"}
    assert current() == SearchPath()
    assert "mine" not in list_roadmaps()


def test_a_search_path_in_use_comes_before_that_of_the_runs(
    tmp_path: Path, write_experiment: Callable[[str], Path]
) -> None:
    write_experiment("norms")
    other = SearchPath((str(write_experiment("kernels")),))
    runs = read_runs(tmp_path / "norms")
    assert aggregate(runs)[0].roadmap.axes == ("norm",)
    with use(other):
        assert aggregate(runs)[0].roadmap.axes == ("kernel_size",)


@pytest.mark.parametrize("name", ["mine", "other"])
def test_of_two_roadmaps_with_the_same_steps_it_is_the_recorded_one(
    tmp_path: Path, write_experiment: Callable[[str], Path], name: str
) -> None:
    mine = write_experiment("norms") / "roadmap/mine"
    mine.with_name("other").mkdir()
    for file in mine.iterdir():
        (mine.with_name("other") / file.name).write_text(file.read_text().replace("mine", "other"))
    for path in (tmp_path / "norms").glob("*/seed*/s*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"roadmap": name}))
    runs = read_runs(tmp_path / "norms")
    assert {row.roadmap.name for row in aggregate(runs)} == {name}
    write_run_table(runs, tmp_path / "runs.csv")
    assert {run.roadmap for run in read_runs(tmp_path)} == {name}


def test_a_folder_that_is_gone_is_named_and_the_steps_keep_their_names(
    tmp_path: Path, write_experiment: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_experiment("norms")
    folder.rename(tmp_path / "elsewhere")
    assert {row.step for row in aggregate(read_runs(tmp_path / "norms"))} == {"start", "end"}
    (record,) = caplog.records
    assert f"--config-dir {folder}: there is no such folder" in record.message
    assert "steps and axes of your own are shown by their names alone" in record.message


def test_folders_of_all_runs_are_searched(tmp_path: Path, write_experiment: Callable[[str], Path]) -> None:
    folder = write_experiment("norms")
    other = tmp_path / "other"
    other.mkdir()
    words = [f"hydra.searchpath=[file://{other}]", "+roadmap=step0_resnet"]
    (tmp_path / "norms/start/seed1/overrides.yaml").write_text(yaml.safe_dump(words))
    found = find_search_path(read_runs(tmp_path / "norms"))
    assert set(found.folders) == {str(folder), str(other)}


def test_the_levels_of_a_registered_axis_are_those_of_the_roadmaps_folders(
    tmp_path: Path, write_experiment: Callable[[str], Path]
) -> None:
    folder = write_experiment("norms")
    (folder / "model/norm").mkdir(parents=True)
    (folder / "model/norm/mine.yaml").write_text("norm: layernorm\n")
    row, *_ = aggregate(read_runs(tmp_path / "norms"))
    assert row.roadmap.levels_of("norm") == ["batchnorm", "layernorm", "mine"]


def test_a_step_beside_the_roadmap_is_compared_with_the_step_that_it_is_based_on(
    tmp_path: Path, write_run: Write
) -> None:
    """And with no other of its index; without the file, no step is guessed among several."""
    (tmp_path / "own/roadmap").mkdir(parents=True)
    for name, base, index in (("step8_silu", "step7_kernel", 8), ("step9_silu_fewer", "step8_silu", 9)):
        text = f"defaults: [{base}, _self_]\nstep: {{name: {name}, index: {index}, label: silu}}\n"
        (tmp_path / f"own/roadmap/{name}.yaml").write_text(text)
    steps = {"step7_kernel": 70, "step8_gelu": 75, "step8_silu": 72, "step9_fewer_acts": 76, "step9_silu_fewer": 73}
    for step, top1 in steps.items():
        run = write_run(step, top1=float(top1))
        (run / "overrides.yaml").write_text(yaml.safe_dump([f"--config-dir={tmp_path}/own", f"+roadmap={step}"]))

    def changes(folder: Path, *missing: str) -> dict[str, str | None]:
        rows = aggregate(run for run in read_runs(folder) if run.step not in missing)
        found = {row.step: step_before(row, rows) for row in rows if row.seeds}
        return {step: before and before.step for step, before in found.items() if "silu" in step or "acts" in step}

    paper = {"step9_fewer_acts": "step8_gelu"}
    with_files = {"step8_silu": "step7_kernel", "step9_silu_fewer": "step8_silu"}
    assert changes(tmp_path / "trial") == paper | with_files
    assert changes(tmp_path / "trial", "step8_silu") == paper | {"step9_silu_fewer": None}
    write_run_table(read_runs(tmp_path / "trial"), tmp_path / "runs.csv")
    assert changes(tmp_path) == paper | with_files | {"step9_silu_fewer": None}
    assert changes(tmp_path, "step8_silu") == paper | {"step9_silu_fewer": "step8_gelu"}


def test_published_runs_of_a_module_say_where_it_has_to_be(
    tmp_path: Path, write_run: Write, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run()
    runs = [
        replace(run, overrides="'modules=[squeeze_of_a_study]' seed=0") for run in read_runs(tmp_path / "trial")
    ]
    write_run_table(runs, tmp_path / "runs.csv")
    aggregate(read_runs(tmp_path))
    (record,) = caplog.records
    assert "squeeze_of_a_study can't be imported" in record.message
    assert "The published runs need it: name its folder by PYTHONPATH=FOLDER" in record.message
    (tmp_path / "squeeze_of_a_study.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_search_path(read_runs(tmp_path)).modules == ("squeeze_of_a_study",)
    assert len(caplog.records) == 1
