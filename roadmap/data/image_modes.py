"""Conversion of Pillow's modes to 8-bit RGB. Does not import torch: `scripts/shrink_images.py` needs none."""

import numpy as np
from PIL import Image

BITS, WHITE_IS_ZERO = 258, 262  # TIFF tags; the second is 0 if the lowest level is white
EXTERNAL_FORMATS = ("EPS", "WMF")  # Pillow renders them by Ghostscript and by Windows


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert the image to Pillow's mode RGB.

    16-bit gray is scaled to 8 bits, since Pillow's own conversion clips it, which turns all but the darkest levels
    white. Transparency is dropped, as by `convert("RGB")`.

    Raises:
        ValueError: the white level is unknown (32-bit integers, floats), or another program must render the format.
    """
    if image.format in EXTERNAL_FORMATS:
        raise ValueError(f"its format is {image.format}, which another program must render")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _scale_gray(image).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "integers" if image.mode == "I" else "floats"
        raise ValueError(
            f"its mode is {image.mode}, one channel of signed or 32-bit {kind}, whose white level is unknown: "
            "convert it to 8 or 16 bits"
        )
    image.info.pop("transparency", None)  # Pillow would warn about a palette's transparency
    return image.convert("RGB")


def _scale_gray(image: Image.Image) -> Image.Image:
    """Scale gray of more than 8 bits to mode L, rounded. White is 65,535, also of a PGM with 12 bits."""
    tags = getattr(image, "tag_v2", {})
    white = 4095 if tags.get(BITS) == (12,) else 65535
    levels = np.asarray(image).astype(np.uint32)
    if tags.get(WHITE_IS_ZERO) == 0:  # Pillow inverts it only up to 8 bits
        levels = white - levels
    return Image.fromarray(((255 * levels + white // 2) // white).astype(np.uint8))
