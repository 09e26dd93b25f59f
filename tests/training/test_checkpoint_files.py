"""What is read from a checkpoint's file is what was saved, or an error."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from roadmap.errors import RunError
from roadmap.training.checkpoint import load_checkpoint, save_checkpoint


def test_nothing_is_trusted_where_both_are_damaged(tmp_path: Path) -> None:
    newest, previous = tmp_path / "checkpoint.pt", tmp_path / "checkpoint.previous.pt"
    newest.write_bytes(b"")
    previous.write_bytes(b"PK")
    with pytest.raises(RunError, match="Nothing is left to go on from") as caught:
        load_checkpoint(newest, previous, "abc")
    assert str(newest) in str(caught.value)
    assert str(previous) in str(caught.value)


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    """Wherever it is: what loads is what was saved, or an error."""
    path = tmp_path / "checkpoint.pt"
    content: dict[str, Any] = {
        "config_hash": "abc",
        "model": {"a": torch.arange(500.0)},
        "history": [{"top1": 1.5}],
    }
    save_checkpoint(path, tmp_path / "previous.pt", content)
    whole = path.read_bytes()
    generator = random.Random(0)
    noticed = 0
    for _ in range(300):
        bit = generator.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(damaged))
        try:
            loaded, _ = load_checkpoint(path, tmp_path / "previous.pt", "abc")
        except RunError:
            noticed += 1
        else:
            assert loaded is not None
            torch.testing.assert_close(loaded["model"]["a"], content["model"]["a"], rtol=0, atol=0)
            assert loaded["history"] == content["history"]
    assert noticed > 150
