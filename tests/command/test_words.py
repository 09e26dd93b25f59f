"""Preparation of train.py's arguments before Hydra parses them."""

import sys

import pytest
from hydra._internal.utils import get_args_parser

from roadmap import command


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["-m", "+roadmap=step0_resnet", "seed=0,1", "hydra/launcher=processes"], "2"),
        (["-m", "+sweep=leave_one_out", "hydra/launcher=processes", "hydra.launcher.n_jobs=1"], "1"),
        (["-m", "hydra/launcher=joblib", "+sweep=kernel_size"], None),
    ],
)
def test_processes_are_as_many_as_gpus_unless_told_otherwise(
    words: list[str], count: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(command, "find_gpus", lambda: ["0", "1"])
    monkeypatch.setattr(command, "_run_all", lambda *_: 0)
    monkeypatch.setattr(sys, "argv", ["train.py", *words, f"output_dir={tmp_path}"])
    assert command.main(lambda: None) == 0
    given = get_args_parser().parse_args(sys.argv[1:])  # as parsed by Hydra
    assert given.multirun
    counts = [word.partition("=")[2] for word in given.overrides if word.startswith("hydra.launcher.n_jobs=")]
    assert (counts or [None])[-1] == count
    assert not any(word.startswith("+sweep") for word in given.overrides)
