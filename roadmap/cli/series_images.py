"""The images of a series, unpacked once from a tar archive into its output folder, with a record of the archive."""

import hashlib
import os
import shutil
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

from roadmap.errors import DataError, first_line
from roadmap.runs.atomic import write_json
from roadmap.runs.read_files import read_json
from roadmap.system.lock import Lock

ARCHIVE = ".archive.json"  # in the folder of images: the archive that they are from


def unpack(archive: Path, folder: Path) -> Path:
    """Return the folder that contains train/; `archive` is unpacked into `folder` unless that exists.

    Once unpacked, the archive may be gone.

    Raises:
        DataError: it is no archive, has no train/ at its top or in a single folder, or `folder` has the images of
            another archive.
    """
    with closing(Lock(folder.with_name(folder.name + ".lock"))) as lock:
        lock.acquire(wait=True)
        if not folder.exists():
            _unpack(archive, folder)
        else:
            _check_archive(archive, folder)
    return _find_images(archive, folder).resolve()


def _unpack(archive: Path, folder: Path) -> None:
    beside = folder.with_name(folder.name + ".new")
    try:
        if beside.exists():  # of a process that was killed
            shutil.rmtree(beside)
        with tarfile.open(archive) as file:
            file.extractall(beside, filter="data")
        identity = _describe(archive) | {"sha256": _digest(archive)}
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{archive}: can't be unpacked ({first_line(error)})") from error
    _find_images(archive, beside)
    write_json(beside / ARCHIVE, identity)
    os.replace(beside, folder)


def _find_images(archive: Path, folder: Path) -> Path:
    found = [path for path in (folder, *sorted(folder.iterdir())) if (path / "train").is_dir()]
    if not found:
        raise DataError(f"{archive}: holds no train/, neither at its top nor in a folder there")
    return found[0]


def _check_archive(archive: Path, folder: Path) -> None:
    """Raise DataError if the images in `folder` are not those of `archive`."""
    way_out = f"Choose another --output-dir, or delete {folder} to unpack the archive"
    if (known := read_json(folder / ARCHIVE)) is None:
        raise DataError(f"{folder} does not record which archive its images are from, such as {archive}. {way_out}")
    try:
        found = _describe(archive)
        is_same = found["bytes"] == known.get("bytes") and (
            found == {key: known.get(key) for key in found} or _digest(archive) == known.get("sha256")
        )
    except FileNotFoundError:
        is_same = archive.name == known.get("name")
    except OSError as error:
        raise DataError(f"{archive}: can't be read ({first_line(error)})") from error
    if not is_same:
        raise DataError(
            f"{folder} has the images of another archive, {known.get('name')}, not {archive}. {way_out}"
        )


def _describe(archive: Path) -> dict[str, Any]:
    """Return the facts of an archive, by which it is recognized without reading it."""
    facts = archive.stat()
    return {"name": archive.name, "bytes": facts.st_size, "modified_ns": facts.st_mtime_ns}


def _digest(archive: Path) -> str:
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
