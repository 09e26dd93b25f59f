"""Sources of images, and the errors for a folder that is not as configured."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, ImageFolder

import roadmap
from roadmap.config import read_config
from roadmap.data import sources
from roadmap.data.array_dataset import wrap_split
from roadmap.data.decode import decode
from roadmap.data.sources import DIGITS, open_images, open_validation
from roadmap.data.spec import DataSpec, Source
from roadmap.errors import DataError

MakeFolder = Callable[..., Path]
DIGITS_SPEC = read_config(roadmap.compose()).data


def make_spec(root: Path | None, num_classes: int = 2, source: Source = Source.folder) -> DataSpec:
    place = None if root is None else str(root)
    return replace(
        DIGITS_SPEC, name="test", source=source, root=place, num_classes=num_classes, image_size=8, cache=None
    )


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Make an image folder with the given number of images per class, such as {"train": {"cat": 2}}."""

    def make(parts: dict[str, dict[str, int]]) -> Path:
        for part, classes in parts.items():
            for name, count in classes.items():
                folder = tmp_path / part / name
                folder.mkdir(parents=True)
                for number in range(count):
                    Image.new("L", (9, 7), number).save(folder / f"{number}.png")
        return tmp_path

    return make


def refuse(spec: DataSpec, opener: Callable[[DataSpec], Any] = open_images) -> str:
    with pytest.raises(DataError) as caught:
        opener(spec)
    return str(caught.value)


def test_digits_are_split_by_class_without_overlap() -> None:
    train, val = open_images(make_spec(None, 10, Source.digits))
    assert (len(train), len(val)) == (1433, 364)
    counts = [np.bincount([part[index][1] for index in range(len(part))], minlength=10) for part in (train, val)]
    shard = counts[1] / (counts[0] + counts[1])
    assert shard.min() > 0.195
    assert shard.max() < 0.21
    image, label = train[0]
    assert (image.shape, image.dtype, type(label)) == ((8, 8, 3), np.uint8, int)
    assert (image == image[..., :1]).all()
    assert image.max() == 255


def test_digits_equal_scikit_learns() -> None:
    expected = load_digits()
    assert len(expected.target) == 1797
    with np.load(DIGITS) as digits:
        np.testing.assert_array_equal(digits["images"], expected.images)
        np.testing.assert_array_equal(digits["labels"], expected.target)


def test_digits_have_ten_classes() -> None:
    message = refuse(make_spec(None, 3, Source.digits))
    assert message.endswith("has 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9): data.num_classes=3 is too few")
    assert len(open_images(make_spec(None, 12, Source.digits))[0]) == 1433


def test_held_out_training_images_replace_the_validation_images(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for part, numbers in {"train": range(50), "val": range(200, 203)}.items():
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            for number in numbers:
                Image.new("L", (2, 2), number).save(folder / f"{number:03}.png")
    train, _ = open_images(make_spec(tmp_path))
    kept, held = open_images(replace(make_spec(tmp_path), holdout=30))
    assert (len(kept), len(held)) == (70, 30)
    names = [[part.name_of(index) for index in range(len(part))] for part in (train, kept, held)]
    assert sorted(names[1] + names[2]) == names[0]
    assert 8 <= sum("cat" in name for name in names[2]) <= 22
    assert [held[i][0][0, 0, 0] for i in range(30)] == [int(Path(name).stem) for name in names[2]]
    again = open_validation(replace(make_spec(tmp_path), holdout=30))
    assert [again.name_of(index) for index in range(30)] == names[2]
    decoded = [decode(part, replace(make_spec(tmp_path), cache=str(tmp_path / "cache"))) for part in (kept, held)]
    assert [len(part.labels) for part in decoded] == [70, 30]
    assert len(list((tmp_path / "cache").glob("*.pixels"))) == 2


def test_holding_out_needs_no_validation_images_and_names_a_class_that_it_takes(
    make_folder: MakeFolder, warned: set[str]
) -> None:
    root = make_folder({"train": {"cat": 1, "ape": 30}})
    spec = make_spec(root)
    with pytest.raises(DataError, match="no validation folder"):
        open_images(spec)
    assert [len(part) for part in open_images(replace(spec, holdout=5))] == [26, 5]
    train, _ = open_images(replace(spec, holdout=30))
    (label,) = {int(train.images.labels[index]) for index in range(len(train))}
    missing = train.images.classes[1 - label]
    assert (
        f"{root / 'train'} without the images of data.holdout=30 has no images of 1 of 2 classes: {missing}"
        in warned
    )


def test_holding_out_all_images_is_an_error() -> None:
    message = refuse(replace(make_spec(None, 10, Source.digits), holdout=1433))
    assert message == "data.holdout=1433: there are only 1,433 training images"


@pytest.mark.parametrize("val", ["val", "test", "validation"])
def test_a_folder_is_read_as_rgb_with_classes_by_name(make_folder: MakeFolder, val: str) -> None:
    root = make_folder({"train": {"cat": 2, "ape": 3}, val: {"ape": 1, "cat": 1}})
    train_images, val_images = open_images(make_spec(root))
    assert [train_images[index][1] for index in range(len(train_images))] == [0, 0, 0, 1, 1]
    assert len(val_images) == 2
    assert val_images[0][0].shape == (7, 9, 3)


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    message = refuse(make_spec(tmp_path / "nowhere"))
    assert f"there is no data folder {tmp_path / 'nowhere'}" in message
    assert "train/CLASS/* and val/CLASS/*" in message
    assert "data.root=FOLDER" in message


def test_error_names_the_absolute_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / "nowhere") in refuse(make_spec(Path("nowhere")))


@pytest.mark.parametrize(
    ("parts", "place", "expectation"),
    [
        ({}, "train", "expected one folder of images for each class"),
        ({"val": {"ape": 1, "cat": 1}}, "train", "expected one folder of images for each class"),
        ({"train": {"ape": 1, "cat": 1}}, "", "expected one of val, test, validation"),
        ({"train": {"ape": 0, "cat": 0}, "val": {"ape": 1, "cat": 1}}, "train", "in its classes ape, cat"),
        ({"train": {"ape": 1, "cat": 1}, "val": {"ape": 0, "cat": 0}}, "val", "in its classes ape, cat"),
    ],
    ids=["empty", "no train", "no val", "no images", "no images in val"],
)
def test_missing_split_is_an_error(
    make_folder: MakeFolder, tmp_path: Path, parts: dict[str, dict[str, int]], place: str, expectation: str
) -> None:
    make_folder(parts)
    message = refuse(make_spec(tmp_path))
    assert str(tmp_path / place) in message
    assert expectation in message


@pytest.mark.parametrize("part", ["train", "val"])
def test_split_without_classes_is_an_error(make_folder: MakeFolder, tmp_path: Path, part: str) -> None:
    make_folder({name: {"ape": 1, "cat": 1} for name in {"train", "val"} - {part}})
    (tmp_path / part).mkdir()
    assert f"{tmp_path / part} is not an image folder" in refuse(make_spec(tmp_path))


@pytest.mark.parametrize(
    ("parts", "empty"),
    [
        ({"train": {"ape": 1, "cat": 0}, "val": {"ape": 1, "cat": 1}}, "train"),
        ({"train": {"ape": 1, "cat": 1}, "val": {"ape": 1, "cat": 0}}, "val"),
    ],
)
def test_an_empty_class_is_reported(
    make_folder: MakeFolder, parts: dict[str, dict[str, int]], empty: str, warned: set[str]
) -> None:
    root = make_folder(parts)
    for opener in (open_images, open_validation) if empty == "val" else (open_images,):
        warned.clear()
        opener(make_spec(root))
        assert warned == {f"{root / empty} has no images of 1 of 2 classes: cat"}


def test_validation_classes_keep_the_training_indices(make_folder: MakeFolder, warned: set[str]) -> None:
    root = make_folder({"train": {"ape": 1, "cat": 1, "dog": 1}, "val": {"dog": 2}})
    _, val = open_images(make_spec(root, 3))
    assert [val[index][1] for index in range(2)] == [2, 2]
    assert warned == {f"{root / 'val'} has no images of 2 of 3 classes: ape, cat"}


def test_unknown_validation_classes_are_an_error(make_folder: MakeFolder) -> None:
    root = make_folder({"train": {"ape": 1, "cat": 1}, "val": {"ape": 1, "dog": 1, "eel": 1, "fox": 0}})
    message = refuse(make_spec(root))
    assert message == f"{root / 'val'} has images of dog, eel: no class of {root / 'train'}, which has ape, cat"


def test_many_classes_are_not_all_listed(make_folder: MakeFolder) -> None:
    root = make_folder({"train": {f"class{i:02}": 1 for i in range(29)}, "val": {"class00": 1}})
    message = refuse(make_spec(root))
    assert "has 29 classes (class00, class01, " in message
    assert "class18, class19 and 9 more), the configuration says 2: data.num_classes=29" in message


@pytest.mark.parametrize("opener", [open_images, open_validation])
def test_wrong_number_of_classes_is_an_error(make_folder: MakeFolder, opener: Callable[[DataSpec], Any]) -> None:
    root = make_folder({"train": {"ape": 1, "cat": 1}, "val": {"ape": 1, "cat": 1}})
    message = refuse(make_spec(root, num_classes=3), opener)
    assert str(root) in message
    assert "has 2 classes (ape, cat), the configuration says 3: data.num_classes=2" in message


def test_validation_images_need_no_training_images(make_folder: MakeFolder) -> None:
    root = make_folder({"val": {"ape": 1, "cat": 2}})
    assert len(open_validation(make_spec(root))) == 3
    assert "there is no data folder" in refuse(make_spec(root / "nowhere"), open_validation)


class JointFolder(ImageFolder):
    """Transforms image and label together, by `transforms`, as torchvision's data sets of boxes."""

    def __init__(self, root: Path):
        super().__init__(root)
        self.transforms = lambda image, label: (image, 1 - label)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transforms(*super().__getitem__(index))


@pytest.mark.parametrize(
    ("opener", "labels"),
    [
        (ImageFolder, [0, 1]),
        (partial(ImageFolder, transform=lambda image: image), [0, 1]),
        (partial(ImageFolder, target_transform=lambda label: 1 - label), [1, 0]),
        (JointFolder, [1, 0]),
    ],
    ids=["as they are", "of the image", "of the label", "of both"],
)
def test_labels_of_a_users_data_set_are_those_of_its_items(
    make_folder: MakeFolder, opener: Callable[[Path], ImageFolder], labels: list[int]
) -> None:
    theirs = opener(make_folder({"ape": {"": 1}, "cat": {"": 1}}))
    ours = wrap_split(theirs, "mine", 2)
    assert [ours[index][1] for index in range(2)] == [theirs[index][1] for index in range(2)] == labels


def test_targets_that_are_not_the_labels_of_the_items_are_refused(make_folder: MakeFolder) -> None:
    root = make_folder({"ape": {"": 2}, "cat": {"": 1}})
    images = ImageFolder(str(root))
    images.targets = [0, 1, 1]
    (root / "ape" / "0.png").write_bytes(b"damaged, so that the next image's label is read")
    with pytest.raises(
        DataError, match=r"^data=mine: item 1 of ImageFolder has the label 0, but `targets` says 1: "
    ):
        wrap_split(images, "mine", 2)
    images.targets = [0, 0, 1]
    assert wrap_split(images, "mine", 2).labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("source", [Source.cifar10, Source.cifar100])
def test_cifar_can_be_read_from_an_image_folder(make_folder: MakeFolder, source: Source) -> None:
    root = make_folder({"train": {"ape": 1, "cat": 1}, "test": {"ape": 1, "cat": 1}})
    train, val = open_images(make_spec(root, 2, source))
    assert (len(train), len(val)) == (2, 2)
    assert "has 2 classes (ape, cat), the configuration says 10" in refuse(make_spec(root, 10, source))


@pytest.mark.parametrize("is_beside", [False, True], ids=["not downloaded", "downloaded"])
def test_cifar_without_a_root_is_cifar_beside_an_image_folder(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, is_beside: bool
) -> None:
    """A project's own data/train/CLASS is another data set, also if it has as many classes."""
    root = make_folder({f"data/{part}": {f"own{number}": 1 for number in range(10)} for part in ("train", "val")})
    if is_beside:
        (root / "data" / CIFAR10.base_folder).mkdir()
    monkeypatch.chdir(root)

    def load(self: CIFAR10, root: Path, train: bool, download: bool) -> None:
        assert root == Path("data")
        self.data, self.targets = np.zeros((10, 32, 32, 3), np.uint8), list(range(10))
        self.classes = [f"cifar{number}" for number in range(10)]

    monkeypatch.setattr(CIFAR10, "__init__", load)
    train, val = open_images(make_spec(None, 10, Source.cifar10))
    assert train.images.classes == val.images.classes == [f"cifar{number}" for number in range(10)]


def test_failed_cifar_download_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, root: Path, **__: object) -> None:
        root.mkdir(exist_ok=True)  # as torchvision does
        raise OSError("no route to host")

    monkeypatch.setattr(sources, "CIFAR10", type("CIFAR10", (), {"__init__": fail}))
    for root in (tmp_path / "mistyped", tmp_path):
        message = refuse(make_spec(root, 10, Source.cifar10))
        assert f"CIFAR10 is not in {root} and can't be downloaded: no route to host" in message
    assert not (tmp_path / "mistyped").exists()
    assert "data.root=FOLDER" in message
