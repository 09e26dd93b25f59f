"""Files of an uncompressed tar archive with their offsets. Unpacks nothing, and trusts no header.

Python's tarfile loops forever if a size is negative (CVE-2025-8194), takes a damaged header for the archive's end,
and reads names of any length.
"""

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from roadmap.errors import DataError, first_line

LONGEST_HEADER = 1 << 17  # bytes of a name, or of other metadata of a file
TRAILING = 1 << 20  # bytes checked after the end; writers pad with zeros
MAX_LINKS = 40  # in a chain, as in Linux


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive: a range of its bytes."""

    name: str
    offset: int
    size: int


def list_files(path: Path) -> tuple[list[Entry], list[str]]:
    """Return the files that would be unpacked, and the names of other non-folder entries, such as broken links.

    A link to a file of the archive counts as that file. Of several files with one name, the last counts.

    Raises:
        DataError: it is not an uncompressed tar archive, or it is truncated or inconsistent.
    """
    files: dict[str, Entry] = {}
    links: dict[str, str] = {}
    others: list[str] = []
    try:
        with path.open("rb") as file, tarfile.open(fileobj=cast(IO[bytes], _Bounded(file)), mode="r:") as archive:
            for member in _read_members(archive):
                name = _normalize(member.name)
                for earlier in (files, links):
                    earlier.pop(name, None)
                if member.isreg():
                    files[name] = Entry(name, member.offset_data, member.size)
                elif member.islnk():
                    links[name] = _normalize(member.linkname)
                elif member.issym():
                    links[name] = _normalize(posixpath.join(posixpath.dirname(name), member.linkname))
                elif not member.isdir():
                    others.append(name)
            _check_end(file, archive.offset)
    except Exception as error:  # tarfile raises ValueError, RecursionError, OverflowError and others
        raise DataError(f"{path} can't be read as an uncompressed tar archive: {first_line(error)}") from error
    for name in links:
        target = _follow(name, links, files)
        if target is None:
            others.append(name)
        else:
            files[name] = Entry(name, target.offset, target.size)
    return list(files.values()), others


class _Bounded:
    """A file from which tarfile reads only headers."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST_HEADER:
            raise tarfile.ReadError(f"a header says that it has {size:,} bytes")
        return self._file.read(size)


def _read_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    end = -1
    while (member := archive.next()) is not None:
        cast(Any, archive).members.clear()  # otherwise millions of entries would stay in memory
        if member.issparse():
            raise tarfile.ReadError(f"{member.name} is sparse: pack it without --sparse")
        stop = member.offset_data + (member.size if member.isreg() else 0)
        if member.size < 0 or not end < archive.offset or archive.offset < stop:
            raise tarfile.ReadError(f"{member.name} can't have {member.size:,} bytes")
        if ".." in member.name.split("/"):
            raise tarfile.ReadError(f"{member.name} is outside of the archive")
        end = archive.offset
        yield member


def _check_end(file: IO[bytes], end: int) -> None:
    """Check for the empty final block; another archive may be appended after it, which tarfile ignores."""
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it is truncated: the empty block at its end is missing")
    if any(block):
        raise tarfile.ReadError(f"its header at byte {end:,} is damaged")
    if any(file.read(TRAILING)):
        raise tarfile.ReadError(
            f"it has data after its end at byte {end:,}: pack joined archives as one, or as shards"
        )


def _normalize(name: str) -> str:
    return posixpath.normpath(name).lstrip("/")  # tar -C FOLDER . begins with ./


def _follow(name: str, links: dict[str, str], files: dict[str, Entry]) -> Entry | None:
    for _ in range(MAX_LINKS):
        if name in files:
            return files[name]
        if name not in links:
            return None
        name = links[name]
    return None
