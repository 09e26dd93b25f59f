"""The cache of decoded images: intact or made again, by one process, and never partly written."""

import json
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadmap.data import cache, checked_dataset
from roadmap.data.cache import HEADER, find_folder, load_or_decode, read_cache
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.class_folders import FolderImages
from roadmap.data.decode import decode
from roadmap.data.sources import open_images
from roadmap.data.spec import DataSpec, Interpolation
from roadmap.errors import DataError


class CountedImages(CheckedDataset):
    """Records every read as a byte in a file, which processes share."""

    def __init__(self, images: CheckedDataset, log: Path):
        super().__init__(images.images, images.on_error)
        self.log = log

    def read(self, index: int) -> checked_dataset.Sample | None:
        with self.log.open("ab") as file:
            file.write(b".")
        return super().read(index)

    @property
    def count(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0


@pytest.fixture
def images(spec: DataSpec, tmp_path: Path) -> CountedImages:
    return CountedImages(open_images(spec)[0], tmp_path / "readings")


def find_cache(spec: DataSpec) -> Path:
    (path,) = Path(str(spec.cache)).glob("*.pixels")
    return path


def test_cached_pixels_equal_the_files(spec: DataSpec, images: CountedImages) -> None:
    decoded = decode(images, spec)
    assert decoded.pixels.shape == (12, 3, 16, 16)
    for pixels, path in zip(decoded.pixels, images.images.paths, strict=True):
        np.testing.assert_array_equal(pixels.transpose(1, 2, 0), np.asarray(Image.open(path)))
    np.testing.assert_array_equal(decoded.labels, images.images.labels)


def test_a_set_is_decoded_once(spec: DataSpec, images: CountedImages) -> None:
    first = decode(images, spec)
    readings = images.count
    assert readings >= 12
    again = decode(images, spec)
    assert images.count == readings
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert isinstance(again.pixels.base, np.memmap)


def test_names_that_are_not_utf8_can_be_cached(spec: DataSpec, photographs: Path, images: CountedImages) -> None:
    """Names of a file and of a class, such as from an old disk or a foreign archive."""
    labels = decode(images, spec).labels
    folder = photographs / "train" / os.fsdecode(b"chat-\xe9")
    (photographs / "train/cat").rename(folder)
    (folder / "0.jpg").rename(folder / os.fsdecode(b"\xe9.jpg"))
    renamed = CheckedDataset(FolderImages(photographs / "train"), spec.on_error)
    np.testing.assert_array_equal(decode(renamed, spec).labels, labels)
    assert any(renamed.name_of(index).endswith(r"\xe9.jpg") for index in range(12))
    assert len(list(Path(str(spec.cache)).glob("*.pixels"))) == 2


def test_each_image_size_has_its_own_cache(spec: DataSpec, images: CountedImages) -> None:
    for other in (spec, replace(spec, image_size=8), replace(spec, image_size=8, interpolation="bilinear")):
        spec_of = replace(other, interpolation=Interpolation(other.interpolation))
        assert decode(images, spec_of).pixels.shape[2] == other.image_size
    assert len(list(Path(str(spec.cache)).glob("*.pixels"))) == 3


@pytest.mark.parametrize("change", ["content", "time", "removal", "addition"])
def test_changed_data_set_is_decoded_again(
    spec: DataSpec, photographs: Path, images: CountedImages, change: str
) -> None:
    before = decode(images, spec).pixels.copy()
    path = photographs / "train/ape/3.jpg"
    if change == "content":
        Image.new("RGB", (16, 16), "red").save(path)
    elif change == "time":
        os.utime(path, ns=(0, 0))
    elif change == "removal":
        path.unlink()
    else:
        shutil.copy(path, path.with_name("9.jpg"))
    after = decode(CheckedDataset(open_images(spec)[0].images, spec.on_error), spec).pixels
    assert len(list(Path(str(spec.cache)).glob("*.pixels"))) == 2
    assert len(after) - len(before) == {"removal": -1, "addition": 1}.get(change, 0)
    if change == "content":
        assert not np.array_equal(after[3], before[3])


def flip_bits(path: Path, places: Iterable[int]) -> Iterator[None]:
    """Yield the file with each bit of these bytes flipped, one at a time."""
    content = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for place in places:
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([content[place] ^ 1 << bit]), place)
                yield
            os.pwrite(file.fileno(), content[place : place + 1], place)


def test_flipped_bit_in_a_cache_header_is_detected_or_harmless(tmp_path: Path) -> None:
    """The header lists the skipped images: an undetected change would drop another image, or train on zeros."""

    def fill(pixels: np.ndarray, labels: np.ndarray) -> list[int]:
        pixels[:] = np.arange(5, dtype=np.uint8)[:, None, None, None]
        labels[:] = np.arange(5)
        return [1, 3]

    path = tmp_path / "small.pixels"
    expected = load_or_decode(path, 5, 2, fill)
    assert expected.labels.tolist() == [0, 2, 4]
    content = path.read_bytes()
    line = content.index(b"\n") + 1
    read = 0
    for _ in flip_bits(path, [*range(line), *range(line, HEADER, 1000)]):
        decoded = read_cache(path)
        if decoded is not None:
            np.testing.assert_array_equal(decoded.pixels, expected.pixels)
            np.testing.assert_array_equal(decoded.labels, expected.labels)
            assert decoded.skipped == expected.skipped
            read += 1
    assert 0 < read < 8 * line


@pytest.mark.parametrize(
    "fields",
    [
        {"images": "5"},
        {"images": 5.0},
        {"images": True},
        {"images": -5},
        {"images": 0, "size": 0},
        {"size": [2]},
        {"skipped": None},
        {"skipped": {}},
        {"skipped": [1, 5]},
        {"skipped": ["1"]},
        {"skipped": [3]},
        {"digest": None},
        {"key": "another"},
        {"version": None},
        {"version": 99},
        {"colors": 3},
    ],
)
def test_cache_header_with_invalid_values_is_rejected(tmp_path: Path, fields: dict[str, object]) -> None:
    path = tmp_path / "small.pixels"
    load_or_decode(path, 5, 2, lambda pixels, labels: [])
    content = path.read_bytes()
    header = json.loads(content[:HEADER]) | fields
    path.write_bytes(json.dumps(header).encode().ljust(HEADER - 1) + b"\n" + content[HEADER:])
    assert read_cache(path) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: os.urandom(HEADER) + content[HEADER:],
        lambda content: b"[" * HEADER + content[HEADER:],
    ],
    ids=["a bit", "cut short", "empty", "no header", "nested"],
)
def test_damaged_cache_is_rewritten(
    spec: DataSpec, images: CountedImages, damage: Callable[[bytes], bytes]
) -> None:
    expected = decode(images, spec).pixels.copy()
    path = find_cache(spec)
    path.write_bytes(damage(path.read_bytes()))
    assert read_cache(path) is None
    readings = images.count
    np.testing.assert_array_equal(decode(images, spec).pixels, expected)
    assert images.count > readings
    assert read_cache(path) is not None


def test_concurrent_processes_decode_once(spec: DataSpec, images: CountedImages, tmp_path: Path) -> None:
    def work() -> None:
        decoded = decode(images, spec)
        np.save(tmp_path / f"pixels-{os.getpid()}.npy", decoded.pixels)

    processes = [multiprocessing.get_context("fork").Process(target=work) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    first, second = (np.load(path) for path in tmp_path.glob("pixels-*.npy"))
    np.testing.assert_array_equal(first, second)
    alone = images.count
    Path(find_cache(spec)).unlink()
    decode(images, spec)
    assert images.count == 2 * alone  # the number of reads of a single process


def test_killed_process_does_not_block_the_cache(spec: DataSpec, images: CountedImages) -> None:
    class SlowImages(CountedImages):
        def read(self, index: int) -> checked_dataset.Sample | None:
            if index == 5:
                time.sleep(60)
            return super().read(index)

    process = multiprocessing.get_context("fork").Process(
        target=lambda: decode(SlowImages(images, images.log), spec)
    )
    process.start()
    folder = Path(str(spec.cache))
    while not list(folder.glob(".*.pixels.*")):
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not list(folder.glob("*.pixels"))
    assert len(decode(images, spec).pixels) == 12
    assert not list(folder.glob(".*.pixels.*"))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit files to `size` bytes: the system fails larger writes as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_failed_cache_write_leaves_no_file(spec: DataSpec, images: CountedImages) -> None:
    with largest_file(HEADER + 100), pytest.raises(DataError) as caught:
        decode(images, spec)
    assert f"the cache of decoded images can't be written in {spec.cache}: File too large" in str(caught.value)
    assert "data.cache=FOLDER" in str(caught.value)
    assert [path.suffix for path in Path(str(spec.cache)).iterdir()] == [".lock"]
    assert images.count == 0  # detected before anything is decoded


def test_full_disk_is_an_error(spec: DataSpec, images: CountedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"it needs 13,408 bytes and 1,000 are free.*data\.cache=null"):
        decode(images, spec)
    assert [path.suffix for path in Path(str(spec.cache)).iterdir()] == [".lock"]


def test_cache_folder_that_is_a_file_is_an_error(spec: DataSpec, images: CountedImages, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"can't be written in .*file"):
        decode(images, replace(spec, cache=str(tmp_path / "file")))


def test_no_files_are_written_without_a_cache(
    spec: DataSpec, images: CountedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    decode(images, replace(spec, cache=None))
    assert not (tmp_path / "xdg").exists()
    decode(images, replace(spec, cache="auto"))
    assert len(list((tmp_path / "xdg/convnet-roadmap").glob("*.pixels"))) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert find_folder(replace(spec, cache="auto")) == Path.home() / ".cache/convnet-roadmap"
