"""attribute.py reports the effects of choices, from the runs of an experiment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.sweep_networks import factorial, group_networks

CONVNEXT = load_roadmap()

Call = Callable[..., Any]  # runs a command; see conftest.py
Write = Callable[..., Path]  # writes a run folder; see conftest.py


def test_the_effects_are_printed(tmp_path: Path, call: Call, write_run: Write) -> None:
    folder = tmp_path / "trial"
    for seed in range(2):
        write_run(folder, "step11_layernorm", seed=seed, top1=90.0 + seed)
        write_run(folder, "step12_downsample", seed=seed, top1=91.0 + seed)
        write_run(folder, "step12_downsample", "model/norm=batchnorm", seed=seed, top1=90.5 + 1.1 * seed)
    out = call("attribute", folder).out
    lines = out.splitlines()
    (norm,) = [line for line in lines if line.startswith("norm ")]
    (downsample,) = [line for line in lines if line.startswith("downsample ")]
    pooled_std = (0.5 * 3 * np.var([1, 1, 1.1]) / 2) ** 0.5  # two seeds: half the squares of each seed's gains
    reach = stats.t.ppf(0.975, 2) * pooled_std
    assert f"+0.45 ({0.45 - reach:+.2f} to {0.45 + reach:+.2f})*" in norm
    assert downsample.count("+1.00") == 2  # its effects on the path and reverted compare the same two networks
    assert f"(Holm), pooled standard deviation {pooled_std:.2f} points, 2 dof." in out


def test_a_factorial_is_read_under_any_name(tmp_path: Path, call: Call, write_run: Write) -> None:
    folder = tmp_path / "trial"
    for seed in range(2):
        write_run(folder, "step12_downsample", seed=seed, top1=92.0 + seed)
        write_run(folder, "step12_downsample", "model/norm=batchnorm", seed=seed, top1=90.0 + seed)
        write_run(
            folder, "step12_downsample", "model/downsample=block", seed=seed, top1=91.0 + seed
        )  # step 11's network
    options = (folder, "--axes", "norm,downsample")
    error = call("attribute", *options, status=1).err
    assert "on step12_downsample: 1 of its 4 networks have no result: step10_fewer_norms. " in error
    assert "with +sweep=factorial sweep.axes=norm,downsample sweep.step=step12_downsample, trains them" in error

    for seed in range(2):
        write_run(folder, "step10_fewer_norms", seed=seed, top1=90.5 + seed)
    lines = call("attribute", *options).out.splitlines()
    assert [line.split()[:5] for line in lines[2:6]] == [
        ["norm", "batchnorm", "90.75", "baseline"],
        ["norm", "layernorm", "92.00", "4", "+1.25"],
        ["downsample", "block", "91.25", "baseline"],
        ["downsample", "separate", "91.50", "4", "+0.25"],
    ]
    assert lines[-1].startswith("Interaction of norm=layernorm and downsample=separate: +1.50 (")


def test_the_largest_of_several_interactions_is_corrected(tmp_path: Path, call: Call, write_run: Write) -> None:
    folder = tmp_path / "trial"
    for number, design in enumerate(factorial(CONVNEXT, "step12_downsample", ("kernel_size", "norm"))):
        step, *switched = CONVNEXT.name_of(design).split(",")
        for seed in range(2):
            words = [f"model/{word}" for word in switched]
            write_run(folder, step, *words, seed=seed, top1=90.0 + (number + 2 * seed) % 7)
    out = call("attribute", folder, "--axes", "kernel_size,norm").out
    assert "its interval is corrected for this (Bonferroni)." in out
    assert "(n = 2, the largest of 4)" in out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--axes", "norm,stm"], "--axes=stm: there is no stm. Did you mean stem?"),
        (["--axes", "norm", "--step", "step12"], "--step=step12: there is no step12. Allowed: step0_resnet, "),
    ],
)
def test_a_typo_is_one_message(
    tmp_path: Path,
    call: Call,
    write_run: Write,
    words: list[str],
    part: str,
) -> None:
    write_run(tmp_path / "trial", "step12_downsample", top1=92.0)
    assert part in call("attribute", tmp_path / "trial", *words, status=1).err


def test_no_experiment_is_one_message(tmp_path: Path, call: Call) -> None:
    assert "no such folder" in call("attribute", tmp_path / "nowhere", status=1).err


@pytest.mark.system  # writes and draws 16 networks of two seeds: 3 s
def test_groups_alone_are_printed(tmp_path: Path, call: Call, write_run: Write) -> None:
    for place, network in enumerate(group_networks(CONVNEXT)):
        step, *switched = CONVNEXT.name_of(CONVNEXT.design_of(network)).split(",")
        write_run(tmp_path / "trial", step, *(f"model/{word}" for word in switched), top1=80.0 + place)
    out = call("attribute", tmp_path / "trial").out
    for part in ("macro: stage_ratio, stem", "average over orders", "Effect: top-1 with the choice"):
        assert part in out
