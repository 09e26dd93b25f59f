"""The record of a run's data: equal for any location and form of the same images, and different for others."""

import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roadmap.data.fingerprint import DataRecord, describe_changes, describe_replaced, record_data
from roadmap.data.sources import open_images
from roadmap.data.spec import DataSpec, Source


def record(spec: DataSpec) -> DataRecord:
    train, val = open_images(spec)
    return record_data(train, val, (len(train), len(val)))


def test_record_is_independent_of_location_and_archive(spec: DataSpec, photographs: Path, tmp_path: Path) -> None:
    """In any order in an archive."""
    expected = record(spec)
    assert (expected.train.images, expected.val.images, expected.classes) == (12, 4, ["ape", "cat"])
    assert expected.train.sizes["cat/5.jpg"] == os.path.getsize(photographs / "train/cat/5.jpg")
    for part in ("train", "val"):
        with tarfile.open(tmp_path / f"{part}.tar", "w") as tar:
            for path in sorted((photographs / part).rglob("*.jpg"), reverse=True):
                tar.add(path, path.relative_to(photographs / part))
        for name in ("ape", "cat"):
            shutil.make_archive(str(tmp_path / "by class" / part / name), "tar", photographs / part / name)
    moved = shutil.copytree(photographs, tmp_path / "moved")
    for root in (moved, tmp_path, tmp_path / "by class"):
        assert record(replace(spec, root=str(root), cache=None)) == expected
    assert DataRecord.from_checkpoint(expected.to_checkpoint()) == expected
    assert len(expected.fingerprint) == 12


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "an image more": (
        lambda root: shutil.copy(root / "train/cat/5.jpg", root / "train/cat/6.jpg"),
        ["train 12 images -> 13 images"],
    ),
    "an image less": (lambda root: (root / "val/cat/0.jpg").unlink(), ["val 4 images -> 3 images"]),
    "another name": (
        lambda root: (root / "train/ape/3.jpg").rename(root / "train/ape/x.jpg"),
        ["train 12 images of other names or classes, such as ape/3.jpg before"],
    ),
    "another class": (
        lambda root: [(root / part / "cat").rename(root / part / "dog") for part in ("train", "val")],
        [
            "classes ape, cat -> ape, dog",
            "train 12 images of other names or classes, such as cat/0.jpg before",
            "val 4 images of other names or classes, such as cat/0.jpg before",
        ],
    ),
    "exchanged labels": (
        lambda root: [
            (root / "train/ape").rename(root / "train/x"),
            (root / "train/cat").rename(root / "train/ape"),
            (root / "train/x").rename(root / "train/cat"),
        ],
        ["train 12 images of the same names but other sizes, such as ape/0.jpg"],
    ),
    "smaller files": (
        lambda root: [path.write_bytes(path.read_bytes()[:-1]) for path in (root / "train").rglob("*.jpg")],
        ["train 12 images of the same names but other sizes, such as ape/0.jpg"],
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_differences_of_data_are_described(spec: DataSpec, photographs: Path, kind: str) -> None:
    before = record(spec)
    change, expected = CHANGES[kind]
    change(photographs)
    after = record(spec)
    assert describe_changes(before, after) == expected
    assert (before.fingerprint == after.fingerprint) == (kind in ("smaller files", "exchanged labels"))


def test_single_replaced_files_are_allowed(spec: DataSpec, photographs: Path) -> None:
    before = record(spec)
    (photographs / "train/cat/3.jpg").write_bytes((photographs / "train/cat/4.jpg").read_bytes() + b"\0")
    after = record(spec)
    assert describe_changes(before, after) == []
    assert describe_replaced(before, after) == [
        "1 of 12 train files have another size than when the run began: cat/3.jpg"
    ]


def test_images_in_memory_are_recorded_by_their_pixels(spec: DataSpec) -> None:
    digits = replace(spec, source=Source.digits, num_classes=10)
    before, (train, val) = record(digits), open_images(digits)
    assert record(digits) == before
    assert len(before.train.sizes) == 239  # every sixth file
    train.images.images = np.zeros_like(train.images.images)
    assert describe_changes(before, record_data(train, val, (len(train), len(val)))) == [
        "train 1,433 images of the same names but other sizes, such as 0/0"
    ]


def test_held_out_images_are_recorded(spec: DataSpec) -> None:
    assert record(replace(spec, holdout=5)).val.images == 5
    assert describe_changes(record(replace(spec, holdout=5)), record(spec))[0] == "train 7 images -> 12 images"
