"""Pillow's modes as RGB of 8 bits. No torch here: `scripts/shrink_images.py` needs none."""

import numpy as np
from PIL import Image

BITS, WHITE_IS_ZERO = 258, 262  # tags of TIFF; the second is 0 where the lowest level is white
READ_ONLY_BY_PROGRAMS = ("EPS", "WMF")  # Pillow hands the first to Ghostscript, the second to Windows


def as_rgb(image: Image.Image) -> Image.Image:
    """The image as Pillow's mode RGB.

    Gray of 16 bits is scaled to 8: Pillow's own conversion clips it, so that all but the darkest levels become
    white. Transparency is dropped, as `convert("RGB")` does.

    Raises:
        ValueError: levels without a known white (32-bit integers, floats), or a format that is a program.
    """
    if image.format in READ_ONLY_BY_PROGRAMS:
        raise ValueError(f"its format is {image.format}, which needs another program to be drawn")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _scale_gray(image).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "integers" if image.mode == "I" else "floats"
        raise ValueError(
            f"its mode is {image.mode}, one channel of signed or 32-bit {kind}, which says not what is white: "
            "convert it to 8 or 16 bits"
        )
    image.info.pop("transparency", None)  # of a palette Pillow would warn of
    return image.convert("RGB")


def _scale_gray(image: Image.Image) -> Image.Image:
    """Gray of more than 8 bits as mode L, rounded. White is 65,535, as Pillow scales it in a PGM of 12 bits."""
    tags = getattr(image, "tag_v2", {})
    white = 4095 if tags.get(BITS) == (12,) else 65535
    levels = np.asarray(image).astype(np.uint32)
    if tags.get(WHITE_IS_ZERO) == 0:  # Pillow inverts it up to 8 bits alone
        levels = white - levels
    return Image.fromarray(((255 * levels + white // 2) // white).astype(np.uint8))
