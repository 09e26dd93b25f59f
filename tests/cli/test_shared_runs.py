"""A sweep by name: what it trains, which runs it shares with other commands, and what it prints before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadmap.cli.keep_run_names import expand
from roadmap.cli.run_folders import open_run_dir
from roadmap.config import plan_runs, read_sweep

RESULTS = {"top1": 50.0, "best_top1": 50.0, "gmacs": 0.1, "parameters": 1000}  # of a finished run

Train = Callable[..., Any]  # see conftest.py
SWEEP = ("-m", "+sweep=leave_one_out", "sweep.choices=downsample")


@pytest.mark.system  # two commands that compose thirteen networks
@pytest.mark.usefixtures("trained")
def test_a_sweep_shares_its_runs_and_says_so(train: Train, tmp_path: Path) -> None:
    # Trains step 11's network under another name.
    assert train("+roadmap=step12_downsample", "model/downsample=block").status == 0
    first = train(*SWEEP)
    assert (first.status, first.err) == (0, "")
    lines = first.out.splitlines()
    assert lines[0].startswith("+sweep=leave_one_out: step12_downsample, and ")
    assert lines[0].endswith(": 2 distinct networks")
    assert lines[1] == "2 runs: 1 done already, 1 to train"
    typed = [*SWEEP, f"output_dir={tmp_path}"]
    assert lines[2] == f"  hours: python scripts/plan_roadmap.py {' '.join(typed)}"
    assert lines[3] == f"  effects: python scripts/attribute.py {tmp_path}/micro-digits"
    names = {path.parts[-3] for path in tmp_path.glob("*/*/seed0/summary.json")}
    assert names == {"step12_downsample", "step12_downsample,downsample=block"}

    again = train(*SWEEP)
    assert again.status == 0
    assert "2 runs: 2 done already, 0 to train" in again.out
    assert "hours: " not in again.out
    assert {path.parts[-2] for path in tmp_path.glob("*/*/seed0")} == names


def named(tmp_path: Path, *overrides: str) -> str:
    """Return the override that the sweep expands to."""
    sweep = read_sweep([*overrides, f"output_dir={tmp_path}"], is_sweep=True)
    assert sweep is not None
    return expand(sweep)[0]


def mark(tmp_path: Path, name: str, seed: int, *more: str, finished: bool) -> None:
    """Begin a run of a quoted network, or finish it."""
    words = [f"+roadmap={name}", f"seed={seed}", f"output_dir={tmp_path}", *more]
    folder = open_run_dir(plan_runs(words, is_sweep=False)[0])
    folder.claim()
    if finished:
        folder.finish(RESULTS)
    folder.close()


def test_a_network_keeps_the_name_under_which_most_is_done(tmp_path: Path) -> None:
    overrides = ("+sweep=leave_one_out", "sweep.choices=downsample")
    other, own = "step12_downsample,downsample=block", "step11_layernorm"

    by_own, by_other = f"+roadmap=step12_downsample,{own}", f"+roadmap=step12_downsample,'{other}'"
    mark(tmp_path, f"'{own}'", 0, finished=False)
    mark(tmp_path, f"'{other}'", 0, "recipe.epochs=3", finished=True)  # another configuration
    assert named(tmp_path, *overrides) == by_own
    mark(tmp_path, f"'{other}'", 1, finished=True)
    assert named(tmp_path, *overrides) == by_own  # seed 1 was not requested
    assert named(tmp_path, *overrides, "seed=0,1") == by_other
    assert named(tmp_path, *overrides, "seed=0,1", "experiment=new") == by_own
    assert named(tmp_path, *overrides, "seed=0,1", "model.drop_path=0.1") == by_own
    mark(tmp_path, f"'{own}'", 2, finished=True)
    assert named(tmp_path, *overrides, "seed=1,2") == by_own
    steps = named(tmp_path, "+sweep=roadmap", "seed=1").split(",")
    assert own in steps  # the figure shows the steps by their names


def test_a_network_is_found_whose_name_has_its_choices_in_another_order(tmp_path: Path) -> None:
    """The sweep takes the roadmap's order, stride_conv before stem, and the name of a run the model's."""
    overrides = ("+sweep=factorial", "sweep.roadmap=bag_of_tricks", "sweep.axes=[stride_conv,stem]")
    own = "'bag_of_tricks/step6_mixup,stride_conv=first,stem=resnet'"
    other = "'bag_of_tricks/step5_label_smoothing,stem=resnet,stride_conv=first,recipe.mixup=0.2'"
    assert own in named(tmp_path, *overrides)
    mark(tmp_path, other, 0, finished=True)
    assert other in named(tmp_path, *overrides)
    mark(tmp_path, own, 0, finished=True)
    assert own in named(tmp_path, *overrides)
