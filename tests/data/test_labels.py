"""Labels beside the images of an archive: numbers, names, and invalid labels."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from roadmap.data.archives import HubDataset, TarDataset
from roadmap.data.locate_train_val import VALIDATION_NAMES
from roadmap.data.sources import open_images, open_validation
from roadmap.data.spec import DataSpec
from roadmap.errors import DataError

MakeArchive = Callable[..., Path]
PNG = io.BytesIO()
Image.new("RGB", (2, 2)).save(PNG, "png")


@pytest.fixture
def make_archive(write_tar: Callable[[str, Mapping[str, bytes]], Path]) -> MakeArchive:
    """Write train.tar with one image per file stem, and the files; content that is not text is written as JSON."""

    def make(files: dict[str, object], name: str = "train.tar") -> Path:
        contents = {f"{file.split('.')[0]}.png": PNG.getvalue() for file in files}
        for file, content in files.items():
            if not file.endswith(".png"):
                contents[file] = (content if isinstance(content, str) else json.dumps(content)).encode()
        return write_tar(name, contents)

    return make


def read(archive: Path, num_classes: int = 10) -> tuple[list[str], list[int]]:
    images = TarDataset([archive], num_classes)
    labels = [images[index][1] for index in range(len(images))]
    assert images.labels.tolist() == labels
    files = [images.name_of(index).rpartition("/")[2].rpartition(" ")[2] for index in range(len(images))]
    return images.classes, [label for _, label in sorted(zip(files, labels, strict=True))]  # by the file's name


@pytest.mark.parametrize(
    "files",
    [
        {"a.cls": "2\n", "b.cls": "0"},
        {"a.cls": " +2 ", "b.cls": "00"},
        {"a.json": {"label": 2}, "b.json": {"label": 0}},
        {"a.json": {"label": "2"}, "b.json": {"label": "0"}},
        {"a.json": {"label": 2.0}, "b.cls": "0"},
        {"a.cls": "2", "a.json": {"label": "cat"}, "b.cls": "0", "b.json": {"caption": "an ape"}},
        {"a.cls": "2", "b.cls": "0", "b.meta.json": {"label": 1}, "._b.cls": "\0\5\26\7"},
    ],
)
def test_numeric_labels_are_class_indices(make_archive: MakeArchive, files: dict[str, object]) -> None:
    classes, labels = read(make_archive(files))
    assert (classes, labels) == (["0", "1", "2"], [2, 0])


@pytest.mark.parametrize(
    "files", [{"a.cls": "cat\n", "b.cls": "ape"}, {"a.json": {"label": "cat"}, "b.json": {"label": "ape"}}]
)
def test_text_labels_are_class_names(make_archive: MakeArchive, files: dict[str, object]) -> None:
    assert read(make_archive(files)) == (["ape", "cat"], [1, 0])


def test_folders_name_the_classes_only_if_no_image_has_a_label(make_archive: MakeArchive) -> None:
    files: dict[str, object] = {"cat/a.json": {"caption": "a cat"}, "ape/b.png": None}
    assert read(make_archive(files)) == (["ape", "cat"], [1, 0])
    with pytest.raises(DataError, match=r"train\.tar: cat/a\.png has no label \(1 of 2 have none\)"):
        read(make_archive(files | {"ape/b.cls": "0"}))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.cls": "0", "b.png": None, "c.png": None}, r"b\.png has no label \(2 of 3 have none\)"),
        ({"a.json": {"label": 0}, "b.json": {"label": None}}, r"b\.png has no label \(1 of 2 have none\)"),
        ({"a.cls": "0", "b.cls": "-1"}, r"b\.png has the class number -1; data\.num_classes=10 allows 0 to 9"),
        ({"a.cls": "0", "b.cls": "10"}, r"b\.png has the class number 10; data\.num_classes=10 allows 0 to 9"),
        ({"a.cls": "0", "b.cls": "3000000000"}, r"b\.png has the class number 3000000000; "),
        ({"a.cls": "0", "b.cls": "9" * 5000}, r"b\.cls can't be read as a label: "),
        ({"a.cls": "0", "b.cls": "cat"}, r"a\.png has the class number 0 and .*b\.png the class name cat: "),
        ({"a.cls": "", "b.cls": "0"}, r"a\.cls can't be read as a label: it is empty"),
        ({"a.cls": "0", "b.json": {"label": [1, 2]}}, r"b\.json .* its label \[1, 2\] is neither"),
        ({"a.cls": "0", "b.json": {"label": True}}, r"b\.json .* its label true is neither"),
        ({"a.cls": "0", "b.json": {"label": 0.5}}, r"b\.json .* its label 0\.5 is neither"),
        ({"a.cls": "0", "a.json": {"label": 1}}, r"a\.cls has the label 0, a\.json 1"),
    ],
)
def test_unusable_label_error_names_the_sample(
    make_archive: MakeArchive, files: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=rf"train\.tar.*{message}"):
        read(make_archive(files))


def test_invalid_json_label_error_names_the_file(make_archive: MakeArchive) -> None:
    archive = make_archive({"a.json": {"label": 0}})
    archive.write_bytes(archive.read_bytes().replace(b'{"label": 0}', b'{"label": 0,'))
    with pytest.raises(DataError, match=r"train\.tar: a\.json can't be read as a label"):
        read(archive)


def test_validation_shards_may_lack_classes(make_archive: MakeArchive, spec: DataSpec, warned: set[str]) -> None:
    """Also the last classes, which alone would show their number; and without training images."""
    make_archive({f"{number}.cls": str(number) for number in range(4)})
    root = make_archive({"a.cls": "2", "b.cls": "0"}, "val.tar").parent
    spec = replace(spec, root=str(root), num_classes=4)
    for opener in (lambda spec: open_images(spec)[1], open_validation):
        images = opener(spec)
        assert [images[index][1] for index in range(2)] == [0, 2]  # in the order of their classes
        assert warned == {f"{root / 'val.tar'} has no images of 2 of 4 classes: 1, 3"}
        warned.clear()
    make_archive({"a.cls": "2", "b.cls": "4"}, "val.tar")
    with pytest.raises(DataError, match=r"val\.tar: b\.png has the class number 4"):
        open_validation(spec)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"train": [1, 0], "validation": [0, 1], "test": [-1, -1]}, (["0", "1"], [0, 1])),
        ({"train": ["cat", "ape"], "validation": ["ape", "cat"]}, (["ape", "cat"], [0, 1])),
        ({"train": [1, 0], "validation": [0, -1]}, "image 1 of hfds/.*, validation has the class number -1"),
        ({"train": [1, 0], "validation": [0, 3]}, "image 1 of hfds/.*, validation has the class number 3"),
    ],
)
def test_hugging_face_labels_are_read(
    labels: dict[str, list[int | str]], expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A split whose labels are all -1 has none: the next one is evaluated."""
    datasets = pytest.importorskip("datasets", reason="needs the extra huggingface")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "data").mkdir()
    for split, values in labels.items():
        columns = {"image": [{"bytes": PNG.getvalue(), "path": None}] * 2, "label": values}
        table = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
        table.to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            HubDataset(str(tmp_path), VALIDATION_NAMES, 2)
    else:
        images = HubDataset(str(tmp_path), VALIDATION_NAMES, 2)
        assert (images.classes, images.labels.tolist(), images.split) == (*expected, "validation")
        assert [images[index][1] for index in range(2)] == images.labels.tolist()
