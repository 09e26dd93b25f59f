"""GPUs are assigned in turn, also across processes; how a process ended decides how its run did."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from roadmap.cli.processes import assign_gpu, explain_end, find_gpus
from roadmap.errors import RunError
from roadmap.system.machine import SHARING


def test_each_run_gets_the_gpu_with_the_fewest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with assign_gpu() as first:
        assert first == {"CUDA_VISIBLE_DEVICES": "3", SHARING: "2"}
        child = os.fork()  # POSIX locks work between processes
        if child == 0:
            with ExitStack() as stack:
                dealt = [stack.enter_context(assign_gpu())["CUDA_VISIBLE_DEVICES"]]
            os._exit(0 if dealt == ["5"] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with assign_gpu() as again:
        assert again == first


@pytest.mark.parametrize("kind", ["a file", "a link", "a folder that can't be written", "another user's"])
def test_a_name_that_is_taken_in_tmpdir_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """The places are in the user's cache then, the same for all sweeps."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    taken = tmp_path / f"convnet-roadmap-{os.getuid()}"
    if kind == "a file":
        taken.write_text("mine")
    elif kind == "a link":
        (tmp_path / "elsewhere").mkdir()
        taken.symlink_to(tmp_path / "elsewhere")
    else:
        taken.mkdir()
        if kind == "another user's":
            os.chown(taken, 12345, 12345)
        else:
            (taken / "probe.lock").mkdir()
    for _ in range(2):
        with assign_gpu() as dealt:
            assert dealt["CUDA_VISIBLE_DEVICES"] == "3"
    (folder,) = (tmp_path / "home/.cache").iterdir()
    assert {path.name for path in folder.iterdir()} == {"place0.lock", "probe.lock"}


def test_no_folder_at_all_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").write_text("a file")
    (tmp_path / f"convnet-roadmap-{os.getuid()}").write_text("another")
    with pytest.raises(RunError, match=r"GPUs can't be dealt to runs, since .*\(File exists\) and .* Set TMPDIR="):
        assign_gpu().__enter__()


def test_without_a_gpu_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with assign_gpu() as nothing:
        assert nothing == {}


def test_gpus_are_counted_by_nvidia_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    gpus = ["GPU 0: NVIDIA H100 (UUID: a)", "  MIG 3g.40gb Device 0: (UUID: c)", "GPU 1: NVIDIA H100 (UUID: b)"]
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in gpus))
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert find_gpus() == ["0", "1"]


@pytest.mark.parametrize(
    ("status", "is_memory_short", "state", "text"),
    [
        (-signal.SIGKILL, False, "interrupted", "by SIGKILL, from outside; the same command resumes it"),
        (-signal.SIGKILL, None, "interrupted", "(often the system's answer to a lack of memory); the same"),
        (-signal.SIGKILL, True, "failed", "for lack of memory. A smaller hardware.per_device_batch, fewer"),
        (-signal.SIGTERM, True, "interrupted", "by SIGTERM, from outside"),
        (-signal.SIGXCPU, False, "interrupted", "by SIGXCPU, from outside"),  # ulimit -t
        (-40, False, "interrupted", "by signal 40, from outside"),
        (-signal.SIGSEGV, False, "failed", "by SIGSEGV"),
        (-signal.SIGABRT, True, "failed", "by SIGABRT"),
        (3, False, "interrupted", "with status 3 and gave no reason"),
    ],
)
def test_who_ended_a_process_decides_how_its_run_ended(
    status: int, is_memory_short: bool | None, state: str, text: str
) -> None:
    found, reason = explain_end(status, is_memory_short)
    assert found == state
    assert text in reason
