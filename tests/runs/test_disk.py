"""A full disk: a file system of a few hundred kilobytes, mounted for the test."""

import errno
import json
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from roadmap.errors import RunError, StorageError
from roadmap.runs.atomic import append_line, replace_file

ROOT = Path(__file__).parents[2]


def train(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "train.py", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_failed_write_keeps_the_old_file(small_disk: Path) -> None:
    path, previous = small_disk / "checkpoint.pt", small_disk / "checkpoint.previous.pt"
    replace_file(path, b"first", previous)
    replace_file(path, b"second", previous)
    with pytest.raises(RunError) as caught:
        replace_file(path, b"x" * 1_000_000, previous)
    message = str(caught.value)
    assert f"the disk is full: {path} needs 1,000,000 bytes, " in message
    assert " are free." in message
    assert {file.name: file.read_bytes() for file in small_disk.iterdir()} == {
        "checkpoint.pt": b"second",
        "checkpoint.previous.pt": b"first",
    }


def test_error_reports_that_no_inode_is_free(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=2", str(small_disk)], check=True)
    (small_disk / "one").touch()
    with pytest.raises(StorageError, match=r"the disk is full: .*state\.json needs 2 bytes, and no inode is free"):
        replace_file(small_disk / "state.json", b"{}")


def test_error_reports_the_file_size_limit(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"the file size limit \(ulimit -f\) is exceeded: .* 101 by"):
            replace_file(tmp_path / "checkpoint.pt", b"x" * 101)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_read_only_disk_interrupts_the_run(small_disk: Path) -> None:
    path = small_disk / "metrics.jsonl"
    path.touch()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for write in (lambda: replace_file(path, b"x"), lambda: append_line(path, "x")):
        with pytest.raises(StorageError, match=r"can't be written: Read-only file system.* run the same command"):
            write()


def test_failing_disk_interrupts_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"state\.json can't be written: Input/output error"):
        replace_file(tmp_path / "state.json", b"{}")
    assert not list(tmp_path.iterdir())


def test_failed_append_is_an_error(small_disk: Path) -> None:
    with pytest.raises(RunError, match=r"metrics\.jsonl needs 1,000,001 bytes"):
        append_line(small_disk / "metrics.jsonl", "x" * 1_000_000)


def test_sweep_on_a_full_disk_fails_before_its_first_run(small_disk: Path) -> None:
    with suppress(OSError), (small_disk / "large").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    full = train("-m", "+roadmap=step0_resnet,step7_kernel", f"output_dir={small_disk}")
    assert full.returncode == 1
    assert full.stderr.startswith(
        f"error: the disk is full: {small_disk / 'micro-digits'} needs 16,384 bytes, 0 are free."
    )
    assert full.stdout == ""


@pytest.mark.system  # two starts
def test_sweep_resumes_after_a_full_disk(small_disk: Path) -> None:
    words = (
        "-m",
        "+roadmap=step12_downsample",
        "recipe.epochs=2",
        "recipe.warmup_epochs=0",
        "regime.width.modern=8",
        f"output_dir={small_disk}",
    )
    full = train(*words)
    assert full.returncode == 1
    folder = small_disk / "micro-digits/step12_downsample/seed0"
    assert f"the disk is full: {folder / 'checkpoint.pt'} needs " in " ".join(full.stderr.split())
    assert "Traceback" not in full.stderr
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in metrics] == [1]
    assert not list(folder.glob("*.new"))
    state = json.loads((folder / "state.json").read_text())
    assert state["state"] == "interrupted"
    assert state["error"].startswith(f"the disk is full: {folder / 'checkpoint.pt'} needs ")
    assert state["error"].endswith("and run the same command again")

    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert train(*words).returncode == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["epochs"] == 2


@pytest.mark.system  # a start with Weights & Biases: 15 s
def test_full_disk_in_a_dashboard_does_not_stop_training(small_disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "micro-digits/step12_downsample/seed0"
    folder.mkdir(parents=True)
    (folder / "wandb").symlink_to(small_disk)
    (small_disk / "filler").write_bytes(b"x" * 240 * 1024)  # of 256 KiB
    words = ("+roadmap=step12_downsample", "recipe.epochs=3", "regime.width.modern=8", "logger=wandb")
    done = train(*words, f"output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
    assert json.loads((folder / "state.json").read_text())["state"] == "done"
    assert os.statvfs(small_disk).f_bavail == 0
