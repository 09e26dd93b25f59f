"""Files of torch.save: checked before torch reads them, and read without running what they hold.

torch's reader checks no checksum, and reads nothing from an entry whose attributes look like a folder's: the
tensor is then memory that nobody has filled. So a file of ours ends in a digest of all its bytes, and of any other
archive torch sees only what Python's zipfile has checked, entry by entry.
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

ZIP = b"PK\3\4"  # how an archive begins; its last two bytes are the length of the comment behind it
SEAL = b"convnet-roadmap sha256 "
SEAL_SIZE = len(SEAL) + 64
FOLDER = 0x10  # MS-DOS's attribute of an entry
LEGACY = 0x1950A86A20F9469CFC6C  # the first pickle of a file that torch before 1.6 wrote


class UnusableFile(Exception):
    """Why a file is not read; its text goes on from the file's name, as in "is damaged: ..."."""


def write_sealed(content: Any) -> bytes:
    """What torch.save writes, with a digest of it as the archive's comment; torch.load reads it as any other."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(-2, io.SEEK_END)
    buffer.write(SEAL_SIZE.to_bytes(2, "little"))
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    buffer.write(SEAL + digest.encode())
    return buffer.getvalue()


def read_torch_file(path: Path, allowed: Sequence[type] = ()) -> tuple[Any, bool]:
    """The content of a file of torch.save, on the CPU, and whether a digest vouches for it.

    Args:
        allowed: classes that the file may hold beyond tensors, numbers, strings and containers.

    Raises:
        UnusableFile: it is damaged, no file of torch.save, or holds a class that is not allowed.
    """
    try:
        with path.open("rb") as file:
            is_sealed = _check_seal(file)
            source = file if is_sealed or not _is_zip(file) else _copy_archive(file)
            with warnings.catch_warnings(), torch.serialization.safe_globals(list(allowed)):
                warnings.simplefilter("ignore")  # of pickle protocols; what can't be read is an error
                return torch.load(source, map_location="cpu", weights_only=True), is_sealed
    except (UnusableFile, MemoryError):
        raise
    except OSError as error:
        raise UnusableFile(f"can't be read: {error.strerror or first_line(error)}") from error
    except Exception as error:  # zipfile's, pickle's and torch's errors share no base
        raise UnusableFile(_explain(path, error)) from error


def _check_seal(file: BinaryIO) -> bool:
    """True if the file ends in a digest of all that is before it."""
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
    """True if torch or Python takes the file for an archive; torch before 1.6 wrote pickles, one behind another."""
    start = file.read(len(ZIP))
    is_zip = start == ZIP or zipfile.is_zipfile(file)
    file.seek(0)
    return is_zip


def _copy_archive(file: BinaryIO) -> BinaryIO:
    """The entries, as zipfile reads and checks them, in an archive with a directory of our own."""
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
    """Why a file was not read; torch's own text goes on for lines and advises to trust the file."""
    refused = re.search(r"GLOBAL ([\w.]+) (was not an allowed|whose module)", str(error))
    cause = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    if cause and "Unsupported operand" in cause[1] and zipfile.is_zipfile(path):
        return "was saved with a pickle_protocol above 2, which torch reads only from files that it trusts"
    try:
        name = refused[1] if refused else _find_class(path)
    except Exception:  # it is no pickle, and pickletools' errors share no base
        return f"is damaged: {cause[1] if cause else first_line(error)}"
    if name is None:
        return "holds pickled objects of Python and is no file of torch.save"
    return (
        f"holds {name}, which is not loaded since a pickled class can run code. If you trust the file, save its "
        "tensors alone: torch.save(torch.load(FILE, weights_only=False)['state_dict'], OTHER)"
    )


def _find_class(path: Path) -> str | None:
    """The first class in a pickle that torch did not write, or None. Raises where the file is something else."""
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
