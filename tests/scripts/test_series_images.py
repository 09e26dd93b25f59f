"""The archive of a series is unpacked once, completely, and another archive is never taken for it."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from roadmap.cli.series_images import unpack
from roadmap.errors import DataError


def pack(path: Path, text: str, at: str = "cifar10/train/cat/0.jpg") -> Path:
    """Write an archive with one image, all of the same size and time."""
    file = path.parent / path.stem / at
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / path.stem, ".")
    os.utime(path, (1, 1))
    return path


def test_images_are_unpacked_once(tmp_path: Path) -> None:
    archive = pack(tmp_path / "images.tar", "an image")
    found = unpack(archive, tmp_path / "to")
    assert found == tmp_path / "to/cifar10"
    assert (found / "train/cat/0.jpg").read_text() == "an image"
    (found / "train/cat/0.jpg").write_text("not unpacked again")
    os.utime(archive, (2, 2))
    copied = Path(shutil.copy(archive, tmp_path / "copy.tar"))
    for same in (archive, copied):
        assert unpack(same, tmp_path / "to") == found
    archive.unlink()
    assert unpack(archive, tmp_path / "to") == found
    assert (found / "train/cat/0.jpg").read_text() == "not unpacked again"
    with pytest.raises(DataError, match=r"images\.tar: can't be unpacked"):
        unpack(archive, tmp_path / "elsewhere")


def test_another_archive_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Even of the same size; a deleted one under another name is another too."""
    unpack(pack(tmp_path / "first.tar", "an image"), tmp_path / "to")
    second = pack(tmp_path / "second.tar", "another.")
    assert second.stat().st_size == (tmp_path / "first.tar").stat().st_size
    for other in (second, tmp_path / "absent.tar"):
        with pytest.raises(
            DataError, match=rf"has the images of another archive, first\.tar, not .*{other.name}\. "
        ):
            unpack(other, tmp_path / "to")
    (tmp_path / "to/.archive.json").unlink()
    with pytest.raises(DataError, match=r"does not record which archive.*--output-dir, or delete .*to to unpack"):
        unpack(second, tmp_path / "to")
    shutil.rmtree(tmp_path / "to")
    assert (unpack(second, tmp_path / "to") / "train/cat/0.jpg").read_text() == "another."


def test_an_unusable_or_interrupted_archive_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"flat\.tar: holds no train/"):
        unpack(pack(tmp_path / "flat.tar", "an image", "0.jpg"), tmp_path / "to")
    (tmp_path / "to.new/cifar10/train/dog").mkdir(parents=True)  # of a process that was killed
    found = unpack(pack(tmp_path / "images.tar", "an image"), tmp_path / "to")
    assert [path.name for path in (found / "train").iterdir()] == ["cat"]
    assert not (tmp_path / "to/0.jpg").exists()
