"""The commands of an experiment are the fewest that train exactly its runs."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from trial_rows import RUN

from roadmap.analysis.report.commands import training_commands
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.search_path import quote
from roadmap.config.sweep_networks import leave_one_out
from roadmap.runs.read_run import Run

CONVNEXT = load_roadmap()


def run(seed: int, words: Sequence[str] | None, step: str = "step6_move_up") -> Run:
    overrides = None if words is None else shlex.join(words)
    return replace(RUN, step=step, step_index=None, seed=seed, overrides=overrides)


def commands(*runs: tuple[Sequence[str], Sequence[int]]) -> list[str]:
    """Return the commands of runs by words and seeds."""
    found, note = training_commands(
        (run(seed, [*words, f"seed={seed}"]) for words, seeds in runs for seed in seeds), CONVNEXT
    )
    assert note == ""
    return found


def test_steps_and_values_of_a_design_share_a_command() -> None:
    assert commands(
        (["+roadmap=step6", "data=digits"], (0, 1)),
        (["+roadmap=step7", "data=digits"], (0, 1)),
        (["+roadmap=step7", "model/kernel_size=9", "data=digits"], (0, 1)),
        (["+roadmap=step7", "model/kernel_size=11", "data=digits"], (0, 1)),
        (["+roadmap=step7", "model/norm=layernorm", "data=digits"], (0, 1)),
        (["+roadmap='step7,norm=layernorm'", "data=digits"], (0, 1)),
    ) == [
        """python train.py -m "+roadmap=step6,step7,'step7,norm=layernorm'" data=digits seed=0,1""",
        "python train.py -m +roadmap=step7 model/kernel_size=9,11 data=digits seed=0,1",
        "python train.py -m +roadmap=step7 model/norm=layernorm data=digits seed=0,1",
    ]


def test_what_differs_in_seeds_or_settings_has_a_command_of_its_own() -> None:
    assert commands(
        (["+roadmap=step6", "recipe.lr=0.1"], (0,)),
        (["+roadmap=step6", "recipe.lr=0.2"], (0,)),
        (["+roadmap=step7", "recipe.augment.scale=[0.5,1]"], (0,)),
        (["--config-dir=/own configs", "+roadmap=step8", "recipe.lr=0.2"], (1, 0)),
    ) == [
        "python train.py +roadmap=step6 recipe.lr=0.1 seed=0",
        "python train.py +roadmap=step6 recipe.lr=0.2 seed=0",
        "python train.py +roadmap=step7 'recipe.augment.scale=[0.5,1]' seed=0",
        "python train.py -m '--config-dir=/own configs' +roadmap=step8 recipe.lr=0.2 seed=1,0",
    ]


def test_a_run_without_a_recorded_command_is_counted_and_gets_none() -> None:
    assert training_commands([run(0, ["+roadmap=step6"]), run(1, None)], CONVNEXT) == (
        ["python train.py +roadmap=step6 seed=0"],
        "1 of 2 runs recorded no command: an earlier version trained them.",
    )


def test_a_step_whose_file_is_gone_is_named() -> None:
    (command,), note = training_commands([run(0, ["+roadmap=step13_own"], "step13_own")], CONVNEXT)
    assert command == "python train.py +roadmap=step13_own seed=0"
    assert note.startswith("No file of step13_own is in conf/roadmap")


def test_a_step_of_an_own_folder_or_package_is_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a recorded path, or of a package; a package that cannot be imported here has no file."""
    step = tmp_path / "lab_steps/conf/roadmap/lab/step13_own.yaml"
    step.parent.mkdir(parents=True)
    step.touch()
    monkeypatch.syspath_prepend(tmp_path)
    recorded = run(0, ["+roadmap=lab/step13_own"], "step13_own")
    for folder in ("pkg://lab_steps.conf", str(tmp_path / "lab_steps/conf")):
        assert training_commands([replace(recorded, config_folders=(folder,))], CONVNEXT)[1] == ""
    _, note = training_commands([replace(recorded, config_folders=("pkg://no_lab_steps.conf",))], CONVNEXT)
    assert note.startswith("No file of step13_own is in conf/roadmap")


def test_a_sweep_that_ran_whole_is_one_command() -> None:
    """Its first and last step have more seeds, from another command."""
    names = [quote(CONVNEXT.name_of(CONVNEXT.design_of(network))) for network in leave_one_out(CONVNEXT)]
    seeds = {name: (0, 1) if "," in name else (0, 1, 2) for name in names}

    def train(names: Sequence[str]) -> list[str]:
        return commands(*(([f"+roadmap={name}", "data=digits"], seeds[name]) for name in names))

    assert train(names) == [
        "python train.py -m +roadmap=step12_downsample,step11_layernorm data=digits seed=0,1,2",
        "python train.py -m +sweep=leave_one_out data=digits seed=0,1",
    ]
    for gone in ("'step12_downsample,stem=resnet'", "step11_layernorm"):
        some = train([name for name in names if name != gone])
        assert not any("+sweep" in command for command in some)
        assert len(some) == 2


def test_a_grid_is_not_made_of_runs_that_do_not_fill_it() -> None:
    """Three of four combinations: a merged command would train the fourth."""
    assert commands(
        (["+roadmap=step6", "model/kernel_size=3"], (0,)),
        (["+roadmap=step6", "model/kernel_size=5"], (0,)),
        (["+roadmap=step7", "model/kernel_size=3"], (0,)),
    ) == [
        "python train.py -m +roadmap=step6,step7 model/kernel_size=3 seed=0",
        "python train.py +roadmap=step6 model/kernel_size=5 seed=0",
    ]
