"""Decoding of image files to arrays, as by Pillow."""

import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roadmap.data import image_io as pixels
from roadmap.data.image_io import decode_image, read_image


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
def test_pixels_equal_pillow(
    mode: str,
    kind: str,
    options: dict[str, object],
    has_decoder: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Bit for bit, with torchvision's decoder and without."""
    if not has_decoder:
        monkeypatch.setattr(pixels, "DECODE_JPEG", None)
    (tmp_path / "image").write_bytes(encode(mode, kind, **options))
    image = read_image(tmp_path / "image")
    with Image.open(tmp_path / "image") as pillows:
        np.testing.assert_array_equal(image, np.asarray(pillows.convert("RGB")))
    assert image.dtype == np.uint8
    assert image.flags.writeable  # torch warns if it is not


def test_ppm_with_a_comment_or_trailing_bytes_is_read() -> None:
    content = encode("RGB", "ppm")
    image = decode_image(content)
    for other in (content.replace(b"P6\n", b"P6\n# by another program\n"), content + b"\n"):
        np.testing.assert_array_equal(decode_image(bytearray(other)), image)


def test_file_of_unknown_size_is_read(tmp_path: Path) -> None:
    """As on some network file systems."""
    content = encode("RGB", "ppm")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    image = read_image(pipe)
    writer.join()
    np.testing.assert_array_equal(image, decode_image(content))


@pytest.mark.parametrize("kind", ["jpeg", "ppm"])
@pytest.mark.parametrize("shard", [0.0, 0.01, 0.5, 0.9])
def test_truncated_file_is_an_error(kind: str, shard: float) -> None:
    content = encode("RGB", kind)
    with pytest.raises(OSError, match=r"(?i)truncated|cannot identify"):
        decode_image(content[: int(shard * len(content))])


LEVELS = np.array([[0, 1, 128, 129], [257 * 73, 257 * 73 + 128, 257 * 73 + 129, 65535]], dtype=np.uint16)
AS_BYTES = [[0, 0, 0, 1], [73, 73, 74, 255]]  # divided by 257 and rounded


def save(image: Image.Image, kind: str, **options: object) -> bytearray:
    content = io.BytesIO()
    image.save(content, format=kind, **options)
    return bytearray(content.getvalue())


def tiff(bits: int, levels: bytes, *, white_is_zero: bool = False, sample_format: int = 1) -> bytearray:
    """Make an uncompressed gray TIFF of one row, little-endian; sample formats: 1 unsigned, 2 signed, 3 floats."""
    entries = {256: len(levels) * 8 // bits, 257: 1, 258: bits, 259: 1, 262: 0 if white_is_zero else 1}
    entries |= {273: 8 + 2 + 12 * 10 + 4, 277: 1, 278: 1, 279: len(levels), 339: sample_format}
    fields = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in entries.items())
    return bytearray(b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + bytes(4) + levels)


@pytest.mark.parametrize(
    "content",
    [
        save(Image.fromarray(LEVELS), "png"),
        save(Image.fromarray(LEVELS), "tiff"),
        save(Image.fromarray(LEVELS), "tiff", compression="tiff_lzw"),
        save(Image.fromarray(LEVELS.astype(">u2")), "tiff"),
        save(Image.fromarray(LEVELS), "ppm"),
        bytearray(b"P2\n4 2\n65535\n" + b" ".join(str(level).encode() for level in LEVELS.flat) + b"\n"),
    ],
    ids=["PNG", "TIFF", "compressed TIFF", "big-endian TIFF", "PGM", "plain PGM"],
)
def test_gray_of_16_bits_is_scaled(content: bytearray) -> None:
    expected = np.repeat(np.array(AS_BYTES, dtype=np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode_image(content), expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (tiff(12, bytes([0xFF, 0xF8, 0x00])), [255, 128]),  # 4095 is white
        (bytearray(b"P5\n2 1\n4095\n" + struct.pack(">2H", 4095, 2048)), [255, 128]),
        (tiff(16, struct.pack("<2H", 0, 257 * 73), white_is_zero=True), [255, 182]),
        (tiff(8, bytes([0, 73]), white_is_zero=True), [255, 182]),
    ],
    ids=["TIFF of 12 bits", "PGM of 12 bits", "white is 0", "white is 0, 8 bits"],
)
def test_gray_is_scaled_by_the_files_white_level(content: bytearray, expected: list[int]) -> None:
    assert decode_image(content)[0, :, 0].tolist() == expected


def png_of_16_bits(channels: int) -> bytearray:
    """Return one row of two pixels, 257 * (10, 20, 30, 40)[channel] and twice that: Pillow writes only gray."""
    levels = struct.pack(f">{2 * channels}H", *(257 * 10 * (c + 1) * k for k in (1, 2) for c in range(channels)))
    kind = {2: 4, 3: 2, 4: 6}[channels]
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 2, 1, 16, kind, 0, 0, 0),
        b"IDAT": zlib.compress(b"\0" + levels),
        b"IEND": b"",
    }
    packed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks.items())
    return bytearray(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png_of_16_bits(2), [[10, 10, 10], [20, 20, 20]]),
        (png_of_16_bits(3), [[10, 20, 30], [20, 40, 60]]),
        (png_of_16_bits(4), [[10, 20, 30], [20, 40, 60]]),
        (bytearray(b"P6\n1 1\n65535\n" + struct.pack(">3H", 2570, 5140, 7710)), [[10, 20, 30]]),
    ],
    ids=["gray and alpha", "RGB", "RGBA", "PPM"],
)
def test_other_16_bit_images(content: bytearray, expected: list[list[int]]) -> None:
    assert decode_image(content)[0].tolist() == expected


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (tiff(32, struct.pack("<2I", 5, 7)), "I"),
        (tiff(32, struct.pack("<2i", -5, 7), sample_format=2), "I"),
        (tiff(16, struct.pack("<2h", -5, 7), sample_format=2), "I"),
        (tiff(32, struct.pack("<2f", 0.5, 0.7), sample_format=3), "F"),
        (bytearray(b"Pf\n2 1\n-1.0\n" + struct.pack("<2f", 0.5, 0.7)), "F"),
    ],
    ids=["32 bits", "32 bits, signed", "16 bits, signed", "floats", "PFM"],
)
def test_unknown_white_level_is_an_error(content: bytearray, mode: str) -> None:
    with pytest.raises(ValueError, match=f"its mode is {mode}, "):
        decode_image(content)


@pytest.mark.parametrize("kind", ["bits", "palette", "palette with transparency", "transparent gray"])
def test_other_modes_match_pillow(kind: str) -> None:
    """And without a warning, which would be an error here."""
    image = Image.open(io.BytesIO(encode("RGB", "png")))
    content = {
        "bits": lambda: save(image.convert("1"), "png"),
        "palette": lambda: save(image.quantize(16), "png"),
        "palette with transparency": lambda: save(image.quantize(16), "png", transparency=bytes(range(16))),
        "transparent gray": lambda: save(image.convert("LA"), "png"),
    }[kind]()
    with Image.open(io.BytesIO(content)) as pillows:
        expected = np.asarray(pillows.convert("RGBA"))[..., :3]
    np.testing.assert_array_equal(decode_image(content), expected)


@pytest.mark.parametrize("kind", ["gif", "tiff", "png", "webp"])
def test_first_of_several_frames_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    content = save(frames[0], kind, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode_image(content), np.asarray(frames[0]), atol=3)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_orientation_tag_is_ignored(kind: str, mode: str) -> None:
    """As in torchvision's ImageFolder and timm; only in TIFF, Pillow applies it for them and for us."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encode(mode, "png")))
    np.testing.assert_array_equal(decode_image(save(image, kind, exif=exif)), decode_image(save(image, kind)))


def test_format_that_another_program_renders_is_an_error() -> None:
    """Pillow would start Ghostscript for a file from a data set."""
    with pytest.raises(ValueError, match="its format is EPS"):
        decode_image(save(Image.new("RGB", (4, 4)), "eps"))


def claim(content: bytearray, width: int, height: int) -> bytearray:
    """Return a JPEG whose header states another size."""
    frame = next(
        content.index(marker) for marker in (b"\xff\xc0\x00\x11", b"\xff\xc2\x00\x11") if marker in content
    )
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return content


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"a comment", "exif": b"Exif\0\0"}])
@pytest.mark.parametrize(
    "behind", [b"", b"\xff", b"\xff\xd0", b"\0\0"], ids=["plain", "filled", "restart", "zeros"]
)
def test_jpeg_above_the_pixel_limit_is_an_error(options: dict[str, object], behind: bytes) -> None:
    """Before memory is allocated, wherever the decoder would find the size, and whatever precedes it."""
    content = claim(encode("RGB", "jpeg", **options), 65_500, 65_500)
    small = encode("RGB", "jpeg")
    if behind:  # then a comment that contains a small frame, which a decoder ignores
        content[2:2] = behind + b"\xff\xfe\x00\x40" + small[small.index(b"\xff\xc0") :][:62]
    with pytest.raises((Image.DecompressionBombError, Image.UnidentifiedImageError)):
        decode_image(content)


@pytest.mark.parametrize("kind", ["png", "gif", "tiff", "bmp", "ppm", "webp"])
def test_other_images_above_the_pixel_limit_are_an_error(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode("RGB", kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    if kind == "ppm":
        content += b"\n"  # since an exact file takes no more memory than its own size
    with pytest.raises(Image.DecompressionBombError, match="exceeds limit"):
        decode_image(content)


def test_torchvision_decodes_ordinary_jpegs(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decoder = pixels.DECODE_JPEG
    monkeypatch.setattr(pixels, "DECODE_JPEG", lambda content: decoded.append(1) or decoder(content))
    for options in ({}, {"progressive": True}, {"comment": b"a comment", "exif": b"Exif\0\0", "dpi": (72, 72)}):
        decode_image(encode("RGB", "jpeg", **options))
    assert len(decoded) == 3


@pytest.mark.parametrize("header", [b"P6\n0 5\n255\n", b"P6\n5 0\n255\n"])
def test_image_without_pixels_is_an_error(header: bytes) -> None:
    with pytest.raises(ValueError, match=r"it has (0x5|5x0) pixels"):
        decode_image(bytearray(header))


@pytest.mark.parametrize("size", [(1, 4097), (4097, 1)])
def test_extreme_aspect_ratio_is_an_error(size: tuple[int, int]) -> None:
    """If its one pixel becomes 256, its 60,000 become 15 million: 12 GB from 200 bytes."""
    with pytest.raises(ValueError, match=f"it has {size[0]}x{size[1]} pixels: one side may be at most 4,096 times"):
        decode_image(save(Image.new("RGB", size), "png"))
    assert decode_image(save(Image.new("RGB", (1, 4096)), "png")).shape == (4096, 1, 3)


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    """As one with a hole may seem to have."""
    with (tmp_path / "1.jpg").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="it has 1,099,511,627,776 bytes, and at most 2,147,483,648 are read"):
        read_image(tmp_path / "1.jpg")
