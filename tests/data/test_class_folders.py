"""Class folders: which of their files are images, and which folders are classes."""

import os
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from roadmap.data.class_folders import FolderImages
from roadmap.data.image_files import ENDINGS
from roadmap.data.image_io import read_image
from roadmap.data.sources import open_images
from roadmap.data.spec import DataSpec

pytestmark = pytest.mark.usefixtures("warned")
MakeFiles = Callable[..., Path]


@pytest.fixture
def make_files(tmp_path: Path) -> MakeFiles:
    """Make files with the given names in a folder: images if the name is an image's."""

    def make(*names: str) -> Path:
        for number, name in enumerate(names):
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix.lower() in ENDINGS:
                Image.new("L", (4, 4), number).convert("RGB").save(path)
            else:
                path.write_text("no image")
        return tmp_path / "images"

    return make


def files(images: FolderImages) -> list[str]:
    return [os.path.relpath(path, images.root) for path in images.paths]


def test_endings_match_torchvision() -> None:
    assert ENDINGS == IMG_EXTENSIONS


def test_images_match_torchvision_in_order(make_files: MakeFiles) -> None:
    """If nothing is hidden: also in folders below a class, with capital letters, and beside other files."""
    root = make_files(
        *("b/2.JPG", "b/10.jpeg", "b/deep-er/1.png", "b/deep/er/1.webp", "b/deep/0.TIF", "b/a.txt"),
        *("A/x.bmp", "A/x.ppm", "A/x.y.jpg", "A/x.jpg.ppm", "a/z.pgm", "a/notes", "a/z.gif"),
    )
    ours, theirs = FolderImages(root), ImageFolder(str(root), loader=read_image)
    assert list(zip(ours.paths, ours.labels, strict=True)) == theirs.samples
    assert ours.classes == theirs.classes == ["A", "a", "b"]
    for index in range(len(theirs)):
        np.testing.assert_array_equal(ours[index][0], theirs[index][0])


def test_hidden_files_are_ignored_everywhere(make_files: MakeFiles, capfd: pytest.CaptureFixture[str]) -> None:
    root = make_files(
        *("cat/1.jpg", "cat/._1.jpg", "cat/.ipynb_checkpoints/1-checkpoint.jpg", "cat/deep/.trash/1.jpg"),
        *("dog/1.jpg", "dog/.DS_Store", "dog/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg"),
        *(".ipynb_checkpoints/1.jpg", "__MACOSX/cat/._1.jpg", ".DS_Store"),
    )
    images = FolderImages(root)
    assert images.classes == ["cat", "dog"]
    assert files(images) == ["cat/1.jpg", "dog/1.jpg"]
    assert capfd.readouterr().err == ""


def test_data_root_may_be_in_a_hidden_folder(make_files: MakeFiles, tmp_path: Path) -> None:
    make_files("cat/1.jpg", "dog/1.jpg").rename(tmp_path / ".cache")
    assert len(FolderImages(tmp_path / ".cache")) == 2


def test_one_warning_counts_the_files_left_out(make_files: MakeFiles, capfd: pytest.CaptureFixture[str]) -> None:
    root = make_files(
        *("cat/1.jpg", "cat/2.gif", "cat/3.GIF", "cat/4.avif", "dog/1.jpg", "dog/deep/2.gif", "dog/LICENSE"),
        *("1.jpg", "2.jpg", "index.csv"),
    )
    for _ in range(2):
        FolderImages(root)
    message = " ".join(capfd.readouterr().err.split())
    assert message == (
        f"warning: {root}: files left out: 8 (3 .gif, 2 images outside of the class folders, 1 .csv, 1 .avif, "
        f"1 without an ending). Images are {', '.join(ENDINGS)}"
    )


def test_links_are_followed_except_loops(make_files: MakeFiles) -> None:
    root = make_files("cat/1.jpg", "dog/1.jpg", "../more/2.jpg")
    (root / "cat/more").symlink_to(root.parent / "more")
    (root / "cat/itself").symlink_to(root / "cat")
    (root / "dog/all").symlink_to(root)
    (root / "dog/file.jpg").symlink_to(root / "dog/1.jpg")
    assert files(FolderImages(root)) == ["cat/1.jpg", "cat/more/2.jpg", "dog/1.jpg", "dog/file.jpg"]


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "épagneul") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("train", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("val", [COMPOSED, DECOMPOSED])
def test_composed_and_decomposed_class_names_match(
    make_files: MakeFiles, spec: DataSpec, train: str, val: str
) -> None:
    """Its index is the training folder's, where é sorts after z, or as two characters with e."""
    root = make_files(f"train/{train}/1.png", "train/zebra/1.png", f"val/{val}/1.png", "val/zebra/1.png")
    expected = [("zebra", COMPOSED), (COMPOSED, "zebra")][train == DECOMPOSED]
    for part in (images.images for images in open_images(replace(spec, root=str(root)))):
        assert tuple(part.classes) == expected
        for path, label in zip(part.paths, part.labels, strict=True):
            assert expected[label] == unicodedata.normalize("NFC", Path(path).parent.name)


def test_class_folders_in_both_unicode_forms_are_merged(make_files: MakeFiles) -> None:
    """For example after a class was copied from macOS into an existing one."""
    images = FolderImages(make_files(f"{COMPOSED}/1.png", f"{DECOMPOSED}/2.png", "zebra/1.png"))
    assert images.classes == [COMPOSED, "zebra"]
    assert images.labels.tolist() == [0, 1, 0]
