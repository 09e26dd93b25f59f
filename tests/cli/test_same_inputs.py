"""A finished run is done already for a copy of its images, and not for others of the same name."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import roadmap
from roadmap.cli.job import claimed
from roadmap.cli.run_folders import open_run_dir
from roadmap.cli.same_inputs import check_same_images, record_images
from roadmap.config import PlannedRun, plan_runs
from roadmap.errors import RunError

RESULTS = {"top1": 50.0, "best_top1": 50.0, "gmacs": 0.1, "parameters": 1000}  # of a finished run
WORDS = ["+roadmap=step0_resnet", "data=imagefolder", "data.num_classes=2"]
Plan = Callable[..., PlannedRun]


def write_images(root: Path, *classes: str) -> Path:
    for part in ("train", "val"):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(root / part / name / "1.png")
    return root


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (planned,) = plan_runs([*WORDS, "data.root=x", f"output_dir={tmp_path}"], is_sweep=False)

    def plan(root: Path) -> PlannedRun:
        data = replace(planned.config.data, root=str(root))
        return replace(planned, config=replace(planned.config, data=data))

    return plan


def finish(planned: PlannedRun) -> None:
    """Record a run as finished on the images that are in its data.root."""
    with closing(open_run_dir(planned)) as folder:
        folder.claim()
        folder.finish({**RESULTS, **record_images(planned.config.data, ()).facts()})


@pytest.mark.parametrize(("classes", "is_same"), [(("cat", "dog"), True), (("bird", "cat"), False)])
def test_only_a_copy_of_a_runs_images_is_done_already(
    plan: Plan, tmp_path: Path, classes: tuple[str, ...], is_same: bool
) -> None:
    trained = plan(write_images(tmp_path / "first", "cat", "dog"))
    finish(trained)
    other = plan(write_images(tmp_path / "second", *classes))
    again = open_run_dir(other)
    assert (again.skip_reason(True) or "").endswith(f", with data.root={tmp_path / 'first'}")
    if is_same:
        check_same_images(other.config, again)
    else:
        with pytest.raises(RunError, match=r"other images than .*/second \(data.root=.*/first then\)"):
            check_same_images(other.config, again)
    check_same_images(plan(tmp_path / "nowhere").config, again)  # cannot be compared


def test_images_that_were_replaced_in_their_folder_are_not_done_already(plan: Plan, tmp_path: Path) -> None:
    trained = plan(write_images(tmp_path / "images", "cat", "dog"))
    finish(trained)
    with claimed(trained, open_run_dir(trained), retries=True) as is_mine:
        assert not is_mine
    record_images.cache_clear()  # as in the next process
    shutil.rmtree(tmp_path / "images")
    write_images(tmp_path / "images", "bird", "cat")
    again = claimed(trained, open_run_dir(trained), retries=True)
    with pytest.raises(RunError, match=r"other images than data.root=.*/images has now. experiment=NAME"), again:
        pytest.fail("must not be trained or skipped")


def test_images_that_change_between_two_calls_from_python_are_seen(plan: Plan, tmp_path: Path) -> None:
    trained = plan(write_images(tmp_path / "images", "cat", "dog"))
    finish(trained)
    words = [*WORDS, f"data.root={tmp_path / 'images'}", f"output_dir={tmp_path}"]
    assert roadmap.train(*words, progress=False).top1 == 50.0  # done already
    shutil.copy(tmp_path / "images/train/cat/1.png", tmp_path / "images/train/cat/2.png")
    with pytest.raises(RunError, match=r"other images than data.root=.*/images has now. experiment=NAME"):
        roadmap.train(*words, progress=False)
