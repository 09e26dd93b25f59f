"""A run's folder has the overrides that it was last started with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from roadmap.errors import DamagedError
from roadmap.runs.overrides import OVERRIDES, read_overrides, write_overrides
from roadmap.runs.run_dir import RunDir

WORDS = ["--config-dir=/own configs", "+roadmap='step12_downsample,norm=batchnorm'", "data.note='Blüten: a, \"b\"'"]


def test_claimed_run_records_its_overrides(open_run: Callable[..., RunDir]) -> None:
    run = open_run("seed=3", "model/kernel_size=9")
    run.claim()
    assert read_overrides(run.path) == ("+roadmap=step0_resnet", "seed=3", "model/kernel_size=9")


def test_overrides_round_trip(tmp_path: Path) -> None:
    assert read_overrides(tmp_path) is None
    for words in (WORDS, []):
        write_overrides(tmp_path, words)
        assert read_overrides(tmp_path) == tuple(words)
    write_overrides(tmp_path, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["a: 1", "- 1", "- [a]", '- "\\e[2J"', "[", "[" * 9999, b"\xff", "x" * 2**21])
def test_a_damaged_file_is_named(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / OVERRIDES).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DamagedError, match=f"{tmp_path}/overrides.yaml is damaged"):
        read_overrides(tmp_path)
