"""NVIDIA's multi-process service runs while several runs share a GPU, and never stands in their way."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from roadmap.cli import gpu_sharing
from roadmap.cli.gpu_sharing import PIPES, share_gpus
from roadmap.cli.train import stop_signals

SERVICE = """#!/bin/sh
input=$([ "$1" = -d ] || cat)
echo "$1$input ${CUDA_MPS_PIPE_DIRECTORY:+in its folder} ${CUDA_VISIBLE_DEVICES:-every GPU}" >> {log}
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a service was asked, on a machine with one GPU where a process can compute by it."""
    program, log = tmp_path / "nvidia-cuda-mps-control", tmp_path / "log"
    program.write_text(SERVICE.replace("{log}", str(log)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv(PIPES, raising=False)
    monkeypatch.setattr(gpu_sharing, "PROBE", "pass")
    monkeypatch.setattr(gpu_sharing, "RUNNING", tmp_path / "none")
    return log


def refuse(text: str) -> None:
    raise AssertionError(text)


def test_runs_that_share_a_gpu_do_so_by_a_service_that_ends_with_them(log: Path) -> None:
    with share_gpus(12, refuse) as has_service:
        assert has_service
        assert Path(os.environ[PIPES]).is_dir()
        assert log.read_text().splitlines() == ["-d in its folder every GPU"]
        folder = os.environ[PIPES]
    assert log.read_text().splitlines()[1:] == ["quit in its folder 0"]
    assert PIPES not in os.environ
    assert not Path(folder).exists()


@pytest.mark.parametrize("at_once", [1, 0, -1])
def test_a_run_that_has_its_gpu_alone_needs_none(log: Path, at_once: int) -> None:
    with share_gpus(at_once, refuse) as has_service:
        assert not has_service
    assert not log.exists()


def test_none_is_started_where_none_is_wanted_or_there(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("CONVNET_ROADMAP_MPS", "0")
        assert not share_gpus(12, refuse).__enter__()
    with monkeypatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert not share_gpus(12, refuse).__enter__()
    (log.parent / gpu_sharing.CONTROL).unlink()
    assert not share_gpus(12, refuse).__enter__()
    assert not log.exists()


def test_a_service_that_runs_already_is_used_and_left_alone(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_sharing.RUNNING.touch()
    with share_gpus(12, refuse) as has_service:
        assert has_service
    gpu_sharing.RUNNING.unlink()
    monkeypatch.setenv(PIPES, "/mine")
    with share_gpus(12, refuse) as has_service:
        assert has_service
    assert os.environ[PIPES] == "/mine"
    assert not log.exists()


@pytest.mark.parametrize(
    ("program", "probe", "text"),
    [
        ("echo no permission; exit 1", "pass", "no permission"),
        ("exit 3", "pass", "it ended with status 3"),
        (None, "raise RuntimeError('MPS client failed to connect')", "RuntimeError: MPS client failed to connect"),
    ],
)
def test_one_that_can_not_be_used_is_ended_and_warned_of(
    log: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, probe: str, text: str
) -> None:
    """Runs would fail by it, which share the GPU without it too."""
    if program is not None:
        (log.parent / gpu_sharing.CONTROL).write_text(f"#!/bin/sh\n{program}\n")
    monkeypatch.setattr(gpu_sharing, "PROBE", probe)
    warnings: list[str] = []
    with share_gpus(12, warnings.append) as has_service:
        assert not has_service
        assert PIPES not in os.environ
    (warning,) = warnings
    assert f"runs share the GPU in turn, since nvidia-cuda-mps-control can't be used: {text}. CONV" in warning
    assert program is not None or log.read_text().splitlines()[-1].startswith("quit")


@pytest.mark.parametrize(("runs", "has_service"), [(3, True), (1, False)])
def test_a_sweeps_runs_have_it_if_several_are_on_one_gpu(log: Path, runs: int, has_service: bool) -> None:
    hydra = SimpleNamespace(launcher=SimpleNamespace(n_jobs=12))
    command = SimpleNamespace(has_processes=True, cfg=SimpleNamespace(hydra=hydra))
    with stop_signals(SimpleNamespace(command=command, runs=[None] * runs, trained=[])):
        assert (PIPES in os.environ) == has_service
    assert PIPES not in os.environ
    assert log.exists() == has_service
