"""The rows as CSV, as Markdown and in the terminal."""

import csv
import textwrap
from pathlib import Path

import pytest
from trial_rows import Write, rows_of

from roadmap.analysis.results import Row
from roadmap.analysis.table import terminal_table, write_csv, write_markdown
from roadmap.cli.printing import print_table
from roadmap.config.roadmap_files import load_roadmap
from roadmap.system.console import Console


def read_csv(rows: list[Row], path: Path) -> list[dict[str, str]]:
    write_csv(rows, path)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_markdown(rows: list[Row], path: Path) -> list[list[str]]:
    """Return the cells of the table, heading first."""
    write_markdown(rows, path)
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "---" not in line]


def test_csv_holds_the_numbers_and_leaves_what_is_unknown_empty(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet", 0, 90.0)
    write_run("step0_resnet", 1, 91.0)
    write_run("step1_stage_ratio", 0, 92.25)
    write_run("step2_patchify", 0, state="failed")
    rows = read_csv(rows_of(tmp_path), tmp_path / "rows.csv")
    assert len(rows) == 13
    assert rows[0] == {
        "step": "step0_resnet",
        "label": "label of step0_resnet",
        "n": "2",
        "top1_mean": "90.5",
        "top1_std": "0.70710678",
        "top1_low": "84.146898",
        "top1_high": "96.853102",
        "change": "",
        "change_low": "",
        "change_high": "",
        "change_p": "",
        "min_detectable_effect": "",
        "verdict": "",
        "best_epoch_top1_mean": "91",
        "gmacs": "0.25",
        "parameters_million": "0.312",
        "images_per_s": "1000",
        "paper_imagenet_top1": "78.82",
        "failed": "0",
        "unfinished": "0",
    }
    assert (rows[1]["n"], rows[1]["top1_std"], rows[1]["change"]) == ("1", "", "1.75")
    assert rows[1]["verdict"] == "not significant: one seed: no interval"
    assert (rows[2]["n"], rows[2]["top1_mean"], rows[2]["failed"]) == ("0", "", "1")
    assert (rows[3]["step"], rows[3]["n"], rows[3]["failed"]) == ("step3_depthwise", "0", "0")


def test_markdown_rounds_and_labels_the_best_epoch(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet", 0, 90.0)
    write_run("step0_resnet", 1, 91.0)
    write_run("step1_stage_ratio", 0, 90.123)
    heading, first, second = read_markdown(rows_of(tmp_path), tmp_path / "rows.md")
    assert "top-1 (%), best epoch, picked on the validation set" in heading
    cells = dict(zip(heading, first, strict=True))
    assert (cells["top-1 (%)"], cells["std"], cells["n"]) == ("90.50", "0.71", "2")
    assert dict(zip(heading, second, strict=True))["change"] == "-0.38"


def test_the_papers_column_is_headed_by_what_it_may_be_compared_with(
    tmp_path: Path, write_paper_runs: Write, write_run: Write
) -> None:
    write_paper_runs()
    heading, *rows = read_markdown(rows_of(tmp_path), tmp_path / "rows.md")
    assert "paper top-1 (%)" in heading
    assert [row[heading.index("paper top-1 (%)")] for row in rows][-2:] == ["81.97", "81.30"]
    write_run("step13_mine", data="digits")
    assert "paper (ImageNet)" in read_markdown(rows_of(tmp_path), tmp_path / "rows.md")[0]


def test_markdown_escapes_pipes(tmp_path: Path, write_run: Write) -> None:
    write_run(label="depth | width")
    write_markdown(rows_of(tmp_path), tmp_path / "rows.md")
    assert r"| depth \| width |" in (tmp_path / "rows.md").read_text()


def test_what_has_no_result_is_named_below_the_table(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet")
    write_run("step1_stage_ratio", 0, state="failed")
    write_run("step1_stage_ratio", 1, state="running")
    write_markdown(rows_of(tmp_path), tmp_path / "rows.md")
    text = (tmp_path / "rows.md").read_text()
    assert "step1_stage_ratio: no finished run (1 failed, 1 unfinished)" in text
    assert "trial: regime micro, data digits, recipe short" in text


@pytest.mark.parametrize("given", [None, 93.5])
def test_an_averaged_model_has_a_column_where_a_run_has_one(
    tmp_path: Path, write_run: Write, given: float | None
) -> None:
    write_run(**({} if given is None else {"ema_top1": given}))
    (row,) = read_csv(rows_of(tmp_path), tmp_path / "rows.csv")
    assert row.get("ema_top1_mean") == (None if given is None else "93.5")


def shown(rows: list[Row], width: int, best: bool = False) -> tuple[list[str], str]:
    """Return the lines of the table, and the text below it."""
    table, lines = terminal_table(rows, width, best)
    console = Console(width=width)
    with console.capture() as capture:
        print_table(console, table)
    return capture.get().splitlines(), "\n".join(lines)


def test_the_terminal_shows_the_same_rows(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet", 0, 90.0, label="with [brackets]")
    write_run("step0_resnet", 1, 91.0, label="with [brackets]")
    write_run("step1_stage_ratio", 0, 90.123)
    (heading, _, first, second, *_), text = shown(rows_of(tmp_path), 160)
    assert first.split()[:4] == ["step0_resnet", "2", "90.50", "0.71"]
    assert "-0.38" in second
    assert {"paper", "GMACs", "images/s"} <= set(heading.split())
    assert "No change is significant: one seed has no test." in text


def test_columns_that_do_not_fit_are_left_out_by_priority(tmp_path: Path, write_run: Write) -> None:
    """No name and no number wraps, and the columns left out are named; the paper's and the cost stay longest."""
    for step, variant in [
        ("step12_downsample", {}),
        ("step12_downsample", {"kernel_size": "3", "norm": "batchnorm"}),
    ]:
        for seed in range(3):
            write_run(step, seed, 90.0 + seed, variant=variant)
    rows = rows_of(tmp_path)
    name = "step12_downsample,kernel_size=3,norm=batchnorm"
    for width, left_out in [
        (120, ""),
        (80, "n, std, M params, images/s"),
        (70, "n, std, GMACs, M params, images/s"),
        (40, None),
    ]:
        lines, text = shown(rows, width)
        assert any(line.startswith(f"{name} ") for line in lines)
        assert len(lines) == 2 + len(rows)
        if left_out is not None:
            assert max(map(len, lines)) <= width
            assert (f"Not shown in {width} columns: {left_out}." in text) == bool(left_out)


@pytest.mark.parametrize("width", [80, 120])
def test_the_end_of_a_sweep_is_a_screen(tmp_path: Path, write_run: Write, width: int) -> None:
    """Thirteen steps with three seeds: besides their rows at most 24 lines, with everything below the table."""
    for number, step in enumerate(load_roadmap().steps):
        for seed in range(3):
            write_run(step, seed, 80.0 + (7 * number + seed) % 5)
    rows = rows_of(tmp_path)
    table, text = shown(rows, width)
    wrapped = [part for line in text.splitlines() for part in textwrap.wrap(line, width)]
    assert len(table) - len(rows) + len(wrapped) <= 21
    assert max(map(len, table)) <= width
    assert "3 seeds detect " in text
    assert "pooled" not in text  # one verdict; the other is in the report
    assert "Intervals cover" not in text  # the method is in the report


def test_the_best_epochs_table_says_what_it_was_picked_on(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet", 0, 90.0, best_top1=90.0)
    write_run("step0_resnet", 1, 91.0, best_top1=94.0)
    write_run("step1_stage_ratio", 0, 91.0, best_top1=95.0)
    rows = rows_of(tmp_path)
    write_csv(rows, tmp_path / "best.csv", best=True)
    with (tmp_path / "best.csv").open(newline="") as file:
        first, second, *_ = csv.DictReader(file)
    assert (first["top1_mean"], first["best_epoch_top1_mean"], first["top1_std"]) == ("90.5", "92", "2.8284271")
    assert second["change"] == "3"
    table, text = shown(rows, 160, best=True)
    assert "best epoch, picked on the validation set" in text
    assert "92.00" in "".join(table)
    assert "90.50" not in "".join(table)
