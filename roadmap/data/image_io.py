"""Decoding of image files to RGB arrays, the common format of all sources."""

import io
import os
import re
import struct
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image

from roadmap.data.image_modes import as_rgb

MAX_FILE_BYTES = 1 << 31  # twice what Pillow's pixel limit takes, uncompressed in 16 bits
MAX_ASPECT_RATIO = 4096  # with the short side resized to 256 pixels, such an image has 268 million
Pixels = np.ndarray  # an RGB image, uint8 (H, W, 3)
JPEG = b"\xff\xd8\xff"  # first bytes of a JPEG file
METADATA_MARKERS = {0xC4, 0xCC, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE}  # markers before the frame: tables, comments
FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers that height and width follow
PPM = re.compile(rb"P6\n(\d+) (\d+)\n255\n")  # header of an RGB image, as Pillow writes it: width and height
# torchvision 0.29 deprecates its decoder. Without it, Pillow reads all files, to the same pixels.
DECODE_JPEG = getattr(torchvision.io, "decode_jpeg", None)


def read_image(path: str | Path) -> Pixels:
    """Read the image of a file.

    Raises:
        OSError: it cannot be opened, or is damaged or of an unknown format; Pillow also raises other exceptions.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size  # some file systems report 0 for any file
        content = bytearray(check_length(size))
        del content[file.readinto(content) :]
        content += file.read()
    return decode_image(content)


def check_length(length: int) -> int:
    """Return a file's length in bytes if it can be read at once.

    Raises:
        ValueError: it is too long for an image.
    """
    if length > MAX_FILE_BYTES:
        raise ValueError(f"it has {length:,} bytes, and at most {MAX_FILE_BYTES:,} are read")
    return length


def decode_image(content: bytearray) -> Pixels:
    """Decode a file's content to the same pixels as Pillow. RGB JPEG and PPM have faster decoders.

    Args:
        content: writable, since torch warns otherwise; the pixels of a PPM file are a view of it.

    Raises:
        OSError: it is damaged or of an unknown format; Pillow also raises other exceptions.
        ValueError: it has no pixels, or is so narrow that resizing its short side would take gigabytes.
    """
    image = _decode(content)
    height, width, _ = image.shape
    if not image.size or max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        raise ValueError(
            f"it has {width}x{height} pixels: one side may be at most {MAX_ASPECT_RATIO:,} times the other"
        )
    return image


def _decode(content: bytearray) -> Pixels:
    if DECODE_JPEG is not None and content.startswith(JPEG) and _is_within_pixel_limit(content):
        try:
            decoded = DECODE_JPEG(torch.frombuffer(content, dtype=torch.uint8))
        except RuntimeError:  # Pillow can read it, or explains what is wrong
            pass
        else:
            if len(decoded) == 3:  # 1 channel is grayscale, 4 are CMYK
                return decoded.permute(1, 2, 0).numpy()
    header = PPM.match(content)
    if header:
        width, height = map(int, header.groups())
        if len(content) == header.end() + 3 * width * height:
            return np.frombuffer(content, np.uint8, offset=header.end()).reshape(height, width, 3)
    with Image.open(io.BytesIO(content)) as image:
        return np.array(as_rgb(image))


def _is_within_pixel_limit(content: bytearray) -> bool:
    """Return True if a JPEG's header states a size within Pillow's pixel limit.

    torchvision's decoder has no limit, so Pillow reads larger images, and those without a size in their header.
    """
    position = len(JPEG) - 1
    while position + 9 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker in FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", content, position + 5)
            return Image.MAX_IMAGE_PIXELS is None or height * width <= Image.MAX_IMAGE_PIXELS
        if marker not in METADATA_MARKERS:
            return False
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return False
