"""Unreadable images: named in errors, and under data.on_error=skip left out and counted."""

import faulthandler
import gc
import io
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from roadmap.data.augment.normalize_erase import NormalizeAndErase
from roadmap.data.augment.per_image import build_eval_transform
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.decode import decode
from roadmap.data.sampler import Batch, EpochSampler
from roadmap.data.sources import open_images
from roadmap.data.spec import DataSpec, OnError
from roadmap.data.worker_loader import WorkerEvalLoader, WorkerTrainLoader
from roadmap.errors import DataError, WorkerLostError, WorkerMemoryError


def break_png(_: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, format="png")
    content = bytearray(file.getvalue())
    content[45] ^= 255  # within the compressed pixels
    return bytes(content)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-80],
    "scrambled": lambda _: np.random.default_rng(0).bytes(500),
    "empty": lambda _: b"",
    "broken PNG": break_png,
    "text": lambda _: b"<html>404 Not Found</html>",
}


def damage(path: Path, kind: str) -> None:
    path.write_bytes(DAMAGES[kind](path.read_bytes()))


@pytest.fixture
def damaged(photographs: Path) -> Path:
    """Damage the fourth of twelve training images."""
    path = photographs / "train/ape/3.jpg"
    damage(path, "truncated")
    return path


def train_batches(images: CheckedDataset, spec: DataSpec, workers: int = 0) -> WorkerTrainLoader:
    finish = NormalizeAndErase(spec, torch.device("cpu"))
    return WorkerTrainLoader(images, build_eval_transform(spec), finish, EpochSampler(12, 4, 1, 0), workers=workers)


def read_epoch(batches: WorkerTrainLoader) -> list[Batch]:
    return [batch for update in batches.epoch(0) for batch in update]


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_image_stops_the_run_and_is_named(spec: DataSpec, photographs: Path, kind: str) -> None:
    path = photographs / "train/ape/3.jpg"
    damage(path, kind)
    images, _ = open_images(spec)
    for read in (lambda: read_epoch(train_batches(images, spec)), lambda: decode(images, spec)):
        with pytest.raises(DataError) as caught:
            read()
        assert str(caught.value).startswith(f"{path} can't be read: ")
        assert "data.on_error=skip" in str(caught.value)
    assert not list(Path(str(spec.cache)).glob("*.pixels"))


def test_workers_report_the_same_error(spec: DataSpec, damaged: Path) -> None:
    images, _ = open_images(spec)
    with pytest.raises(DataError) as caught:
        read_epoch(train_batches(images, spec, workers=1))
    assert str(caught.value).startswith(f"{damaged} can't be read: ")
    assert "Traceback" not in str(caught.value)
    start = time.monotonic()
    del caught
    gc.collect()
    assert multiprocessing.active_children() == []
    assert time.monotonic() - start < 5  # the time that torch waits for a worker that was not told to end


@pytest.mark.parametrize("workers", [0, 2])
def test_skipping_keeps_the_size_of_training_batches(
    spec: DataSpec, damaged: Path, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    images, _ = open_images(replace(spec, on_error=OnError.skip))
    batches = read_epoch(train_batches(images, spec, workers))
    assert [len(batch.labels) for batch in batches] == [4, 4, 4]
    assert images.describe_skipped() == f"1 of 12 images were skipped: {damaged}"
    assert capfd.readouterr().err.count(f"skipped: {damaged} can't be read") == 1
    levels = torch.from_numpy(build_eval_transform(spec)(images[4][0])).permute(2, 0, 1)
    following = NormalizeAndErase(spec, torch.device("cpu"))(Batch(levels[None], torch.zeros(1)), 0).images[0]
    copies = [image for batch in batches for image in batch.images if torch.equal(image, following)]
    assert len(copies) == 2  # its own, and the replacement of the skipped one


def test_skipping_leaves_images_out_of_an_evaluation(spec: DataSpec, photographs: Path) -> None:
    for name in ("ape/0.jpg", "ape/1.jpg"):
        damage(photographs / "val" / name, "scrambled")
    _, images = open_images(replace(spec, on_error=OnError.skip))
    batches = list(
        WorkerEvalLoader(
            images, build_eval_transform(spec), NormalizeAndErase(spec, torch.device("cpu")), batch_size=2
        )
    )
    assert [batch.labels.tolist() for batch in batches] == [[1, 1]]
    assert str(images.describe_skipped()).startswith("2 of 4 images")


def test_skipping_leaves_images_out_of_the_cache(spec: DataSpec, damaged: Path) -> None:
    """The second run, which reads the cache, reports them like the first."""
    skipping = replace(spec, on_error=OnError.skip)
    for _ in range(2):
        images, _ = open_images(skipping)
        decoded = decode(images, skipping)
        assert len(decoded.pixels) == len(decoded.labels) == 11
        assert images.describe_skipped() == f"1 of 12 images were skipped: {damaged}"
    images, _ = open_images(spec)
    with pytest.raises(DataError, match="can't be read"):
        decode(images, spec)


def test_data_set_without_a_readable_image_is_an_error(spec: DataSpec, photographs: Path) -> None:
    for path in photographs.glob("train/*/*.jpg"):
        damage(path, "empty")
    images, _ = open_images(replace(spec, on_error=OnError.skip))
    with pytest.raises(DataError, match="none of the 12 images can be read"):
        read_epoch(train_batches(images, spec))


def test_system_errors_are_not_skipped(spec: DataSpec, photographs: Path) -> None:
    """It may be available again in a moment, and skipping it would drop images without need."""
    images, _ = open_images(replace(spec, on_error=OnError.skip))
    (photographs / "train/ape/3.jpg").unlink()
    with pytest.raises(DataError, match=r"3\.jpg can't be read: .*No such file"):
        read_epoch(train_batches(images, spec))


def test_skipped_images_are_counted_and_the_first_named(spec: DataSpec, photographs: Path) -> None:
    images, _ = open_images(spec)
    images.mark_skipped(list(range(7)))
    assert str(images.describe_skipped()).endswith(f"{photographs / 'train/ape/4.jpg'} and 2 more")


@pytest.mark.parametrize(
    ("end", "kind", "text"),
    [
        (
            signal.SIGKILL,
            WorkerLostError,
            r"killed from outside \(SIGKILL\)\. Run the same command again to resume",
        ),
        (signal.SIGSEGV, DataError, r"crashed \(SIGSEGV\)"),
        (signal.SIGBUS, WorkerMemoryError, r"killed for lack of shared memory \(/dev/shm\)"),
    ],
)
def test_error_names_the_cause_of_a_workers_death(
    spec: DataSpec, end: signal.Signals, kind: type[DataError], text: str
) -> None:
    class Deadly(CheckedDataset):
        def read(self, index: int) -> None:
            faulthandler.disable()  # pytest enabled it
            os.kill(os.getpid(), end)

    images, _ = open_images(spec)
    deadly = Deadly(images.images, OnError.stop)
    with pytest.raises(DataError, match=f"a dataloader worker (was )?{text}") as caught:
        read_epoch(train_batches(deadly, spec, workers=1))
    assert type(caught.value) is kind


def test_worker_out_of_memory_is_reported(spec: DataSpec) -> None:
    class Huge(CheckedDataset):
        def read(self, index: int) -> None:
            raise MemoryError

    images, _ = open_images(spec)
    with pytest.raises(WorkerMemoryError, match="a dataloader worker ran out of memory") as caught:
        read_epoch(train_batches(Huge(images.images, OnError.stop), spec, workers=2))
    assert caught.value.workers == 2
