"""Images in archives, compared with timm's reading of the same files."""

import json
import os
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.data import ImageDataset, create_dataset
from timm.data.readers.reader_image_in_tar import ReaderImageInTar

from roadmap.data.archives import HubDataset, TarDataset
from roadmap.data.augment.normalize_erase import NormalizeAndErase
from roadmap.data.augment.per_image import build_eval_transform
from roadmap.data.cache import fingerprint
from roadmap.data.decode import decode
from roadmap.data.locate_train_val import find_split
from roadmap.data.sampler import EpochSampler
from roadmap.data.sources import open_images, open_validation
from roadmap.data.spec import DataSpec, OnError
from roadmap.data.worker_loader import WorkerTrainLoader
from roadmap.errors import DataError

WriteTar = Callable[[str, Mapping[str, bytes]], Path]
PackShards = Callable[..., Path]
timm_leaves_archives_open = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def pack(folder: Path, archive: Path) -> Path:
    """Pack all of a folder's files, with their paths in it."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w") as tar:
        for path in sorted(folder.rglob("*.jpg")):
            tar.add(path, path.relative_to(folder))
    return archive


def pack_splits(folder: Path) -> Path:
    """Pack the training and the validation images beside their folder, and return the archives' folder."""
    for split in ("train", "val"):
        archive = pack(folder / split, folder.parent / f"archives/{split}.tar")
    return archive.parent


@pytest.fixture
def pack_shards(photographs: Path, write_tar: WriteTar) -> PackShards:
    """Write WebDataset shards of 5 images, named like timm's own sets, and the file that describes them."""

    def pack(label: str = "cls") -> Path:
        splits = {}
        for part in ("train", "val"):
            paths = sorted((photographs / part).rglob("*.jpg"))
            pieces = [paths[start : start + 5] for start in range(0, len(paths), 5)]
            names = [f"small-{part}-{number:04d}.tar" for number in range(len(pieces))]
            for name, piece in zip(names, pieces, strict=True):
                files = {}
                for path in piece:
                    number = ("ape", "cat").index(path.parent.name)
                    text = str(number) if label == "cls" else json.dumps({"label": number})
                    key = f"{path.parent.name}-{path.stem}"
                    files |= {f"{key}.jpg": path.read_bytes(), f"{key}.{label}": text.encode()}
                shard = write_tar(f"shards/{name}", files)
            lengths = [len(piece) for piece in pieces]
            facts = {"name": part, "filenames": names, "shard_lengths": lengths, "num_samples": sum(lengths)}
            splits[part] = facts
        shard.with_name("_info.json").write_text(json.dumps({"splits": splits}))
        return shard.parent

    return pack


def contents(images: Any) -> list[tuple[int, bytes]]:
    """Return labels and pixels of all images, in an order that does not depend on theirs."""
    pairs = (images[index] for index in range(len(images)))
    return sorted((int(label), np.asarray(image).tobytes()) for image, label in pairs)


@timm_leaves_archives_open
def test_an_archive_of_class_folders(spec: DataSpec, photographs: Path) -> None:
    expected = [contents(images) for images in open_images(spec)]
    root = pack_splits(photographs)
    for archive in root.iterdir():
        theirs = create_dataset("", root=str(archive))
        assert contents(TarDataset([archive], 2)) == contents(theirs)
    ours = open_images(replace(spec, root=str(root)))
    assert [contents(images) for images in ours] == expected
    assert ours[0].images.classes == ["ape", "cat"]
    assert contents(open_validation(replace(spec, root=str(root)))) == expected[1]


@pytest.mark.parametrize("prefix", ["", "./"])  # as written by tar -C FOLDER .
def test_archive_and_folder_have_the_same_class_indices(
    spec: DataSpec, photographs: Path, tmp_path: Path, prefix: str
) -> None:
    """For any names: timm would sort american_bulldog first, and 2 before 10."""
    names = ("Bengal", "american_bulldog", "2", "10")
    numbers = dict.fromkeys(names)
    for part in ("train", "val"):
        with tarfile.open(tmp_path / f"{part}.tar", "w") as tar:
            for name, source in zip(names, sorted((photographs / part).rglob("*.jpg")), strict=False):
                copy = tmp_path / "folder" / part / name / "image.jpg"
                copy.parent.mkdir(parents=True)
                copy.write_bytes(source.read_bytes())
                tar.add(copy, f"{prefix}{name}/image.jpg")
    spec = replace(spec, num_classes=4)
    folder, archive = (
        open_images(replace(spec, root=str(root)))[0].images for root in (tmp_path / "folder", tmp_path)
    )
    assert archive.classes == folder.classes == sorted(numbers)
    assert contents(archive) == contents(folder)


@pytest.mark.parametrize("prefix", ["", "./", "train/"])
@pytest.mark.parametrize("below", ["images/", "{name}/", "images/a/"])
def test_classes_in_an_archive_are_the_first_folders_as_in_a_folder(
    spec: DataSpec, photographs: Path, tmp_path: Path, prefix: str, below: str
) -> None:
    """As in Tiny-ImageNet's CLASS/images/*.JPEG; some images may lie higher."""
    for part in ("train", "val"):
        with tarfile.open(tmp_path / f"{part}.tar", "w") as tar:
            for source in sorted((photographs / part).rglob("*.jpg")):
                inner = "" if source.stem.endswith("1") else below.format(name=source.stem)
                copy = tmp_path / "folder" / part / source.parent.name / inner / source.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(source.read_bytes())
                tar.add(copy, f"{prefix}{source.parent.name}/{inner}{source.name}")
    for folder, archive in zip(
        *(open_images(replace(spec, root=str(root))) for root in (tmp_path / "folder", tmp_path)), strict=True
    ):
        assert archive.images.classes == folder.images.classes == ["ape", "cat"]
        assert contents(archive) == contents(folder)


def test_validation_images_of_one_class_in_an_archive_are_of_that_class(
    spec: DataSpec, photographs: Path, tmp_path: Path
) -> None:
    pack(photographs / "train", tmp_path / "train.tar")
    with tarfile.open(tmp_path / "val.tar", "w") as tar:
        for path in (photographs / "val" / "cat").glob("*.jpg"):
            tar.add(path, f"val/cat/{path.name}")
    _, val = open_images(replace(spec, root=str(tmp_path)))
    assert {val[index][1] for index in range(len(val))} == {1}


def test_an_archive_of_one_class_is_refused_without_advice_to_train_on_one(
    spec: DataSpec, photographs: Path, tmp_path: Path
) -> None:
    pack(photographs / "train" / "cat", tmp_path / "train.tar")
    with pytest.raises(DataError) as caught:
        open_images(replace(spec, root=str(tmp_path)))
    assert str(caught.value).endswith("the configuration says 2: expected images of at least two classes")


def test_an_archive_in_any_order_has_the_order_of_its_folder(spec: DataSpec, photographs: Path) -> None:
    """So that the same files have the same batches and the same held-out images."""
    root = photographs.parent / "archives"
    root.mkdir()
    for part in ("train", "val"):
        paths = sorted((photographs / part).rglob("*.jpg"), key=lambda path: path.stat().st_size)
        assert paths != sorted(paths)
        with tarfile.open(root / f"{part}.tar", "w") as tar:
            for path in paths:
                tar.add(path, path.relative_to(photographs / part))
    for holdout in (0, 5):
        folder, archive = (
            open_images(replace(spec, root=str(place), holdout=holdout)) for place in (photographs, root)
        )
        for ours, theirs in zip(archive, folder, strict=True):
            assert len(ours) == len(theirs)
            for index in range(len(ours)):
                assert (ours[index][0] == theirs[index][0]).all()
                assert ours[index][1] == theirs[index][1]


@timm_leaves_archives_open
def test_one_archive_per_class(spec: DataSpec, photographs: Path, tmp_path: Path) -> None:
    root = tmp_path / "archives"
    for part in ("train", "val"):
        for name in ("ape", "cat"):
            pack(photographs / part / name, root / part / f"{name}.tar")
    expected = [contents(images) for images in open_images(spec)]
    assert [contents(images) for images in open_images(replace(spec, root=str(root)))] == expected
    theirs = ImageDataset(str(root / "train"), reader=ReaderImageInTar(str(root / "train")))
    assert contents(theirs) == expected[0]


@pytest.mark.parametrize("label", ["cls", "json"])
def test_webdataset_shards_are_read(spec: DataSpec, pack_shards: PackShards, label: str) -> None:
    root = pack_shards(label)
    expected = [contents(images) for images in open_images(spec)]
    ours = open_images(replace(spec, root=str(root)))
    assert [contents(images) for images in ours] == expected
    assert ours[0].images.classes == ["0", "1"]
    shards = find_split(root, ["train"])
    assert isinstance(shards, list)
    assert len(shards) == 3


@timm_leaves_archives_open
def test_webdataset_shards_match_timm(spec: DataSpec, pack_shards: PackShards) -> None:
    pytest.importorskip("webdataset", reason="timm reads shards with this library; ours are read without")
    root = pack_shards()
    theirs = create_dataset("wds/", root=str(root), split="val")
    pairs = sorted((int(label), np.asarray(image).tobytes()) for image, label in theirs)
    assert contents(open_images(replace(spec, root=str(root)))[1]) == pairs


def test_dataloader_workers_share_an_archive(spec: DataSpec, photographs: Path) -> None:
    """An image is read before the workers start, as when the way to the device is chosen."""
    images, _ = open_images(replace(spec, root=str(pack_splits(photographs))))
    assert images[0][0].shape == (16, 16, 3)
    transform = build_eval_transform(spec)
    finish, order = NormalizeAndErase(spec, torch.device("cpu")), EpochSampler(12, 2, 1, 0)
    loaders = (WorkerTrainLoader(images, transform, finish, order, workers=workers) for workers in (0, 2))
    alone, shared = ([batch for update in loader.epoch(0) for batch in update] for loader in loaders)
    assert all((a.images == b.images).all() for a, b in zip(alone, shared, strict=True))


def test_error_names_a_damaged_image_in_an_archive(spec: DataSpec, photographs: Path) -> None:
    damaged = photographs / "val/cat/1.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-80])
    spec = replace(spec, root=str(pack_splits(photographs)))
    _, images = open_images(spec)
    with pytest.raises(DataError, match=r"archives/val\.tar: cat/1\.jpg can't be read: image file is truncated"):
        [images[index] for index in range(4)]
    _, images = open_images(replace(spec, on_error=OnError.skip))
    assert [images.read(index) is None for index in range(4)] == [False, False, False, True]


@pytest.mark.parametrize("holdout", [0, 5])
def test_an_archive_is_decoded_once(
    spec: DataSpec, photographs: Path, holdout: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pack_splits(photographs)
    spec = replace(spec, root=str(root), holdout=holdout)
    first = [decode(images, spec) for images in open_images(spec)]
    read = TarDataset.pixels_of
    read_again: list[int] = []
    monkeypatch.setattr(TarDataset, "pixels_of", lambda self, i: read_again.append(i) or read(self, i))
    for before, images in zip(first, open_images(spec), strict=True):
        assert (decode(images, spec).pixels == before.pixels).all()
    assert not read_again
    archive = root / "train.tar"
    os.utime(archive, ns=(0, archive.stat().st_mtime_ns + 1))
    decode(open_images(spec)[0], spec)
    assert len(set(read_again)) == 12 - holdout


@pytest.mark.parametrize("damage", ["cut short", "no archive", "compressed", "empty"])
def test_unreadable_archive_is_an_error(spec: DataSpec, photographs: Path, damage: str) -> None:
    root = pack_splits(photographs)
    path = root / "train.tar"
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:3000])
    elif damage == "no archive":
        path.write_bytes(b"no archive" * 200)
    elif damage == "compressed":
        with tarfile.open(path, "w:gz") as tar:
            tar.add(photographs / "train", ".")
    else:
        tarfile.open(path, "w").close()
    with pytest.raises(DataError, match=r"train\.tar (can't be read as an uncompressed tar|has no images)"):
        open_images(replace(spec, root=str(root)))


def test_error_names_the_missing_hugging_face_library(spec: DataSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"data\.root=hfds/some/set needs .*pip install datasets"):
        open_images(replace(spec, root="hfds/some/set"))


def test_hugging_face_data_set_is_read(spec: DataSpec, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="needs the extra huggingface")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    expected = [contents(images) for images in open_images(spec)]
    ours = [HubDataset(str(photographs), splits, 2) for splits in (["train"], ["val", "test", "validation"])]
    assert [contents(images) for images in ours] == expected
    assert ours[0].classes == ["ape", "cat"]
    again = HubDataset(str(photographs), ["train"], 2)
    assert [fingerprint(images, spec) == fingerprint(ours[0], spec) for images in (again, ours[1])] == [True, False]
