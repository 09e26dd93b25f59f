"""Fixtures: comparable results of a run, a disk that fills up quickly, limited memory, and quick PDFs."""

import gc
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from roadmap.analysis.figures import style

DIFFERENT = ("seconds", "images_per_s", "commit")  # timings, and a commit that may change while tests run


def pytest_collection_finish() -> None:
    """Exclude torch and the tests from garbage collections, which then take 0.1 and not 0.4 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _fast_garbage_collections() -> Iterator[None]:
    """Exclude what the module before left in caches, too."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def read_results() -> Callable[[Path], tuple[Any, ...]]:
    """Return a function that reads all but timings and commit: summary, metrics, and the checkpoint's bits."""

    def read(folder: Path) -> tuple[Any, ...]:
        summary = json.loads((folder / "summary.json").read_text())
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
        checkpoint["history"] = [_without_clocks(line) for line in checkpoint["history"]]
        return _without_clocks(summary), [_without_clocks(line) for line in lines], flatten(checkpoint)

    return read


def _without_clocks(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in DIFFERENT}


def flatten(value: Any) -> Any:
    """Convert tensors to bytes, which compare exactly."""
    if isinstance(value, dict):
        return {key: flatten(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [flatten(item) for item in value]
    return (str(value.dtype), value.shape, value.numpy().tobytes()) if isinstance(value, torch.Tensor) else value


@pytest.fixture(scope="session", autouse=True)
def quick_pdfs() -> Iterator[None]:
    """Draw PDFs with outlines for glyphs: a part of a TrueType font takes a third of a figure's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.RC, "pdf.fonttype", 3)
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def memory_group() -> Iterator[Callable[[int], Callable[[], None]]]:
    """Return a function that puts a new process and its children into a control group with a limit in bytes."""
    root = Path("/sys/fs/cgroup")
    is_first_version = (root / "memory").is_dir()
    group = (root / "memory" if is_first_version else root) / f"convnet-roadmap-{os.getpid()}"

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    def limit(size: int) -> Callable[[], None]:
        try:
            group.mkdir()
            (group / ("memory.limit_in_bytes" if is_first_version else "memory.max")).write_text(str(size))
        except OSError as error:
            pytest.skip(f"no control group can be made: {error}")
        return enter

    yield limit
    if group.is_dir():
        group.rmdir()
