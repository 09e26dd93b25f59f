"""Run folders are read as runs, in any state."""

import os
import shutil
from pathlib import Path

import pytest
from trial_rows import Write, rows_of

from roadmap.analysis.curves import Record
from roadmap.analysis.epoch_table import read_records, write_epoch_table
from roadmap.analysis.read_runs import choose_experiment, find_experiments, last_change, read_runs
from roadmap.analysis.run_table import write_run_table
from roadmap.errors import RunError


@pytest.mark.parametrize("text", ["", '{"top1": 9', "[]", '{"top1": 90.0}', '{"top1": "NaN"}'])
def test_a_damaged_summary_is_named_and_its_run_not_counted(
    tmp_path: Path, write_run: Write, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    write_run(seed=0)
    damaged = write_run(seed=1) / "summary.json"
    damaged.write_text(text)
    (row,) = rows_of(tmp_path)
    assert (row.seeds, row.unfinished) == ((0,), 1)
    assert str(damaged) in caplog.text


def test_an_accuracy_that_is_not_finite_is_not_averaged(
    tmp_path: Path, write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(seed=0, top1=90.0)
    write_run(seed=1, top1=float("nan"))
    (row,) = rows_of(tmp_path)
    assert row.top1 == (90.0,)
    assert "top1 is not finite" in caplog.text


@pytest.mark.parametrize(
    "text", ["", '{"state": "run', "[1]", '{"state": "done"}', '{"state": "done", "identity": 3}']
)
def test_a_damaged_state_is_named_and_its_run_left_out(
    tmp_path: Path, write_run: Write, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    write_run(seed=0)
    damaged = write_run(seed=1, state="running") / "state.json"
    damaged.write_text(text)
    assert [run.seed for run in read_runs(tmp_path / "trial")] == [0]
    assert str(damaged) in caplog.text


def test_a_summary_stands_in_for_a_lost_state(tmp_path: Path, write_run: Write) -> None:
    (write_run(seed=3, top1=88.0) / "state.json").unlink()
    (run,) = read_runs(tmp_path / "trial")
    assert (run.state, run.seed, run.top1) == ("done", 3, 88.0)


def test_hidden_folders_and_figures_are_no_runs(tmp_path: Path, write_run: Write) -> None:
    write_run()
    shutil.copytree(tmp_path / "trial/step0_resnet", tmp_path / "trial/.sweep")
    (tmp_path / "trial/figures").mkdir()
    assert len(read_runs(tmp_path / "trial")) == 1


@pytest.mark.parametrize("copy", ["seed0.bak", "seed0 (copy)", "seed", "seed_0"])
def test_a_copy_beside_a_run_is_no_second_seed(tmp_path: Path, write_run: Write, copy: str) -> None:
    run = write_run()
    shutil.copytree(run, run.with_name(copy))
    (row,) = rows_of(tmp_path)
    assert row.seeds == (0,)
    shutil.rmtree(run)
    assert find_experiments(tmp_path) == []


def test_an_unknown_experiment_is_an_error_that_lists_the_known(tmp_path: Path, write_run: Write) -> None:
    write_run(experiment="micro-digits")
    write_run(experiment="micro-cifar10")
    with pytest.raises(RunError, match=r"no such folder.*micro-cifar10, micro-digits") as caught:
        read_runs(tmp_path / "mircodigits")
    assert str(tmp_path / "mircodigits") in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"empty: no run;.*micro-cifar10, micro-digits"):
        read_runs(tmp_path / "empty")


def test_the_last_changed_experiment_is_told_by_its_files(tmp_path: Path, write_run: Write) -> None:
    for age, name in ((30, "old"), (10, "new"), (20, "middle")):
        folder = write_run(experiment=name)
        for file in folder.iterdir():
            os.utime(file, (1e9 - age, 1e9 - age))
    found = find_experiments(tmp_path)
    assert [path.name for path in found] == ["middle", "new", "old"]
    assert max(found, key=last_change).name == "new"


def test_an_experiment_with_a_result_goes_before_those_without(
    tmp_path: Path, write_run: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    done = write_run()
    write_run(experiment="other", state="failed")
    shutil.copytree(done, tmp_path / "other/step0_resnet/seed0.bak")  # no result of the other
    damaged = tmp_path / "mistyped/step0_resnet/seed0"
    damaged.mkdir(parents=True)
    (damaged / "state.json").write_text("{}")
    assert choose_experiment(None, tmp_path) == tmp_path / "trial"
    assert f"trial: the only experiment with a result in {tmp_path}" in capsys.readouterr().out
    assert choose_experiment("mistyped", tmp_path) == tmp_path / "mistyped"


def test_run_folders_beside_a_table_are_warned_of_until_it_is_gone(
    tmp_path: Path, write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(top1=90.0)
    runs = read_runs(tmp_path / "trial")
    table, epochs = tmp_path / "trial/runs.csv", tmp_path / "trial/epochs.csv"
    write_run_table(runs, table)
    write_epoch_table(
        [Record("step0_resnet", ("micro", "digits", "short"), (0,), *[{1: {"top1": 90.0}}] * 3)], epochs
    )
    (write_run(seed=1, top1=80.0) / "metrics.jsonl").write_text('{"epoch": 1, "top1": 80.0}\n')
    assert [run.top1 for run in read_runs(tmp_path / "trial")] == [90.0]
    assert f"{table} is read, and not the 2 run folders beside it, such as {runs[0].path}" in caplog.text
    table.unlink()
    caplog.clear()
    found = read_runs(tmp_path / "trial")
    assert [run.top1 for run in found] == [90.0, 80.0]
    assert [one.seeds for one in read_records(tmp_path / "trial", found)] == [(1,)]  # of seed 0, no epoch is here
    assert not caplog.records


@pytest.mark.parametrize("given", ["first", "first/", "./first/../first", "link", "."])
def test_a_renamed_folder_is_an_experiment_by_its_new_name(
    tmp_path: Path, write_run: Write, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    write_run()
    write_run(seed=1, state="running")
    (tmp_path / "trial").rename(tmp_path / "first")
    (tmp_path / "link").symlink_to("first")
    monkeypatch.chdir(tmp_path / ("first" if given == "." else ""))
    name = "link" if given == "link" else "first"
    assert [run.experiment for run in read_runs(Path(given))] == [name, name]
    write_run_table(read_runs(Path(given)), tmp_path / "first/runs.csv")
    monkeypatch.chdir(tmp_path)
    Path("first").rename("other")
    assert {run.experiment for run in read_runs(Path("other"))} == {name}  # a table keeps its own
