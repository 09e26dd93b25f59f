"""Image files to arrays, as Pillow has them."""

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadmap.data import pixels
from roadmap.data.pixels import decode_image, read_image


def encode(mode: str, kind: str, **options: object) -> bytearray:
    colors = Image.fromarray(np.random.default_rng(0).integers(256, size=(5, 7, 3), dtype=np.uint8))
    content = io.BytesIO()
    colors.resize((61, 43)).convert(mode).save(content, format=kind, **options)
    return bytearray(content.getvalue())


@pytest.mark.parametrize("has_decoder", [True, False])
@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "jpeg", {"quality": 60}),
        ("RGB", "jpeg", {"progressive": True, "subsampling": 0}),
        ("L", "jpeg", {}),
        ("CMYK", "jpeg", {}),
        ("RGB", "png", {}),
        ("RGBA", "png", {}),
        ("P", "gif", {}),
        ("RGB", "webp", {}),
        ("RGB", "ppm", {}),
        ("L", "ppm", {}),
    ],
)
def test_pixels_are_pillows(
    mode: str,
    kind: str,
    options: dict[str, object],
    has_decoder: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """To the last bit, with torchvision's decoder and without."""
    if not has_decoder:
        monkeypatch.setattr(pixels, "DECODE_JPEG", None)
    (tmp_path / "image").write_bytes(encode(mode, kind, **options))
    image = read_image(tmp_path / "image")
    with Image.open(tmp_path / "image") as pillows:
        np.testing.assert_array_equal(image, np.asarray(pillows.convert("RGB")))
    assert image.dtype == np.uint8
    assert image.flags.writeable  # torch warns of others


def test_an_uncompressed_image_with_a_comment_or_bytes_behind_it_is_read_too() -> None:
    content = encode("RGB", "ppm")
    image = decode_image(content)
    for other in (content.replace(b"P6\n", b"P6\n# by another program\n"), content + b"\n"):
        np.testing.assert_array_equal(decode_image(bytearray(other)), image)


def test_a_file_whose_size_is_not_told_is_read_too(tmp_path: Path) -> None:
    """As by some file systems of a network."""
    content = encode("RGB", "ppm")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    image = read_image(pipe)
    writer.join()
    np.testing.assert_array_equal(image, decode_image(content))


@pytest.mark.parametrize("kind", ["jpeg", "ppm"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_part_of_a_file_is_no_image(kind: str, share: float) -> None:
    content = encode("RGB", kind)
    with pytest.raises(OSError, match=r"(?i)truncated|cannot identify"):
        decode_image(content[: int(share * len(content))])
