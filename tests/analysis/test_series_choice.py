"""The ends choose a setting by a fixed rule."""

from pathlib import Path

import pytest
from trial_rows import Write

from roadmap.analysis.series import EndResult, choose_setting, read_ends


def test_a_rate_that_harms_the_first_end_is_not_chosen() -> None:
    """At stride 2 the worse rate has the larger gap."""
    ends = {
        (2, 0.004): EndResult(80.0, 76.0, 2.0),
        (2, 0.012): EndResult(60.0, 75.0, 2.0),
        (1, 0.004): EndResult(84.0, 82.0, 8.0),
        (1, 0.012): EndResult(84.5, 80.0, 8.0),
    }
    assert choose_setting(ends) == (1, 0.004)
    del ends[1, 0.004]
    assert choose_setting(ends) == (2, 0.004)


def test_only_settings_with_both_ends_count(tmp_path: Path, write_run: Write) -> None:
    for experiment, last in (("s2", "done"), ("s1", "interrupted")):
        write_run("step1_stage_ratio", 0, 80.0, experiment=experiment)
        write_run("step12_downsample", 0, 78.0, experiment=experiment, state=last)
        write_run("step12_downsample", 0, 99.0, experiment=experiment, variant={"stem": "resnet"})
    folders = {(2, 0.1): tmp_path / "s2", (1, 0.1): tmp_path / "s1", (4, 0.1): tmp_path / "not begun"}
    ends = read_ends(folders, "step1_stage_ratio", "step12_downsample")
    assert list(ends) == [(2, 0.1)]
    assert (ends[2, 0.1].gap, ends[2, 0.1].mean) == (pytest.approx(-2.0), pytest.approx(79.0))
