"""Atomic writes: to a temporary file, flushed to disk and renamed, with the folder flushed too."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from roadmap.errors import RunError, StorageError

TRIAL_BYTES = 2**14  # bytes
FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is exceeded",
    errno.EFBIG: "the file size limit (ulimit -f) is exceeded",
}
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


def replace_file(path: Path, content: bytes, previous: Path | None = None) -> None:
    """Write `content` to `path`; the old file is moved to `previous`, or unchanged if writing fails.

    Raises:
        StorageError: the disk is full, or the path is not writable; names the path and the bytes.
    """
    unfinished = path.with_name(path.name + ".new")
    with explain_writing(path, len(content)):
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()  # frees its space
            raise
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(unfinished, path)
        flush_folder(path.parent)


def append_line(path: Path, line: str) -> None:
    """Append one line to a file.

    Raises:
        StorageError: as replace_file.
    """
    with explain_writing(path, len(line) + 1), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file by a JSON object."""
    replace_file(path, (json.dumps(content, indent=2) + "\n").encode())


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents.

    Raises:
        RunError: a file is in the way, or the parent is not writable.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} can't be created: {error.strerror}. Choose another output_dir=FOLDER") from error


def check_disk_space(folder: Path) -> None:
    """Check that there is disk space, by writing and removing a small file.

    Raises:
        StorageError: it does not fit, or the folder is not writable.
    """
    with explain_writing(folder, TRIAL_BYTES), tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\0" * TRIAL_BYTES)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Flush a folder, so that a rename survives a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def explain_writing(path: Path, needed: int) -> Iterator[None]:
    """Raise StorageError for any OSError in the context, which writes `needed` bytes to `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageError(
                f"{FULL[error.errno]}: {path} needs {needed:,} bytes, {_describe_free_space(path)}. What was saved "
                "before is intact. Free space, or choose another output_dir=FOLDER, and run the same command again"
            ) from error
        if error.errno in GONE:
            raise StorageError(
                f"{path} can't be written: its folder is gone. Run the same command again to resume, or to "
                "train from the start"
            ) from error
        raise StorageError(
            f"{path} can't be written: {error.strerror or error}. What was saved before is intact. "
            "Once it can be written, run the same command again"
        ) from error


def _describe_free_space(path: Path) -> str:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return "and the free space is unknown"
    if disk.f_files and not disk.f_favail:
        return "and no inode is free"
    return f"{disk.f_bavail * disk.f_frsize:,} are free"
