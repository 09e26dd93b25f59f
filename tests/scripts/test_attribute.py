"""attribute.py reports the effects of choices, from the runs of an experiment."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from fixture_types import Call, Write
from scipy import stats

from roadmap.analysis.factorial import Grid
from roadmap.cli import attribute
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.sweep_networks import group_networks
from roadmap.system.console import Console

CONVNEXT = load_roadmap()


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
        # Step 11's network.
        write_run(folder, "step12_downsample", "model/downsample=block", seed=seed, top1=91.0 + seed)
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


def test_the_largest_of_several_interactions_is_said_to_be_corrected(capsys: pytest.CaptureFixture[str]) -> None:
    axes = ("kernel_size", "norm")
    cells = product(*map(CONVNEXT.levels_of, axes))
    top1 = {(cell, seed): 90.0 + (n + 2 * seed) % 7 for n, cell in enumerate(cells) for seed in range(2)}
    attribute.print_factorial(Console(width=200), Grid(CONVNEXT, "step12_downsample", axes, (0, 1), top1))
    out = capsys.readouterr().out
    assert "its interval is corrected for this (Bonferroni)." in out
    assert "(n = 2, the largest of 4)" in out


@pytest.mark.system  # writes and draws 16 networks of two seeds: 3 s
def test_groups_alone_are_printed(tmp_path: Path, call: Call, write_run: Write) -> None:
    for place, network in enumerate(group_networks(CONVNEXT)):
        step, *switched = CONVNEXT.name_of(CONVNEXT.design_of(network)).split(",")
        write_run(tmp_path / "trial", step, *(f"model/{word}" for word in switched), top1=80.0 + place)
    out = call("attribute", tmp_path / "trial").out
    for part in ("macro: stage_ratio, stem", "average over orders", "Effect: top-1 with the choice"):
        assert part in out
