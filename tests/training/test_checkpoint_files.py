"""Reading a checkpoint's file gives what was saved, or an error."""

import argparse
import io
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from roadmap.errors import RunError
from roadmap.model.torch_file import write_sealed
from roadmap.training.checkpoint import FORMAT, load_checkpoint, save_checkpoint

CONTENT: dict[str, Any] = {"config_hash": "abc", "model": {"a": torch.arange(1.0, 5.0)}, "history": [{"top1": 1.5}]}


def flip(path: Path, bits: Iterator[int]) -> Iterator[int]:
    """Yield the file with one bit flipped at a time."""
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            file.seek(bit // 8)
            (byte,) = file.read(1)
            for content in (byte ^ 1 << bit % 8, byte):
                file.seek(bit // 8)
                file.write(bytes([content]))
                if content != byte:
                    yield bit


def equals(loaded: Any) -> bool:
    return torch.equal(loaded["model"].pop("a"), CONTENT["model"]["a"]) and {**loaded, "model": {}} == {
        **CONTENT,
        "model": {},
    }


@pytest.mark.parametrize("content", [b"", b"PK", b"weights", pickle.dumps(argparse.Namespace(lr=1))])
def test_two_damaged_checkpoints_are_an_error(tmp_path: Path, content: bytes) -> None:
    newest, previous = tmp_path / "checkpoint.pt", tmp_path / "checkpoint.previous.pt"
    newest.write_bytes(content)
    save_checkpoint(tmp_path / "whole.pt", tmp_path / "none.pt", CONTENT)
    previous.write_bytes((tmp_path / "whole.pt").read_bytes()[:-1000])
    with pytest.raises(RunError, match="There is no usable checkpoint") as caught:
        load_checkpoint(newest, previous, "abc")
    assert str(newest) in str(caught.value)
    assert f"{previous} is damaged: " in str(caught.value)


def test_flipped_bit_is_detected(tmp_path: Path) -> None:
    """Each bit of the directory and all after it, and some of those before."""
    path, none = tmp_path / "checkpoint.pt", tmp_path / "none.pt"
    save_checkpoint(path, none, CONTENT)
    size, directory = path.stat().st_size, path.read_bytes().index(b"PK\1\2")
    some = random.Random(0).sample(range(8 * directory), 300)
    for bit in flip(path, iter([*some, *range(8 * directory, 8 * size)])):
        try:
            load_checkpoint(path, none, "abc")
        except RunError as error:
            assert "is damaged" in str(error)  # noqa: PT017
        else:
            raise AssertionError(f"read with bit {bit} flipped")


@pytest.mark.system  # reads a file hundreds of times: 3 s
def test_flipped_bit_without_a_digest_is_detected_or_harmless(tmp_path: Path) -> None:
    """As written by earlier commits: torch.save only."""
    path, none = tmp_path / "checkpoint.pt", tmp_path / "none.pt"
    torch.save(CONTENT, path)
    assert equals(load_checkpoint(path, none, "abc")[0])
    size, directory = path.stat().st_size, path.read_bytes().index(b"PK\1\2")
    refused = 0
    for bit in flip(path, iter(range(8 * directory, 8 * size))):
        try:
            loaded, _ = load_checkpoint(path, none, "abc")
        except RunError:
            refused += 1
        else:
            assert equals(loaded), f"bit {bit}"
    assert refused > 1000


def look_like_a_folder(entry: zipfile.ZipInfo) -> None:
    entry.external_attr = 0x10


def end_in_a_slash(entry: zipfile.ZipInfo) -> None:
    entry.filename += "/"


@pytest.mark.parametrize("change", [look_like_a_folder, end_in_a_slash])
def test_entry_that_looks_like_a_folder_is_an_error(
    change: Callable[[zipfile.ZipInfo], None], tmp_path: Path
) -> None:
    """torch reads nothing from it, and returns uninitialized memory."""
    path = tmp_path / "checkpoint.pt"
    buffer = io.BytesIO()
    torch.save(CONTENT, buffer)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(path, "w") as other:
        for entry in archive.infolist():
            content = archive.read(entry)
            if entry.filename == "archive/data/0":
                change(entry)
            other.writestr(entry, content)
    with pytest.raises(RunError, match=r"is damaged: its entry 'archive/data/0/?' looks like a folder"):
        load_checkpoint(path, tmp_path / "none.pt", "abc")


def test_torch_load_reads_a_sealed_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint.pt", tmp_path / "none.pt", CONTENT)
    for mapped in (False, True):
        loaded = torch.load(tmp_path / "checkpoint.pt", weights_only=True, mmap=mapped)
        assert loaded.pop("format") == FORMAT
        assert equals(loaded)


def test_later_format_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(write_sealed({**CONTENT, "format": FORMAT + 1}))
    with pytest.raises(RunError, match=f"has format {FORMAT + 1}, and this version reads 1 to {FORMAT}"):
        load_checkpoint(tmp_path / "checkpoint.pt", tmp_path / "none.pt", "abc")
