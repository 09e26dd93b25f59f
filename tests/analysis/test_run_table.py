"""A published experiment consists of tables of its runs and their epochs, from which all else is drawn again."""

import csv
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_rows import Write

from roadmap.analysis.curves import Record
from roadmap.analysis.epoch_table import read_epoch_table, write_epoch_table
from roadmap.analysis.publish import find_kept
from roadmap.analysis.read_runs import find_experiments, read_runs
from roadmap.analysis.run_table import write_run_table
from roadmap.errors import RunError
from roadmap.runs.read_run import Run

RESULTS = Path(__file__).parents[2] / "results/cifar10-stride4"


@pytest.fixture
def published(tmp_path: Path, write_run: Write, write_paper_runs: Write) -> Path:
    """A folder with the table of many runs: variants, a reference, a failed run, and accuracies of 15 digits."""
    write_paper_runs(offset=1 / 3, seeds=2)
    write_run("step5_inverted", 7, state="failed", error='a loss, "nan",\nin epoch 3')
    folder = tmp_path / "published"
    folder.mkdir()
    write_run_table(read_runs(tmp_path / "trial"), folder / "runs.csv")
    return folder


def test_runs_come_back_from_their_table_to_the_last_digit(tmp_path: Path, published: Path) -> None:
    def in_folder(runs: list[Run], folder: Path) -> list[Run]:
        return [replace(run, path=run.path.relative_to(folder)) for run in runs]

    runs = read_runs(tmp_path / "trial")
    assert in_folder(read_runs(published), published) == in_folder(runs, tmp_path / "trial")
    assert published in find_experiments(tmp_path)


def test_a_table_that_is_damaged_is_named_with_the_place(published: Path) -> None:
    path = published / "runs.csv"
    whole = path.read_text()
    path.write_text(whole.replace(",0,done,", ",zero,done,", 1))
    with pytest.raises(RunError, match=r"runs.csv, line 2: seed is 'zero'"):
        read_runs(published)
    path.write_text("step,seed\nstep0_resnet,0\n")
    with pytest.raises(RunError, match="lacks the columns step_index, label, variant"):
        read_runs(published)
    path.write_text(whole.splitlines()[0] + "\n")
    with pytest.raises(RunError, match="no run"):
        read_runs(published)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"top1": "nan"}, r"line 2: top1 is not finite"),
        ({"top1": "-3"}, r"line 2: top1 is -3"),
        ({"best_top1": "100.1"}, r"line 2: best_top1 is 100.1"),
        ({"top1": ""}, r"line 2: the finished run has no top1"),
        ({"best_top1": ""}, r"line 2: the finished run has no best_top1"),
        ({"seed": "-1"}, r"line 2: seed is -1"),
        ({"seed": "1"}, r"line 3: original seed 1 is also in line 2"),
    ],
)
def test_an_impossible_run_is_refused(published: Path, cells: dict[str, str], message: str) -> None:
    path = published / "runs.csv"
    with path.open(newline="") as file:
        first, *others = csv.DictReader(file)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerows([first | cells, *others])
    with pytest.raises(RunError, match=message):
        read_runs(published)


@given(data=st.data())
def test_a_table_that_is_cut_off_is_never_read_as_other_numbers(data: st.DataObject) -> None:
    """Wherever a table is cut, it is refused, or all numbers of the remaining lines are as they were."""
    runs = read_runs(RESULTS)[:3]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        write_run_table(runs, path)
        whole = path.read_text()
        path.write_text(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with suppress(RunError):
            for run, known in zip(read_runs(path.parent), runs, strict=False):
                assert (run.name, run.seed, run.top1, run.setting_hash) == (
                    known.name, known.seed, known.top1, known.setting_hash
                )  # fmt: skip


def test_a_run_under_another_name_is_the_same_run_by_its_configuration(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet")
    (run,) = read_runs(tmp_path / "trial")
    published = replace(run, config_hash="a", data="digits", recipe="short")
    renamed = replace(published, recipe="mine")
    assert find_kept([published], [renamed]) == []
    assert find_kept([published], [replace(renamed, state="running")]) == [published]
    assert find_kept([published], [replace(renamed, config_hash="b")]) == [published]


def test_epochs_come_back_from_their_table_to_the_last_digit(tmp_path: Path) -> None:
    alone = {1: {"top1": 100 / 3, "lr": 1e-6}, 2: {"lr": 1e-7}}  # the second was not evaluated
    together = [{7: {"loss": loss}} for loss in (0.2, 0.1, 0.3)]
    records = [
        Record("step7_kernel,kernel_size=9", ("micro", "digits", "short"), (3,), alone, alone, alone),
        Record("step7_kernel", ("micro", "digits", "short"), (0, 2), *together),
    ]
    path = tmp_path / "epochs.csv"
    write_epoch_table(records, path)
    assert read_epoch_table(path) == records
    whole = path.read_text()
    path.write_text(whole.replace("33.33", "a third", 1))
    with pytest.raises(RunError, match=r"epochs.csv, line 2: could not convert string to float: 'a third"):
        read_epoch_table(path)
    path.write_text(whole + "step0_resnet,micro")
    with pytest.raises(RunError, match=r"epochs.csv, line 5: "):
        read_epoch_table(path)
    path.write_text("network,epoch\nstep0_resnet,1\n")
    with pytest.raises(RunError, match="lacks the columns regime, data, recipe, seeds"):
        read_epoch_table(path)
