"""Transfer: the paper's changes compared with the measured ones."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from trial_rows import Write, rows_of

from roadmap.analysis.figures import transfer as transfer_figure
from roadmap.analysis.figures.transfer import draw_transfer
from roadmap.analysis.transfer import find_transfer
from roadmap.config.search_path import SearchPath, use
from roadmap.errors import RunError


def test_the_papers_own_accuracies_transfer_in_full(tmp_path: Path, write_paper_runs: Write) -> None:
    """Swin and the kernel sizes that the paper did not adopt do not count as steps."""
    write_paper_runs(seeds=2)
    changes = find_transfer(rows_of(tmp_path))
    assert [one.steps for one in changes] == [*((step - 1, step) for step in range(1, 13)), (0, 12)]
    for one in changes:
        assert one.measured.mean == pytest.approx(one.paper)
        assert one.same_sign
    assert changes[1].paper == pytest.approx(79.51 - 79.36)
    assert changes[-1].paper == pytest.approx(81.97 - 78.82)


def test_two_ends_give_the_change_of_all_steps_between(tmp_path: Path, write_run: Write) -> None:
    for seed in range(3):
        write_run("step1_stage_ratio", seed, 73.0 + seed)
        write_run("step12_downsample", seed, 64.0 + seed + 0.1 * (seed == 1))
        write_run("step12_downsample", seed, 74.0 + seed, variant={"stem": "resnet"})
    (ends,) = find_transfer(rows_of(tmp_path))
    assert ends.steps == (1, 12)
    assert ends.paper == pytest.approx(81.97 - 79.36)
    assert ends.measured.mean == pytest.approx(-9.0 + 0.1 / 3)
    assert (ends.same_sign, ends.significant) == (False, True)


def test_the_ends_are_the_first_and_last_steps_of_the_order_whatever_their_names(
    tmp_path: Path, write_run: Write, write_roadmap: Write
) -> None:
    steps = {"plain": "", "deep": "norm: layernorm", "added": "activation: gelu"}
    place = write_roadmap(steps)
    published = ["regime,step,config,label,paper_top1,paper_top1_std,paper_gflops,gmacs,adopted"]
    for index, step in enumerate(steps):
        published.append(f"resnet50,{index},{step},{step},{76 + index}.0,,,,yes")
        write_run(step, 0, 70.0 + 2 * index, step_index=index)
    (place / "published.csv").write_text("\n".join(published))
    with use(SearchPath((str(tmp_path / "own"),))):
        changes = find_transfer(rows_of(tmp_path))
    found = [(one.before.step, one.after.step, one.steps, one.paper, one.measured.mean) for one in changes]
    assert found == [
        ("plain", "deep", (0, 1), 1.0, 2.0),
        ("deep", "added", (1, 2), 1.0, 2.0),
        ("plain", "added", (0, 2), 2.0, 4.0),
    ]


def test_neighbors_are_not_repeated_as_ends(tmp_path: Path, write_run: Write) -> None:
    write_run("step6_move_up")
    assert find_transfer(rows_of(tmp_path)) == []
    write_run("step7_kernel")
    assert [one.steps for one in find_transfer(rows_of(tmp_path))] == [(6, 7)]


def test_a_change_within_the_noise_is_not_significant(tmp_path: Path, write_run: Write) -> None:
    for seed, noise in enumerate((0.0, 0.3, -0.2)):
        write_run("step0_resnet", seed, 80.0 + noise)
        write_run("step1_stage_ratio", seed, 80.1 - noise)
        write_run("step2_patchify", seed, 75.0 + noise)
    first, second, ends = find_transfer(rows_of(tmp_path))
    assert [one.significant for one in (first, second, ends)] == [False, True, True]
    assert first.measured.interval is not None
    assert first.measured.interval.low < 0 < first.measured.interval.high
    reaches = [one.measured.interval.high - one.measured.mean for one in (first, second) if one.measured.interval]
    assert reaches[0] == pytest.approx(reaches[1])  # the pooled standard deviation


def test_only_the_setting_with_most_steps_counts(tmp_path: Path, write_run: Write) -> None:
    write_run("step1_stage_ratio", 0, 70.0)
    write_run("step12_downsample", 0, 75.0)
    write_run("step12_downsample", 0, 10.0, data="aaa", experiment="other")
    (tmp_path / "other/step12_downsample/seed0").rename(tmp_path / "trial/step12_downsample/seed1")
    (ends,) = find_transfer(rows_of(tmp_path))
    assert ends.measured.mean == pytest.approx(5.0)
    assert ends.measured.interval is None


def test_marks_stand_at_the_changes(tmp_path: Path, write_run: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, noise in enumerate((0.0, 0.4)):
        write_run("step0_resnet", seed, 80.0)
        write_run("step1_stage_ratio", seed, 83.0 + noise)
        write_run("step2_patchify", seed, 82.0 - noise)
    drawn: list[Figure] = []
    monkeypatch.setattr(transfer_figure, "save", lambda figure, stem: drawn.append(figure) or [])
    draw_transfer([rows_of(tmp_path)], tmp_path / "transfer")
    (axes,) = drawn[0].axes
    marks = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in marks] == pytest.approx([3.2, -1.4, 1.8])
    papers = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert papers == pytest.approx([0.54, 0.15, 0.69])
    spans = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2 and line.get_xdata()[0] != 0]
    (change, *_) = find_transfer(rows_of(tmp_path))
    assert change.measured.interval is not None
    assert list(spans[0]) == pytest.approx([change.measured.interval.low, change.measured.interval.high])
    assert [text.get_text().replace("\n", " ") for text in axes.get_yticklabels()] == [
        "1 label of step1_stage_ratio",
        "2 label of step2_patchify",
        "steps 1 to 2 together",
    ]


@pytest.mark.parametrize(
    ("steps", "regime", "expected"),
    [
        (
            ("step0_resnet", "step1_stage_ratio"),
            "resnet200",
            "step0_resnet in b (published for resnet200: 81.14 %)",
        ),
        (
            ("step0_original_resnet", "step1_resnet_b"),
            "resnet50",
            "step0_original_resnet in b (published for resnet50: 76.21 %)",
        ),
    ],
)
def test_experiments_with_other_published_changes_are_refused(
    tmp_path: Path, write_run: Write, steps: tuple[str, str], regime: str, expected: str
) -> None:
    for index in range(2):
        write_run(("step0_resnet", "step1_stage_ratio")[index], 0, 80.0 + index, regime="resnet50", experiment="a")
        write_run(steps[index], 0, 80.0 + index, regime=regime, experiment="b")
    experiments = [rows_of(tmp_path, name) for name in ("a", "b")]
    with pytest.raises(RunError) as refused:
        draw_transfer(experiments, tmp_path / "transfer")
    said = "step 0 is step0_resnet in a (published for resnet50: 78.82 %), and"
    assert f"{said} {expected}. Draw them by a command for each" in str(refused.value)


def test_several_experiments_share_the_rows(tmp_path: Path, write_run: Write) -> None:
    for experiment, gain in (("first", 1.0), ("second", -1.0)):
        write_run("step0_resnet", 0, 80.0, experiment=experiment)
        write_run("step1_stage_ratio", 0, 80.0 + gain, experiment=experiment)
    write_run("step12_downsample", 0, 90.0, experiment="second")
    experiments = [rows_of(tmp_path, name) for name in ("first", "second")]
    _, svg, _ = draw_transfer(experiments, tmp_path / "transfer")
    drawn = svg.read_text()
    for expected in (
        "What transfers",
        "paper, on ImageNet",
        "first, n = 1 seed: 1 of 1 changes have the paper's sign",
        "second, n = 1 seed: 0 of 1 changes have the paper's sign",
        "steps 1 to 12 together",
    ):
        assert expected in drawn
    assert svg.read_bytes() == draw_transfer(experiments, tmp_path / "transfer")[1].read_bytes()
    assert draw_transfer([experiments[0][:1]], tmp_path / "none") == []
    with pytest.raises(RunError, match="8 experiments in one figure; name at most 6"):
        draw_transfer(experiments * 4, tmp_path / "many")
