"""Disk cache of decoded images, so that a sweep decodes a set once.

A file holds a set's labels and its pixels, uint8 (N, 3, S, S), after one line of JSON. Its name is a digest of what
the pixels depend on: names, sizes and times of the files, image size, filter. So a changed set gets another file,
and the old one can be deleted at any time. It is written to a temporary file and renamed, and its digest is checked
when it is opened. A damaged file, or one of another version, is rewritten. One process writes while others wait.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from roadmap.data.image_dataset import ImageDataset
from roadmap.data.spec import DataSpec
from roadmap.errors import DataError
from roadmap.system.lock import Lock

VERSION = 2  # of this layout, and of the pixels' computation
HEADER = 4096  # bytes; pixels start on a page
BLOCK = 1 << 24  # bytes per write


@dataclass(frozen=True)
class Decoded:
    """A decoded set: pixels uint8 (N, 3, S, S), labels int64 (N,), and the indices of skipped images."""

    pixels: np.ndarray
    labels: np.ndarray
    skipped: list[int]


@dataclass(frozen=True)
class Header:
    """Everything needed to read a cache file and to detect an incomplete one."""

    version: int
    key: str  # the set's digest, which is the file's name: a renamed file counts as damaged
    images: int
    size: int
    skipped: list[int]
    digest: str = ""  # of this header with an empty digest, the labels and the pixels

    def __post_init__(self) -> None:
        numbers = [self.version, self.images, self.size, *self.skipped]
        if any(type(number) is not int or number < 0 for number in numbers):
            raise TypeError("not a count")
        if any(index >= self.images for index in self.skipped):
            raise ValueError("a skipped index is out of range")


def find_folder(data: DataSpec) -> Path | None:
    """Return the folder of the set's cache; None if it is not cached."""
    if data.cache is None:
        return None
    if data.cache != "auto":
        return Path(data.cache)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "convnet-roadmap"


def fingerprint(images: ImageDataset, data: DataSpec) -> str | None:
    """Return a digest of what decoded pixels depend on; None if the images are already in memory."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([data.image_size, data.interpolation, data.on_error]).encode())
    for index in range(len(images)):
        try:
            origin = images.origin_of(index)
        except OSError:
            return None  # reading it will raise a clear error
        if origin is None:
            return None
        digest.update(origin.encode(errors="surrogatepass"))  # a name may hold bytes that are not UTF-8
    return digest.hexdigest()


def load_or_decode(path: Path, n: int, size: int, decode: Callable[[np.ndarray, np.ndarray], list[int]]) -> Decoded:
    """Return the cache at `path`; if it is missing or damaged, write it with `decode`.

    Args:
        n: number of images.
        decode: fills pixels (N, 3, S, S) and labels (N,), and returns the indices of skipped images.

    Raises:
        DataError: the cache cannot be written; names folder, bytes and cause. No partial file remains.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(Lock(path.with_suffix(".lock"))) as lock:
            lock.acquire(wait=True)
            decoded = read_cache(path)
            if decoded is None:
                _write(path, n, size, decode)
                decoded = read_cache(path)
    except OSError as error:
        raise DataError(
            f"the cache of decoded images can't be written in {path.parent.absolute()}: {error.strerror or error}. "
            "Choose another folder with data.cache=FOLDER, or no cache with data.cache=null"
        ) from error
    if decoded is None:
        raise DataError(f"{path} differs from what was just written to it: the disk may be failing")
    return decoded


def read_cache(path: Path) -> Decoded | None:
    """Return the cache, memory-mapped; None if it is missing, damaged or of another version."""
    try:
        with path.open("rb") as file:
            header = Header(**json.loads(file.read(HEADER).split(b"\n", 1)[0]))
    except (FileNotFoundError, ValueError, TypeError, RecursionError):  # not JSON, or other fields
        return None
    body = header.images * (8 + 3 * header.size**2)
    if (header.version, header.key) != (VERSION, path.stem) or not 0 < body == path.stat().st_size - HEADER:
        return None
    content = np.memmap(path, dtype=np.uint8, mode="c", offset=HEADER, shape=(body,))  # private: torch may write
    if _digest(header, content) != header.digest:
        return None
    labels, pixels = _split(content, header.images, header.size)
    kept = np.setdiff1d(np.arange(header.images), header.skipped)
    if header.skipped:
        return Decoded(pixels[kept], labels[kept], header.skipped)
    return Decoded(pixels, labels, [])


def _write(path: Path, n: int, size: int, decode: Callable[[np.ndarray, np.ndarray], list[int]]) -> None:
    body = n * (8 + 3 * size * size)
    free = shutil.disk_usage(path.parent).free
    if free < HEADER + body:
        raise OSError(errno.ENOSPC, f"it needs {HEADER + body:,} bytes and {free:,} are free")
    for abandoned in path.parent.glob(f".{path.name}.*"):  # by a killed process, since this one holds the lock
        abandoned.unlink(missing_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("w+b") as file:
            _reserve(file, HEADER + body)
            content = np.memmap(file, dtype=np.uint8, mode="r+", offset=HEADER, shape=(body,))
            labels, pixels = _split(content, n, size)
            skipped = decode(pixels, labels)
            header = Header(VERSION, path.stem, n, size, skipped)
            content.flush()
            file.seek(0)
            file.write(_encode(replace(header, digest=_digest(header, content))))
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _reserve(file: IO[bytes], size: int) -> None:
    """Write zeros, so that a full disk raises here; in mapped memory, it would kill the process by SIGBUS."""
    zeros = bytes(BLOCK)
    for start in range(0, size, BLOCK):
        file.write(zeros[: size - start])
    file.flush()


def _encode(header: Header) -> bytes:
    """Return one line of JSON, padded to HEADER bytes."""
    line = _line(header)
    if len(line) > HEADER:
        raise DataError(
            f"{len(header.skipped)} images can't be read, more than a few damaged files: is the data set complete?"
        )
    return line.ljust(HEADER)


def _line(header: Header) -> bytes:
    return json.dumps(asdict(header)).encode() + b"\n"


def _split(content: Any, n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    return content[: 8 * n].view(np.int64), content[8 * n :].reshape(n, 3, size, size)


def _digest(header: Header, content: np.ndarray) -> str:
    """Return the digest of everything in a file except the digest."""
    digest = hashlib.blake2b(_line(replace(header, digest="")), digest_size=16)
    digest.update(content.data)
    return digest.hexdigest()
