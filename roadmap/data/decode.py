"""Decoding of a small data set into arrays, in several threads or from the cache."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image
from rich.progress import Progress
from torchvision.transforms import Resize
from torchvision.transforms.functional import InterpolationMode

from roadmap.data.cache import Decoded, find_folder, fingerprint, load_or_decode
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.image_io import Pixels
from roadmap.data.spec import DataSpec
from roadmap.errors import DataError
from roadmap.system.console import Console
from roadmap.system.machine import count_cores

PROGRESS_FROM = 20_000  # images
CHUNK = 256  # images per thread task


class SizesDifferError(DataError):
    """Images of different sizes, which do not fit a single array."""


def decode(images: CheckedDataset, data: DataSpec) -> Decoded:
    """Return all images of a set at the network's size.

    Raises:
        SizesDifferError: an image's size differs from the first one's; names both.
        DataError: an image cannot be read, or the cache cannot be written.
    """
    n, size = len(images), data.image_size
    folder, key = find_folder(data), fingerprint(images.images, data)
    if folder is not None and key is not None:
        path = folder / f"{key}.pixels"
        decoded = load_or_decode(path, n, size, lambda pixels, labels: _fill(images, data, pixels, labels))
        images.mark_skipped(decoded.skipped)
        return decoded
    pixels, labels = np.empty((n, 3, size, size), dtype=np.uint8), np.empty(n, dtype=np.int64)
    skipped = _fill(images, data, pixels, labels)
    if skipped:
        pixels, labels = np.delete(pixels, skipped, axis=0), np.delete(labels, skipped)
    return Decoded(pixels, labels, skipped)


def _fill(images: CheckedDataset, data: DataSpec, pixels: np.ndarray, labels: np.ndarray) -> list[int]:
    """Fill pixels and labels by index, and return the indices of skipped images.

    Images are resized as in the per-image transforms.
    """
    size = data.image_size
    resize = Resize((size, size), InterpolationMode(data.interpolation.value))
    first = images.read_from(0)[0]

    def fill(chunk: range) -> list[int]:
        skipped = []
        for index in chunk:
            sample = images.read(index)
            if sample is None:
                pixels[index], labels[index] = 0, 0
                skipped.append(index)
                continue
            image, labels[index] = sample
            if image.shape != first.shape:
                raise SizesDifferError(
                    f"{images.name_of(index)} has {_size(image)} pixels, {images.name_of(0)} {_size(first)}"
                )
            if image.shape[:2] != (size, size):
                image = np.asarray(resize(Image.fromarray(image)))
            pixels[index] = image.transpose(2, 0, 1)
        return skipped

    chunks = [range(start, min(start + CHUNK, len(images))) for start in range(0, len(images), CHUNK)]
    # In threads, since a decoder releases the GIL.
    threads = ThreadPoolExecutor(count_cores() if images.images.allows_threads else 1)
    try:
        done = _show_progress(threads.map(fill, chunks), len(images), data.name)
        return [index for skipped in done for index in skipped]
    finally:
        threads.shutdown(cancel_futures=True)


def _size(image: Pixels) -> str:
    """Return width and height."""
    return f"{image.shape[1]}x{image.shape[0]}"


def _show_progress(chunks: Iterator[list[int]], n: int, name: str) -> Iterator[list[int]]:
    """Yield finished chunks; for a large set, show a progress bar on a terminal, else print a line."""
    console = Console(stderr=True)
    if n > PROGRESS_FROM and not console.is_terminal:
        console.print(f"decoding {n:,} images of {name}", highlight=False, soft_wrap=True)
    with Progress(console=console, transient=True, disable=n <= PROGRESS_FROM or not console.is_terminal) as bar:
        task = bar.add_task(f"decoding {name}", total=n)
        for chunk in chunks:
            bar.advance(task, CHUNK)
            yield chunk
