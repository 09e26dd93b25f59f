"""compare.py reads the configurations of experiments, and reports which settings made the difference."""

from pathlib import Path

import pytest
from fixture_types import Call, Write

BOTH = ("lr1e-3", "lr4e-3", "--output-dir")


@pytest.fixture
def output_dir(tmp_path: Path, write_run: Write) -> Path:
    """Two steps under two learning rates."""
    for lr, top1 in (("1e-3", 60.0), ("4e-3", 65.0)):
        words = (f"recipe.lr={lr}", "data.holdout=100")
        write_run(tmp_path / f"lr{lr}", "step0_resnet", *words, top1=top1)
        write_run(tmp_path / f"lr{lr}", "step12_downsample", *words, top1=top1 - 4)
    return tmp_path


def test_two_learning_rates_differ_in_nothing_else(output_dir: Path, call: Call, tmp_path: Path) -> None:
    words = (*BOTH, output_dir, "--to", tmp_path / "to", "--along")
    assert "differ in recipe.lr" in call("compare", *words, "recipe.epochs", status=1).err
    shown = call("compare", *words, "recipe.lr").out
    for files in ("comparison.{csv,md}", "settings.jsonl", "recipe.lr.{png,svg,pdf}"):
        assert f"written: {tmp_path / 'to' / files}" in shown
    assert "Best mean over 2 common steps: lr4e-3, 63.00 (n = 1;" in shown
    assert (tmp_path / "to/comparison.md").read_text() == (
        "| experiment | recipe.lr | step0 | step12 | mean |\n| --- | --- | --- | --- | --- |\n"
        "| lr4e-3 | 0.004 | 65.00 | 61.00 | 63.00 |\n| lr1e-3 | 0.001 | 60.00 | 56.00 | 58.00 |\n"
    )


def test_each_change_is_drawn_beside_the_papers(output_dir: Path, call: Call) -> None:
    to = output_dir / "to"
    shown = call("compare", *BOTH, output_dir, "--transfer", "--to", to).out
    assert f"written: {to / 'transfer.{png,svg,pdf}'}" in shown
    drawn = (to / "transfer.svg").read_text()
    assert all(name in drawn for name in ("lr1e-3, n = 1 seed", "lr4e-3, n = 1 seed", "steps 1 to 12 together"))


def test_the_gap_of_two_networks_is_printed_and_written(output_dir: Path, call: Call) -> None:
    words = (*BOTH, output_dir, "--gap", "step0_resnet")
    written = call(
        "compare", *words, "step12_downsample", "--std", "0.83", "--dof", "52", "--to", output_dir / "to"
    ).out
    assert str(output_dir / "to/gaps.md") in written
    table, notes = (output_dir / "to/gaps.md").read_text().split("\n\n")
    assert "| lr4e-3 | 1 | -4.00 (-6.36 to -1.64) | +0.00 (-3.33 to +3.33) | 1.000 |" in table
    assert "Pooled standard deviation: 0.83 points, 52 dof." in notes
    assert "corrected" not in notes  # of one effect
    back = ("--gap", "step12_downsample", "step0_resnet", "--to", output_dir / "to")
    call("compare", *words, "step12_downsample", *back)
    both = (output_dir / "to/gaps.md").read_text()
    assert "| lr4e-3 | 1 | -4.00 | +0.00 |  |" in both
    assert "| lr4e-3 | 1 | +4.00 | +0.00 |  |" in both
    shown = call("compare", *words, "step12_downsample", "--against", "lr1e-3", "lr4e-3").out
    assert "lr4e-3" in shown
    for pair in ("lr1e-3 lr1e-3", "lr1e-3 lr2e-3"):
        refused = call("compare", *words, "step12_downsample", "--against", *pair.split(), status=1)
        assert f"--against {pair}: must be two of lr1e-3, lr4e-3" in refused.err
    refused = call("compare", *words, "step9_fewer_acts", status=1)
    assert "finished runs of step0_resnet and step9_fewer_acts" in refused.err
    assert "their networks: step0_resnet, step12_downsample" in refused.err


def test_a_published_comparison_is_extended_by_an_experiment(
    output_dir: Path, call: Call, write_run: Write
) -> None:
    published = output_dir / "published"
    call("compare", "lr1e-3", "lr4e-3", "--output-dir", output_dir, "--to", published)
    for step in ("step0_resnet", "step12_downsample"):
        write_run(output_dir / "longer", step, "recipe.lr=1e-3", "data.holdout=100", "recipe.epochs=77", top1=70.0)
    call("compare", published, "longer", "--output-dir", output_dir, "--to", published)
    assert (published / "comparison.md").read_text().splitlines() == [
        "| experiment | recipe.epochs | recipe.lr | step0 | step12 | mean |",
        "| --- | --- | --- | --- | --- | --- |",
        "| longer | 77 | 0.001 | 70.00 | 70.00 | 70.00 |",
        "| lr4e-3 | 12 | 0.004 | 65.00 | 61.00 | 63.00 |",
        "| lr1e-3 | 12 | 0.001 | 60.00 | 56.00 | 58.00 |",
    ]


def test_renamed_folders_are_compared_by_their_new_names(
    output_dir: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever name their runs recorded, or the folder's own is given as `.`."""
    (output_dir / "lr1e-3").rename(output_dir / "slow")
    (output_dir / "lr4e-3").rename(output_dir / "lr1e-3")
    monkeypatch.chdir(output_dir / "slow")
    to = output_dir / "to"
    call("compare", ".", output_dir / "lr1e-3", "--to", to)
    written = (to / "comparison.md").read_text()
    assert [line.split(" | ")[:3] for line in written.splitlines()[2:]] == [
        ["| lr1e-3", "0.004", "65.00"],
        ["| slow", "0.001", "60.00"],
    ]
    call("compare", to, "--to", to)
    assert (to / "comparison.md").read_text() == written
    call("compare", ".", "--to", output_dir / "alone")
    call("compare", output_dir / "alone", "--to", output_dir / "alone")
    assert "| slow | 60.00 |" in (output_dir / "alone/comparison.md").read_text()


def test_a_published_comparison_keeps_its_runs(
    output_dir: Path, call: Call, write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    published = output_dir / "published"
    gap = ("--gap", "step0_resnet", "step12_downsample")
    call("compare", *BOTH, output_dir, "--to", published, *gap, "--along", "recipe.lr")
    before = {path: path.read_bytes() for path in published.iterdir()}
    refused = call("compare", "lr1e-3", "--output-dir", output_dir, "--to", published, status=1).err
    assert "has runs of lr4e-3 that are not in this comparison and would be lost" in refused
    write_run(output_dir / "new/lr1e-3", "step0_resnet", "recipe.lr=1e-3", "data.holdout=100", seed=1)
    for one in ("lr1e-3", "lr4e-3"):  # another machine's runs of the same names
        write_run(output_dir / f"there/{one}", "step0_resnet", "data.holdout=100", seed=1)
    there = (*BOTH, output_dir / "there")
    assert "has runs of lr1e-3, lr4e-3 that" in call("compare", *there, "--to", published, status=1).err
    assert {path: path.read_bytes() for path in published.iterdir()} == before
    call("compare", published, "lr1e-3", "--output-dir", output_dir / "new", "--to", published)
    assert "gaps.md, recipe.lr.pdf, recipe.lr.png, recipe.lr.svg are of an earlier comparison" in caplog.text


def test_a_rate_of_each_network_is_several_and_of_each_seed_a_warning(
    tmp_path: Path, call: Call, write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    for step, lr in (("step0_resnet", "1e-3"), ("step12_downsample", "4e-3")):
        write_run(tmp_path / "own", step, f"recipe.lr={lr}")
    table = tmp_path / "to/comparison.md"
    call("compare", "own", "--output-dir", tmp_path, "--to", table.parent)
    assert "| own | several | 90.00 | 90.00 |" in table.read_text()
    assert not caplog.records
    write_run(tmp_path / "own", "step0_resnet", "recipe.lr=2e-3", seed=1)
    call("compare", "own", "--output-dir", tmp_path, "--to", table.parent)
    assert "own: the runs of step0_resnet have different settings, such as recipe.lr" in caplog.text


def test_an_experiment_that_has_just_begun_is_left_out(output_dir: Path, call: Call, write_run: Write) -> None:
    write_run(output_dir / "begun", "step0_resnet", state="running")
    assert "lr1e-3" in call("compare", "lr1e-3", "begun", "--output-dir", output_dir).out
    refused = call("compare", "begun", "--output-dir", output_dir, status=1)
    assert "none of these experiments has a finished run" in refused.err


def test_a_comparison_hides_no_runs(output_dir: Path, call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """From comparison.csv on, compare would read neither run folders nor a table of runs beside it."""
    (output_dir / "published").mkdir()
    (output_dir / "published/runs.csv").touch()
    for target, name in (("lr1e-3", "step0_resnet/seed0"), ("published", "runs.csv")):
        refused = call("compare", *BOTH, output_dir, "--to", output_dir / target, status=1).err
        assert f"{output_dir / target} has {name}: beside comparison.csv, commands would read neither" in refused
        assert not (output_dir / target / "comparison.csv").exists()
    call("compare", *BOTH, output_dir, "--to", output_dir / "to")
    assert not caplog.records
    (output_dir / "to/comparison.csv").rename(output_dir / "lr1e-3/comparison.csv")
    (output_dir / "to/settings.jsonl").rename(output_dir / "lr1e-3/settings.jsonl")
    call("compare", *BOTH, output_dir)
    assert f"{output_dir}/lr1e-3/comparison.csv is read, and not the 2 run folders beside it" in caplog.text


def test_weights_that_training_started_from_are_a_setting(
    output_dir: Path, call: Call, write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Published without the folders of the machine, also if only these differ."""
    for name, place in (("from_a", "/mine/a/x.pt"), ("from_b", "/mine/b/x.pt")):
        for rate in ("1e-2", "2e-2"):
            words = (f"recipe.lr={rate}", "data.holdout=100", f"init_from={place}")
            write_run(output_dir / f"{name}{rate}", "step0_resnet", *words)
    to = (output_dir / "to", "--output-dir", output_dir, "--to", output_dir / "to")
    refused = call("compare", "lr1e-3", "from_a1e-2", *to[1:], "--along", "recipe.lr", status=1).err
    assert (
        "recipe.lr: no two of these experiments differ in it alone; they differ in recipe.lr, init_from" in refused
    )
    assert not to[0].exists()
    call("compare", "from_a1e-2", "from_b2e-2", "lr1e-3", *to[1:])
    rows = [line.split(" | ") for line in (to[0] / "comparison.md").read_text().splitlines()]
    place = rows[0].index("init_from")
    assert [row[place] for row in rows[2:]] == [".../x.pt (1)", ".../x.pt (2)", "null"]
    call("compare", *to)
    assert "/mine" not in "".join(path.read_text() for path in to[0].iterdir())

    call("compare", "from_a1e-2", "--output-dir", output_dir, "--to", output_dir / "one")
    call("compare", output_dir / "one", "from_a2e-2", "--output-dir", output_dir, "--to", output_dir / "one")
    table = (output_dir / "one/comparison.md").read_text()
    assert table.startswith("| experiment | recipe.lr | step0 |")  # the weights are the same
    assert not caplog.records
