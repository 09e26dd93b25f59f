"""Shrinking of an image folder: every original is counted, and written files are complete."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from roadmap.cli.shrink import shrink_folder
from roadmap.data.class_folders import FolderImages
from roadmap.data.image_io import read_image
from roadmap.errors import DataError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two landscapes, a portrait, one that is already small, and a PNG."""
    generator = np.random.default_rng(0)
    sizes = {"train/ape/0.JPEG": (60, 40), "train/cat/1.jpg": (80, 40), "val/ape/2.jpg": (40, 90)}
    for name, (width, height) in {**sizes, "val/cat/3.jpg": (20, 30), "val/cat/4.png": (50, 50)}.items():
        path = tmp_path / "photographs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(path)
    return tmp_path / "photographs"


@pytest.fixture
def shrink(photographs: Path) -> Callable[..., tuple[dict[str, int], list[str]]]:
    def shrink(**changed: int | None) -> tuple[dict[str, int], list[str]]:
        settings = {"short_side": 32, "quality": 95, "workers": 1, **changed}
        counts, failures = shrink_folder(photographs, photographs.with_name("small"), **settings)
        return dict(counts), failures

    return shrink


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """300 images, more than a process's current and queued ones; reading the first blocks until it is written."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    os.mkfifo(folder / "000.png")
    for number in range(1, 300):
        Image.new("RGB", (8, 8)).save(folder / f"{number:03}.png")
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    words = [str(folder), str(folder.with_name("small")), "--short-side", "4", "--workers", "1"]
    return subprocess.Popen(
        [sys.executable, "scripts/shrink_images.py", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_images_are_shrunk_to_the_short_side(photographs: Path, shrink: Callable[..., Any]) -> None:
    assert shrink() == ({"shrunk": 4, "copied": 1}, [])
    small = photographs.with_name("small")
    paths = [path for path in small.rglob("*.*") if path.suffix not in (".json", ".txt")]
    heights = {path.name: read(path).shape[:2] for path in paths}
    assert heights == {
        "0.JPEG": (32, 48),
        "1.jpg": (32, 64),
        "2.jpg": (72, 32),
        "3.jpg": (30, 20),
        "4.png": (32, 32),
    }
    assert (small / "val/cat/3.jpg").read_bytes() == (photographs / "val/cat/3.jpg").read_bytes()
    name = "train/ape/0.JPEG"
    resized = Image.fromarray(read(photographs / name)).resize((48, 32), Image.Resampling.BICUBIC)
    assert np.abs(read(small / name).astype(int) - np.asarray(resized)).mean() < 3


def test_uncompressed_files_have_what_was_shrunk_to_the_last_bit(
    photographs: Path, shrink: Callable[..., Any]
) -> None:
    assert shrink(quality=None) == ({"shrunk": 4, "copied": 1}, [])
    assert shrink(quality=None) == ({"done before": 5}, [])
    small = photographs.with_name("small")
    for name, size in {"train/ape/0.JPEG": (48, 32), "val/cat/3.jpg": (20, 30), "val/cat/4.png": (32, 32)}.items():
        expected = Image.fromarray(read(photographs / name)).resize(size, Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(read_image(small / f"{name}.ppm"), np.asarray(expected))
    classes = ImageFolder(str(small / "val"), loader=read_image)
    assert (len(classes), classes.classes) == (3, ["ape", "cat"])
    with pytest.raises(DataError, match=r"was made with .*'uncompressed': True.*, not .*'quality': 95"):
        shrink()


def test_it_goes_on_where_it_was_stopped(photographs: Path, shrink: Callable[..., Any]) -> None:
    shrink()
    path = photographs.with_name("small") / "train/cat/1.jpg"
    before = path.read_bytes()
    path.unlink()
    assert shrink(workers=2)[0] == {"shrunk": 1, "done before": 4}
    assert path.read_bytes() == before


@pytest.mark.parametrize(("quality", "ending"), [(95, ""), (None, ".ppm")])
def test_an_image_that_has_changed_is_made_again(
    quality: int | None,
    ending: str,
    photographs: Path,
    shrink: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A newer original replaces its file; one that is damaged or gone leaves none that counts."""
    shrink(quality=quality)
    changed = photographs / "val/cat/4.png"
    small = photographs.with_name("small") / f"val/cat/4.png{ending}"
    later = small.stat().st_mtime + 1
    Image.new("RGB", (50, 50), (0, 0, 255)).save(changed)
    os.utime(changed, (later, later))
    os.utime(small, (later - 1, later - 1))
    assert shrink(quality=quality) == ({"made again": 1, "done before": 4}, [])
    assert Image.open(small).getpixel((0, 0)) == (0, 0, 255)
    os.utime(small, (later, later))
    assert shrink(quality=quality) == ({"done before": 5}, [])
    assert "without an original" not in capsys.readouterr().err

    changed.write_text("damaged")
    os.utime(changed, (later + 1, later + 1))
    assert shrink(quality=quality)[0] == {"failed": 1, "done before": 4}
    assert not small.exists()
    (photographs / "train/cat/1.jpg").unlink()
    shrink(quality=quality)
    error = " ".join(capsys.readouterr().err.split())
    assert f"has 1 images without an original, such as train/cat/1.jpg{ending}: delete them" in error


@pytest.mark.parametrize("damage", ["", "[]", '{"source'])
def test_damaged_settings_are_named(damage: str, photographs: Path, shrink: Callable[..., Any]) -> None:
    settings = photographs.with_name("small") / "shrunk.json"
    settings.parent.mkdir()
    settings.write_text(damage)
    with pytest.raises(DataError, match=r"small/shrunk\.json is damaged .* delete it if they are those of this"):
        shrink()
    settings.unlink()
    assert sum(shrink()[0].values()) == 5


def test_a_damaged_original_is_listed_and_not_written(photographs: Path, shrink: Callable[..., Any]) -> None:
    for name in ("train/ape/0.JPEG", "val/cat/3.jpg"):
        path = photographs / name
        path.write_bytes(path.read_bytes()[:-60])
    counts, failures = shrink()
    assert counts == {"shrunk": 3, "failed": 2}
    assert failures[0].startswith(f"{photographs / 'train/ape/0.JPEG'}: image file is truncated")
    small = photographs.with_name("small")
    assert (small / "failed.txt").read_text().splitlines() == failures
    assert sorted(path.name for path in small.rglob("*.*") if path.is_file()) == [
        "1.jpg",
        "2.jpg",
        "4.png",
        "failed.txt",
        "shrunk.json",
    ]


@pytest.mark.parametrize("inner", [".", "small", "train/small"])
def test_a_target_among_the_originals(inner: str, photographs: Path) -> None:
    before = sorted(photographs.rglob("*"))
    with pytest.raises(DataError, match="would be shrunk itself"):
        shrink_folder(photographs, photographs / inner, short_side=32, quality=95, workers=1)
    assert sorted(photographs.rglob("*")) == before


def test_an_interrupted_command_goes_on(waiting: Path) -> None:
    process = start(waiting)
    with (waiting / "000.png").open("wb"):  # blocks until it is read
        os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate()
    assert (process.returncode, output, errors) == (130, "", "stopped; run the same command again to go on\n")
    assert 0 < len(list(waiting.with_name("small").glob("[0-9]*.png"))) < 299
    (waiting / "000.png").unlink()
    again = start(waiting)
    output, _ = again.communicate()
    assert again.returncode == 0
    assert output.startswith("299 images: ")
    assert len(list(waiting.with_name("small").glob("[0-9]*.png"))) == 299


def test_a_process_that_dies_is_told(waiting: Path) -> None:
    process = start(waiting)
    with (waiting / "000.png").open("wb"):
        worker = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        os.kill(int(worker), signal.SIGKILL)
        output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert errors.startswith("error: a process that shrinks images died, often for want of memory")
    assert "Traceback" not in errors


def test_a_full_disk_ends_it(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "photographs").mkdir()
    for number in range(4):
        Image.new("RGB", (200, 200)).save(tmp_path / f"photographs/{number}.png")
    with pytest.raises(DataError, match=r"the disk is full\. Make room, and run the same command again"):
        shrink_folder(tmp_path / "photographs", small_disk / "small", short_side=200, quality=None, workers=1)
    assert sorted(path.name for path in (small_disk / "small").iterdir()) == [
        "0.png.ppm",
        "1.png.ppm",
        "shrunk.json",
    ]


def test_what_is_shrunk_is_what_is_trained_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The same files, and the same pixels: also of 16-bit gray, palettes and other endings."""
    folder = tmp_path / "photographs/cat"
    folder.mkdir(parents=True)
    levels = np.add.outer(np.arange(40), np.arange(40)).astype(np.uint16) * 800
    gray = Image.fromarray(levels)
    for name in ("1.png", "2.TIF", "3.pgm", os.fsdecode(b"caf\xe9.PNG")):
        gray.save(folder / name, format={".tif": "TIFF", ".pgm": "PPM"}.get(Path(name).suffix.lower(), "PNG"))
    colors = Image.fromarray((levels / 257).astype(np.uint8)).convert("RGB")
    colors.quantize(8).save(folder / "4.bmp", format="GIF")
    for name in ("5.jpg", "6.webp", "7.tiff", "8.bmp", "9.ppm"):
        colors.save(folder / name)
    for name in ("._1.png", ".ipynb_checkpoints/1.png", "1.gif", "labels.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no image")
    Image.fromarray(levels.astype(np.float32)).save(folder / "float.tif")
    for target, side, quality in (("small", 20, 95), ("same", 40, 95), ("plain", 40, None)):
        counts, failures = shrink_folder(
            tmp_path / "photographs", tmp_path / target, short_side=side, quality=quality, workers=1
        )
        assert dict(counts) == {"copied" if side == 40 else "shrunk": 10, "failed": 1}
        assert [failure.partition(": ")[0] for failure in failures] == [str(folder / "float.tif")]
        assert "its mode is F" in failures[0]
        originals, small = FolderImages(tmp_path / "photographs"), FolderImages(tmp_path / target)
        assert len(small) == 10
        kept = [path for path in originals.paths if not path.endswith("float.tif")]
        for original, path in zip(kept, small.paths, strict=True):
            expected = Image.fromarray(read_image(original)).resize((side, side), Image.Resampling.BICUBIC)
            is_lossy = quality and side == 20 and path.endswith(("jpg", "webp"))
            np.testing.assert_allclose(read_image(path), np.asarray(expected), atol=8 if is_lossy else 0)
    assert "files left out: 2 (1 .gif, 1 .csv). Images are" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["RGB", "16 bits"])
def test_an_orientation_is_obeyed_where_asked(tmp_path: Path, kind: str) -> None:
    """All orientations of a camera held sideways or upside down; training never applies them."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    levels = np.arange(24 * 16).reshape(16, 24).astype(np.uint16) * 160
    image = Image.fromarray(levels) if kind == "16 bits" else Image.fromarray((levels >> 8).astype(np.uint8))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(folder / f"{orientation}.png", exif=exif)
    options = {"short_side": 16, "quality": 95, "workers": 1}
    assert shrink_folder(folder, tmp_path / "as-it-is", **options) == ({"copied": 8}, [])
    assert shrink_folder(folder, tmp_path / "upright", **options, upright=True) == ({"copied": 1, "turned": 7}, [])
    stored = read_image(folder / "1.png")
    turned = stored.transpose(1, 0, 2)
    upright = [stored, stored[:, ::-1], stored[::-1, ::-1], stored[::-1]]
    upright += [turned, turned[:, ::-1], turned[::-1, ::-1], turned[::-1]]
    for orientation, expected in enumerate(upright, 1):
        name = f"{orientation}.png"
        np.testing.assert_array_equal(read_image(tmp_path / "as-it-is" / name), stored)
        np.testing.assert_array_equal(read_image(tmp_path / "upright" / name), expected)
    with pytest.raises(DataError, match=r"was made with .*'upright': True"):
        shrink_folder(folder, tmp_path / "upright", **options)


def test_names_reach_the_terminal_and_the_list_as_text(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / os.fsdecode(b"\x1b[2J\xe9\n.jpg")).write_bytes(b"no image")
    _, failures = shrink_folder(folder, tmp_path / "small", short_side=20, quality=95, workers=1)
    assert failures[0].startswith(rf"{folder}/\x1b[2J\xe9\n.jpg: ")
    assert (tmp_path / "small/failed.txt").read_text().splitlines() == failures


def test_a_folder_without_images(tmp_path: Path) -> None:
    empty = tmp_path / "photographs"
    with pytest.raises(DataError, match=r"there is no folder .*photographs"):
        shrink_folder(empty, tmp_path / "small", short_side=32, quality=95, workers=1)
    empty.mkdir()
    with pytest.raises(DataError, match="has no images"):
        shrink_folder(empty, tmp_path / "small", short_side=32, quality=95, workers=1)
