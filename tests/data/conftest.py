"""Fixtures of small image sets."""

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadmap.data.spec import DataSpec, Interpolation, OnError, Source
from roadmap.system import console

MakePhotographs = Callable[..., Path]
WriteTar = Callable[[str, Mapping[str, bytes]], Path]


@pytest.fixture
def make_photographs(tmp_path: Path) -> MakePhotographs:
    """Write train/ and val/ of two classes with noisy JPEGs of `size` pixels: 6 and 2 per class."""

    def make(size: int = 16) -> Path:
        generator = np.random.default_rng(0)
        for part, count in (("train", 6), ("val", 2)):
            for name in ("ape", "cat"):
                folder = tmp_path / "photographs" / part / name
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.jpg")
        return tmp_path / "photographs"

    return make


@pytest.fixture
def write_tar(tmp_path: Path) -> WriteTar:
    """Write an archive of named contents below tmp_path."""

    def write(name: str, files: Mapping[str, bytes]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for file, content in files.items():
                member = tarfile.TarInfo(file)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path

    return write


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the data warnings since the start of the test."""
    monkeypatch.setattr(console, "_warned", texts := set[str]())
    return texts


@pytest.fixture
def photographs(make_photographs: MakePhotographs) -> Path:
    return make_photographs()


@pytest.fixture
def spec(photographs: Path, tmp_path: Path) -> DataSpec:
    """The settings of the photographs at 16 pixels, with a separate cache."""
    return DataSpec(
        name="photographs",
        source=Source.folder,
        root=str(photographs),
        num_classes=2,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        image_size=16,
        stem_stride=2,
        crop_pct=1.0,
        interpolation=Interpolation.bicubic,
        on_error=OnError.stop,
        cache=str(tmp_path / "cache"),
        holdout=0,
        mirror=True,
        note=None,
    )
