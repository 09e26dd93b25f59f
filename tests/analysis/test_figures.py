"""The figures show the rows' values, as read from the text in an SVG."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from trial_rows import Write, rows_of

from roadmap.analysis.figures.ablation import draw_effects
from roadmap.analysis.figures.layout import (
    axis_limits,
    cost_unit,
    curve_rows,
    positions,
    row_label,
    section,
    stand_in_note,
)
from roadmap.analysis.figures.roadmap import draw_roadmap, draw_values
from roadmap.analysis.figures.transfer import draw_transfer
from roadmap.analysis.report.report import write_report
from roadmap.analysis.results import MOST_ABLATIONS
from roadmap.analysis.tables_and_figures import draw_experiment
from roadmap.cli import plot
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import Choice
from roadmap.errors import RunError


def texts(path: Path) -> list[str]:
    """Return the lines of text in an SVG."""
    return [line.strip() for line in re.findall(r"<(?:text|tspan)[^>]*>([^<]+)<", path.read_text())]


def test_the_roadmap_shows_labels_values_setting_and_n(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet", 0, 90.0)
    write_run("step0_resnet", 1, 91.0)
    write_run("step1_stage_ratio", 0, 92.25, gmacs=1.5)
    png, svg, pdf = draw_roadmap(rows_of(tmp_path), tmp_path / "a.figure")
    assert (png.name, svg.name, pdf.name) == ("a.figure.png", "a.figure.svg", "a.figure.pdf")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert pdf.read_bytes().startswith(b"%PDF")
    found = texts(svg)
    for expected in ("label of step0_resnet", "90.50 ± 0.71", "92.25", "0.250", "1.50", "Macro design", "trial"):
        assert expected in found
    assert "regime micro, data digits, recipe short; mean ± standard deviation over n = 1 to 2 seeds" in found
    assert any(text.startswith("axis cut: starts at 8") for text in found)


def test_steps_without_a_result_are_shown_as_missing(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet")
    write_run("step1_stage_ratio", state="failed")
    write_run("step3_depthwise")
    found = texts(draw_roadmap(rows_of(tmp_path), tmp_path / "figure")[1])
    assert "no finished run (1 failed)" in found
    assert "patchify stem" in found
    assert found.count("no finished run") == 10  # steps 2 and 4 to 12


def test_a_sweep_of_ablations_whose_own_step_waits_is_drawn(tmp_path: Path, write_run: Write) -> None:
    """Without a result of the step, the figure has no other row to show than the ablations."""
    write_run("step12_downsample", state="pending")
    write_run("step12_downsample", top1=91.25, variant={"norm": "batchnorm"})
    for number in range(MOST_ABLATIONS):
        write_run("step12_downsample", state="pending", variant={"kernel_size": str(2 * number + 9)})
    write_report(tmp_path / "trial", tmp_path / "report.html")
    found = texts(draw_experiment(tmp_path / "trial")[1][1])
    assert "91.25" in found
    assert found.count("no finished run (1 unfinished)") == 1 + MOST_ABLATIONS


def test_the_same_rows_give_the_same_bytes(tmp_path: Path, write_paper_runs: Write) -> None:
    write_paper_runs(seeds=2)
    rows = [row for row in rows_of(tmp_path) if row.step == "step7_kernel" or row.reference]
    once, again = draw_roadmap(rows, tmp_path / "once"), draw_roadmap(rows, tmp_path / "again")
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


@pytest.mark.parametrize(
    ("regime", "data", "expected"), [("resnet50", "imagenet", True), ("resnet50", "digits", False)]
)
def test_the_papers_marks_appear_exactly_on_imagenet(
    tmp_path: Path, write_paper_runs: Write, regime: str, data: str, expected: bool
) -> None:
    write_paper_runs(regime=regime, data=data)
    rows = [row for row in rows_of(tmp_path) if row.step == "step7_kernel"]
    assert ("paper" in texts(draw_roadmap(rows, tmp_path / "roadmap")[1])) is expected
    assert ("paper" in texts(draw_values(rows, tmp_path / "kernels")[1])) is expected


def test_variants_are_hatched_and_the_reference_has_its_line(
    tmp_path: Path, write_paper_runs: Write, write_run: Write
) -> None:
    write_paper_runs()
    rows = [row for row in rows_of(tmp_path) if row.step == "step7_kernel" or row.reference]
    whole = draw_roadmap(rows, tmp_path / "whole")[1]
    plain = draw_roadmap([row for row in rows if not row.variant and not row.reference], tmp_path / "plain")[1]
    assert "<pattern" in whole.read_text()
    assert "tried, not adopted" in texts(whole)
    assert texts(whole).count("Swin-T") == 2  # in its bar and in the legend
    assert "<pattern" not in plain.read_text()
    assert "tried, not adopted" not in texts(plain)


def test_best_is_drawn_only_when_asked_for_and_says_so(tmp_path: Path, write_run: Write) -> None:
    write_run(top1=90.0)
    rows = rows_of(tmp_path)
    last = texts(draw_roadmap(rows, tmp_path / "last")[1])
    best = texts(draw_roadmap(rows, tmp_path / "best", best=True)[1])
    assert ("90.00" in last, "90.50" in last) == (True, False)
    assert ("90.00" in best, "90.50" in best) == (False, True)
    assert any("best epoch, picked on the validation set" in text for text in best)
    assert not any("best epoch" in text for text in last)


def test_kernel_sizes_take_size_3_from_step_6_and_say_so(
    tmp_path: Path, write_paper_runs: Write, write_run: Write
) -> None:
    write_paper_runs(offset=-0.5)
    rows = rows_of(tmp_path)
    assert [(size, row.step) for size, row in curve_rows(rows).items()][:2] == [
        (3, "step6_move_up"),
        (5, "step7_kernel"),
    ]
    assert list(curve_rows(rows)) == [3, 5, 7, 9, 11]
    found = texts(draw_values(rows, tmp_path / "kernels")[1])
    assert "4.29 GMACs" in found
    assert "79.42" in found  # 79.92 minus the offset
    assert any("step6_move_up" in text for text in found)
    write_run(
        "step7_kernel", 0, 75.0, variant={"kernel_size": "3"}, regime="resnet50", data="imagenet", recipe="paper"
    )
    found = texts(draw_values(rows_of(tmp_path), tmp_path / "kernels")[1])
    assert "75.00" in found
    assert not any("step6_move_up" in text for text in found)


def test_steps_6_and_7_alone_are_no_kernel_figure(tmp_path: Path, write_run: Write) -> None:
    write_run("step6_move_up")
    write_run("step7_kernel")
    assert draw_values(rows_of(tmp_path), tmp_path / "kernels") == []
    write_run("step7_kernel", variant={"kernel_size": "9"}, state="failed")
    assert draw_values(rows_of(tmp_path), tmp_path / "kernels") == []
    write_run("step7_kernel", variant={"kernel_size": "5"})
    assert len(draw_values(rows_of(tmp_path), tmp_path / "kernels")) == 3


def test_a_value_of_0_on_the_curve_is_not_its_start(tmp_path: Path, write_run: Write) -> None:
    choice = Choice("step1_stage_ratio", {"recipe.warmup_epochs": "2"}, {"recipe.warmup_epochs": "1"})
    choices = (choice, *load_roadmap().choices[1:])
    own = replace(load_roadmap(), choices=choices, curve="step1_stage_ratio")
    write_run("step0_resnet", top1=50.0)
    write_run("step1_stage_ratio", top1=60.0)
    write_run("step1_stage_ratio", top1=40.0, variant={"recipe.warmup_epochs": "0"})
    found = curve_rows([replace(row, roadmap=own) for row in rows_of(tmp_path)])
    assert {value: row.top1 for value, row in found.items()} == {0: (40.0,), 1: (60.0,), 2: (50.0,)}


@pytest.mark.parametrize(
    ("also", "expected"),
    [({}, {3: (50.0,), 5: (40.0,), 7: (60.0,)}), ({"response_norm": "none"}, {5: (40.0,), 7: (60.0,)})],
)
def test_the_step_before_stands_in_for_no_other_network(
    tmp_path: Path, write_run: Write, also: dict[str, str], expected: dict[int, tuple[float]]
) -> None:
    ends = dict.fromkeys(also, "grn")
    choice = Choice("step1_stage_ratio", {"kernel_size": "3", **also}, {"kernel_size": "7", **ends})
    own = replace(load_roadmap(), choices=(choice,), curve="step1_stage_ratio")
    write_run("step0_resnet", top1=50.0)
    write_run("step1_stage_ratio", top1=60.0)
    write_run("step1_stage_ratio", top1=40.0, variant={"kernel_size": "5"})
    rows = [replace(row, roadmap=own) for row in rows_of(tmp_path)]
    found = curve_rows(rows)
    assert {value: row.top1 for value, row in found.items()} == expected
    note = "3 is the run of step0_resnet, which is the same network."
    assert (note in texts(draw_values(rows, tmp_path / "kernels")[1])) == (3 in expected)
    assert stand_in_note(found) == (note if 3 in expected else "")


@pytest.mark.parametrize(
    ("values", "start"),
    [([76.1, 82.0], 74.0), ([10.0, 99.0], 0.0), ([93.2], 0.0), ([95.0, 95.1], 94.5), ([60.0, 75.0], 55.0)],
)
def test_the_axis_starts_below_the_lowest_value_or_at_zero(values: list[float], start: float) -> None:
    assert axis_limits(values)[0] == start
    assert axis_limits(values)[1] >= max(values)


def test_small_networks_count_in_millions(tmp_path: Path, write_run: Write) -> None:
    write_run(gmacs=0.0045)
    rows = rows_of(tmp_path)
    assert cost_unit(rows) == ("MMACs", 1e3)
    found = texts(draw_roadmap(rows, tmp_path / "figure")[1])
    assert "4.50" in found
    assert "MMACs" in found


def test_a_long_label_keeps_its_beginning_and_its_end() -> None:
    first, last = row_label("a layer that squeezes and excites after every convolution, reduction=16").split("\n")
    assert first.startswith("a layer")
    assert last.endswith("reduction=16")
    assert max(len(first), len(last)) <= 28
    assert row_label("ResNet, downsample=separate") == "ResNet,\ndownsample=separate"


def test_sections_are_set_apart(tmp_path: Path, write_run: Write) -> None:
    for step in ("step1_stage_ratio", "step2_patchify", "step3_depthwise"):
        write_run(step)
    rows = [row for row in rows_of(tmp_path) if row.seeds]
    assert [section(row).name for row in rows] == ["Macro design", "Macro design", "ResNeXt"]
    first, second, third = positions(rows)
    assert second - first == 1
    assert third - second > 1


def test_a_curve_writes_all_its_files(tmp_path: Path, write_run: Write) -> None:
    for step in ("step6_move_up", "step7_kernel", "step12_downsample"):
        write_run(step)
    write_run("step7_kernel", variant={"kernel_size": "5"})
    write_run("step12_downsample", variant={"norm": "batchnorm"})
    rows, paths = draw_experiment(tmp_path / "trial")
    assert [row.step_index for row in rows if row.seeds] == [6, 7, 7, 12, 12]
    figures = [
        f"{name}.{ending}"
        for name in ("roadmap", "kernels", "effects", "transfer")
        for ending in ("png", "svg", "pdf")
    ]
    assert {path.name for path in paths} == {*figures, "roadmap.csv", "roadmap.md"}
    assert all(path.parent == tmp_path / "trial/figures" and path.stat().st_size for path in paths)


def test_a_figure_that_the_runs_no_longer_give_is_named_or_removed(
    tmp_path: Path, write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_run("step1_stage_ratio")
    figures = tmp_path / "trial/figures"
    figures.mkdir()
    for name in ("kernels.svg", "kernels.pdf", "kernels-best.svg", "mine.svg"):
        (figures / name).touch()
    draw_experiment(tmp_path / "trial")
    assert (
        f"{figures}/kernels.{{svg,pdf}}: of an earlier drawing, and these runs have no such figure" in caplog.text
    )
    assert "best" not in caplog.text
    assert "mine" not in caplog.text
    caplog.clear()
    _, paths = draw_experiment(tmp_path / "trial", replace=True)
    kept = {"kernels-best.svg", "mine.svg"}
    assert {path.name for path in figures.iterdir()} == {path.name for path in paths} | kept
    assert caplog.text == ""


def test_no_finished_run_is_an_error_that_says_what_there_is(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet", 0, state="failed", error="out of memory")
    write_run("step0_resnet", 1, state="running")
    with pytest.raises(RunError, match=r"1 running, 1 failed.*step0_resnet/seed0 failed: out of memory"):
        draw_experiment(tmp_path / "trial")
    with pytest.raises(RunError, match="no finished run"):
        draw_roadmap(rows_of(tmp_path), tmp_path / "figure")


def test_the_command_picks_the_only_experiment_and_names_it(
    tmp_path: Path, write_run: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(top1=90.0)
    monkeypatch.setattr(sys, "argv", ["plot", "--output-dir", str(tmp_path), "--best"])
    assert plot.main() == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "trial: the only experiment" in printed.out
    assert "roadmap-best.{png,svg,pdf,csv,md}" in "".join(printed.out.split("\n"))
    assert (tmp_path / "trial/figures/roadmap-best.svg").exists()


def test_effects_are_drawn_once_a_network_off_the_path_ran(tmp_path: Path, write_run: Write) -> None:
    for seed in range(2):
        write_run("step11_layernorm", seed, 85.0 + seed)
        write_run("step12_downsample", seed, 86.0 + seed)
    assert draw_effects(rows_of(tmp_path), tmp_path / "effects") == []
    for seed in range(2):
        write_run("step12_downsample", seed, 84.0 + 1.5 * seed, variant={"norm": "batchnorm"})
    found = texts(draw_effects(rows_of(tmp_path), tmp_path / "effects")[1])
    for expected in ("norm", "downsample", "on the path", "in step 12", "not significant (Holm)"):
        assert expected in found
    assert "in step 0" not in found
    assert any("effect of each choice, n = 2 seeds, 95% intervals" in text for text in found)


def test_the_titles_name_the_setting_and_seeds_that_are_drawn(tmp_path: Path, write_run: Write) -> None:
    for seed in range(2):
        write_run("step11_layernorm", seed, 85.0 + seed)
        write_run("step12_downsample", seed, 86.0 + 0.8 * seed)
        write_run("step12_downsample", seed, 84.0 + 1.5 * seed, variant={"norm": "batchnorm"})
    for seed in (7, 8, 9):
        write_run("step12_downsample", seed, 89.0, regime="nano", recipe="other")
    rows = rows_of(tmp_path)
    setting = "regime micro, data digits, recipe short;"
    effects = texts(draw_effects(rows, tmp_path / "effects")[1])
    assert f"{setting} effect of each choice, n = 2 seeds, 95% intervals" in effects
    transfer = texts(draw_transfer([rows], tmp_path / "transfer")[1])
    assert f"{setting} changes with 95% intervals; filled: significant (Holm)" in transfer
