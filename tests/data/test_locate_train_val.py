"""The location of a part's images, parts that exist twice, and the image files of an archive."""

import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from roadmap.data.archives import TarDataset
from roadmap.data.class_folders import FolderImages
from roadmap.data.image_files import ENDINGS
from roadmap.data.locate_train_val import VALIDATION_NAMES, find_split
from roadmap.data.sources import open_images, open_validation
from roadmap.data.spec import DataSpec, Source
from roadmap.errors import DataError

pytestmark = pytest.mark.usefixtures("warned")
MakeArchive = Callable[..., Path]


def image_file(number: int, kind: str = "png") -> bytes:
    content = io.BytesIO()
    Image.new("L", (4, 4), number).save(content, format=kind)
    return content.getvalue()


@pytest.fixture
def make_archive(write_tar: Callable[[str, Mapping[str, bytes]], Path]) -> MakeArchive:
    """Make an archive of named files: images of a single gray level, and texts."""

    def make(files: dict[str, int | str], name: str = "train.tar") -> Path:
        items = files.items()
        return write_tar(name, {path: image_file(v) if isinstance(v, int) else v.encode() for path, v in items})

    return make


def levels(images: TarDataset) -> dict[int, int]:
    """Return the class of each image by its gray level."""
    return {int(pixels[0, 0, 0]): label for pixels, label in (images[index] for index in range(len(images)))}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("train/", "train.tar"),
        ("train/", "train/cat.tar"),
        ("train/", "train-0000.tar"),
        ("train/", "photographs-train-0000.tar"),
        ("train.tar", "train-0000.tar"),
        ("train.tar", "photographs-train-0000.tar"),
        ("train.tar", "photographs-train.tar"),
        ("train/cat.tar", "train.tar"),
        ("train/", "train.TAR"),
    ],
)
def test_split_that_exists_twice_is_an_error(
    spec: DataSpec, photographs: Path, make_archive: MakeArchive, first: str, second: str
) -> None:
    """Otherwise one of them is used silently, such as an archive that is older than the cleaned folder."""
    if first != "train/":
        (photographs / "train").rename(photographs / "elsewhere")
    for name in (first, second):
        if not name.endswith("/"):
            make_archive({"ape/1.png": 1, "cat/1.png": 2}, f"photographs/{name}")
    with pytest.raises(DataError) as caught:
        open_images(spec)
    for name in (first, second):
        assert str(photographs / name).rstrip("/") in str(caught.value)
    assert "both exist" in str(caught.value)
    assert len(open_validation(spec)) == 4


def test_split_that_exists_once_is_found(photographs: Path, make_archive: MakeArchive) -> None:
    train = photographs / "train"
    assert find_split(photographs, ["train"]) == train
    make_archive({"a.txt": ""}, "photographs/training.tar")
    make_archive({"a.txt": ""}, "photographs/.train.tar")
    make_archive({"a.txt": ""}, "photographs/._x-train-0000.tar")
    make_archive({"a.txt": ""}, "photographs/train/.ape.tar")
    assert find_split(photographs, ["train"]) == train
    (photographs / "val").rename(photographs / "elsewhere")
    (photographs / "val").mkdir()  # an empty folder does not count
    archive = make_archive({"a.txt": ""}, "photographs/val.tar")
    assert find_split(photographs, VALIDATION_NAMES) == [archive]


@pytest.mark.parametrize(
    ("names", "taken", "warned"),
    [
        (("val", "test"), "val", False),
        (("test",), "test", False),
        (("test", "validation"), "test", True),
        (("val", "validation"), "val", True),
    ],
)
def test_ambiguous_validation_split_is_warned_about(
    photographs: Path, names: tuple[str, ...], taken: str, warned: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    (photographs / "val").rename(photographs / "elsewhere")
    for name in names:
        (photographs / name / "cat").mkdir(parents=True)
    assert find_split(photographs, VALIDATION_NAMES) == photographs / taken
    message = f"warning: {photographs}: {taken} is evaluated, although validation exists too\n"
    assert capfd.readouterr().err == (message if warned else "")


def test_cifar_beside_an_image_folder_is_an_error(spec: DataSpec, photographs: Path) -> None:
    (photographs / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"train and .*cifar-10-batches-py both exist: .*data=imagefolder"):
        open_images(replace(spec, source=Source.cifar10))
    assert len(open_images(spec)[0]) == 12


def test_archive_and_folder_have_the_same_images(
    make_archive: MakeArchive, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """For all endings, including hidden files and files that are left out."""
    names = [f"{folder}/{number}{ending}" for folder in ("cat", "dog") for number, ending in enumerate(ENDINGS)]
    names += ["cat/a.b.JPG", "cat/1.jpg.ppm", "dog/deep/er/1.PNG", "dog/x.seg.png"]
    hidden = ["cat/._1.jpg", "cat/.ipynb_checkpoints/1.jpg", "__MACOSX/cat/1.jpg", ".trash/1.jpg"]
    others = ["cat/1.gif", "cat/2.GIF", "dog/1.avif", "dog/LICENSE"]
    for name in (*names, *hidden, *others):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_file(1))
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        tar.add(tmp_path / "train", ".")
    folder, archive = FolderImages(tmp_path / "train"), TarDataset([tmp_path / "train.tar"], 2)
    assert sorted(os.path.relpath(path, folder.root) for path in folder.paths) == sorted(names)
    assert sorted(image.name for _, image in archive.members) == sorted(names)
    counts = ": files left out: 4 (2 .gif, 1 .avif, 1 without an ending). Images are .jpg"
    assert capfd.readouterr().err.count(counts) == 2


def test_masks_in_a_webdataset_are_left_out(make_archive: MakeArchive, capfd: pytest.CaptureFixture[str]) -> None:
    """Such as a segmentation mask; timm also takes jpg before png, and neither seg.png nor mask.jpg."""
    files: dict[str, int | str] = {"a.seg.png": 1, "a.jpg": 2, "a.cls": "0", "a.txt": "an ape"}
    files |= {"b.png": 3, "b.json": json.dumps({"label": 1}), "b.mask.jpg": 4, "c.png": 5, "c.JPG": 6, "c.cls": "1"}
    images = TarDataset([make_archive(files)], 2)
    assert levels(images) == {2: 0, 3: 1, 6: 1}
    assert "files left out: 4 (1 .txt, 1 .seg.png, 1 .mask.jpg, 1 .png)" in capfd.readouterr().err


def test_broken_links_are_counted(make_archive: MakeArchive, capfd: pytest.CaptureFixture[str]) -> None:
    archive = make_archive({"cat/1.png": 1, "dog/1.png": 2})
    with tarfile.open(archive, "a") as tar:
        link = tarfile.TarInfo("cat/2.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/data/2.png"
        tar.addfile(link)
    assert len(TarDataset([archive], 2)) == 2
    assert "files left out: 1 (1 broken links or devices)" in capfd.readouterr().err


def test_huge_label_is_not_read(make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadmap.data.archive_samples.MAX_LABEL_BYTES", 100)
    with pytest.raises(DataError, match=r"train\.tar: a\.json can't be read as a label: it has 110 bytes"):
        TarDataset([make_archive({"a.png": 1, "a.json": "1" * 110})], 2)
