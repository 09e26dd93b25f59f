"""Safe reading of torch.save files: verified before torch reads them, without running pickled code.

torch's reader verifies no checksum. If an entry's attributes look like a folder's, it reads nothing and returns
uninitialized memory. So our files end in a digest of all their bytes, and other archives are first read entry by
entry by Python's zipfile, which checks them.
"""

import hashlib
import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch

from roadmap.errors import first_line

ZIP = b"PK\3\4"  # first bytes of an archive; its last two bytes are the length of the comment that follows them
SEAL = b"convnet-roadmap sha256 "
SEAL_SIZE = len(SEAL) + 64
FOLDER = 0x10  # MS-DOS attribute of a folder's entry
LEGACY = 0x1950A86A20F9469CFC6C  # first pickle of a file written by torch before 1.6


class UnusableFile(Exception):
    """Reason that a file can't be read; the text continues a sentence after the file's name: "is damaged: ..."."""


def write_sealed(content: Any) -> bytes:
    """Return torch.save's bytes with a digest of them as the archive's comment; torch.load can read the result."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(-2, io.SEEK_END)
    buffer.write(SEAL_SIZE.to_bytes(2, "little"))
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    buffer.write(SEAL + digest.encode())
    return buffer.getvalue()


def read_torch_file(path: Path, allowed: Sequence[Any] = ()) -> tuple[Any, bool]:
    """Return the content of a torch.save file, on the CPU, and True if a digest verifies it.

    Args:
        allowed: classes that the file may hold beyond tensors, numbers, strings and containers, as
            torch.serialization.safe_globals takes them.

    Raises:
        UnusableFile: the file is damaged, is not a torch.save file, or holds a class that is not allowed.
    """
    try:
        with path.open("rb") as file:
            is_sealed = _check_seal(file)
            source = file if is_sealed or not _is_zip(file) else _copy_archive(file)
            with warnings.catch_warnings(), torch.serialization.safe_globals(list(allowed)):
                warnings.simplefilter("ignore")  # warnings about pickle protocols; an unreadable file raises anyway
                return torch.load(source, map_location="cpu", weights_only=True), is_sealed
    except (UnusableFile, MemoryError):
        raise
    except OSError as error:
        raise UnusableFile(f"can't be read: {error.strerror or first_line(error)}") from error
    except Exception as error:  # errors of zipfile, pickle and torch have no common base
        raise UnusableFile(_explain(path, error)) from error


def _check_seal(file: BinaryIO) -> bool:
    """Return True if the file ends in a digest of all bytes before it."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - SEAL_SIZE, 0))
    seal = file.read()
    file.seek(0)
    if not seal.startswith(SEAL):
        return False
    digest, left = hashlib.sha256(), size - SEAL_SIZE
    while left and (block := file.read(min(left, 2**20))):
        digest.update(block)
        left -= len(block)
    file.seek(0)
    if SEAL + digest.hexdigest().encode() != seal:
        raise UnusableFile("is damaged: its sha256 is not the one at its end")
    return True


def _is_zip(file: BinaryIO) -> bool:
    """Return True if torch or Python reads the file as an archive; torch before 1.6 wrote a sequence of pickles."""
    start = file.read(len(ZIP))
    is_zip = start == ZIP or zipfile.is_zipfile(file)
    file.seek(0)
    return is_zip


def _copy_archive(file: BinaryIO) -> BinaryIO:
    """Copy the entries, as read and checked by zipfile, into an archive with a new directory."""
    copy = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(copy, "w") as clean:
        names = [entry.filename for entry in archive.infolist()]
        if any(name.endswith("/constants.pkl") for name in names):
            raise UnusableFile(
                "holds a TorchScript program; save its tensors, as in torch.save(m.state_dict(), FILE)"
            )
        if not any(name.endswith("/data.pkl") for name in names):
            raise UnusableFile("is an archive that torch.save did not write: it has no data.pkl")
        for entry in archive.infolist():
            if entry.is_dir() or entry.external_attr & FOLDER:
                raise UnusableFile(f"is damaged: its entry {entry.filename!r} looks like a folder")
            if names.count(entry.filename) > 1:
                raise UnusableFile(f"is damaged: it has {entry.filename!r} twice")
            content = archive.read(entry)
            if len(content) != entry.file_size:
                raise UnusableFile(f"is damaged: its entry {entry.filename!r} is cut off")
            clean.writestr(entry.filename, content)
    copy.seek(0)
    return copy


def _explain(path: Path, error: Exception) -> str:
    """Return why a file can't be read; torch's own text is several lines and advises trusting the file."""
    refused = re.search(r"GLOBAL ([\w.]+) (was not an allowed|whose module)", str(error))
    cause = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    if cause and "Unsupported operand" in cause[1] and zipfile.is_zipfile(path):
        return "was saved with a pickle_protocol above 2, which torch reads only from files that it trusts"
    try:
        name = refused[1] if refused else _find_class(path)
    except Exception:  # not a pickle; pickletools' errors have no common base
        return f"is damaged: {cause[1] if cause else first_line(error)}"
    if name is None:
        return "holds pickled objects of Python and is no file of torch.save"
    return (
        f"holds {name}, which is not loaded since a pickled class can run code. If you trust the file, save its "
        "tensors alone: torch.save(torch.load(FILE, weights_only=False)['state_dict'], OTHER)"
    )


def _find_class(path: Path) -> str | None:
    """Return the first class in a pickle, or None. Raises if torch before 1.6 wrote it or it is no pickle."""
    classes: list[str] = []
    strings: list[str] = []
    with path.open("rb") as file:
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "GLOBAL":
                classes.append(str(argument).replace(" ", "."))
            elif operation.name == "STACK_GLOBAL":
                classes.append(".".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
            elif argument == LEGACY:
                raise ValueError("torch's own")
    return next((name for name in classes if re.fullmatch(r"[\w.]+", name)), None)
