"""The listed contents of a tar archive equal what GNU tar or Python would unpack, or raise an error, quickly."""

import io
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roadmap.data.tar import list_files
from roadmap.errors import DataError


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """Return the header block of a file, with any size that fits into it."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    field = b"\xff" + size.to_bytes(11, "big", signed=True) if size < 0 else b"\x80" + size.to_bytes(11, "big")
    block[124:136] = field
    block[148:156] = b"        "
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content.ljust(-(-len(content) // 512) * 512, b"\0")


def file(name: str, content: bytes) -> bytes:
    return header(name, len(content)) + padded(content)


def pax(records: dict[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    lines = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = next(n for n in range(100_000) if n == len(str(n)) + len(rest))
        lines += str(length).encode() + rest
    return header("pax", len(lines), kind) + padded(lines)


END = bytes(1024)


@pytest.fixture
def ends() -> Iterator[None]:
    """Fail if the code under test does not return."""

    def fail(*_: object) -> None:
        pytest.fail("it does not end")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def listed(tmp_path: Path) -> Callable[[bytes], dict[str, bytes]]:
    """Return the contents of an archive's files by name, read at their listed offsets."""

    def read(content: bytes) -> dict[str, bytes]:
        (tmp_path / "a.tar").write_bytes(content)
        return {entry.name: content[entry.offset :][: entry.size] for entry in list_files(tmp_path / "a.tar")[0]}

    return read


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_listed_offsets_point_at_the_files(listed: Callable[[bytes], dict[str, bytes]], form: int) -> None:
    names = ["./cat/1.jpg", "cat/empty.jpg", "dog/é.jpg", "dog/\udcff.jpg"]
    if form != tarfile.USTAR_FORMAT:
        names.append("/".join(["a long folder's name" for _ in range(20)]) + "/1.jpg")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as archive:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = 700 * number
            archive.addfile(member, io.BytesIO(bytes([number]) * 700 * number))
    expected = {os.path.normpath(name): bytes([number]) * 700 * number for number, name in enumerate(names)}
    assert listed(content.getvalue()) == expected


def test_links_are_resolved(tmp_path: Path) -> None:
    """As packed by GNU tar from a folder in which files share their content."""
    folder = tmp_path / "images"
    for name in ("cat", "dog", "common"):
        (folder / name).mkdir(parents=True)
    (folder / "cat/1.jpg").write_bytes(b"one")
    os.link(folder / "cat/1.jpg", folder / "dog/1.jpg")
    (folder / "common/2.jpg").write_bytes(b"two")
    (folder / "cat/2.jpg").symlink_to("../common/2.jpg")
    (folder / "cat/chain.jpg").symlink_to("2.jpg")
    (folder / "cat/loop.jpg").symlink_to("loop.jpg")
    (folder / "cat/gone.jpg").symlink_to("/somewhere/else.jpg")
    (folder / "cat/out.jpg").symlink_to("../../../etc/passwd")
    os.mkfifo(folder / "dog/pipe.jpg")
    subprocess.run(["tar", "-cf", "a.tar", "-C", "images", "."], cwd=tmp_path, check=True)
    entries, others = list_files(tmp_path / "a.tar")
    content = (tmp_path / "a.tar").read_bytes()
    assert {entry.name: content[entry.offset :][: entry.size] for entry in entries} == {
        "cat/1.jpg": b"one",
        "dog/1.jpg": b"one",
        "common/2.jpg": b"two",
        "cat/2.jpg": b"two",
        "cat/chain.jpg": b"two",
    }
    assert sorted(others) == ["cat/gone.jpg", "cat/loop.jpg", "cat/out.jpg", "dog/pipe.jpg"]


def test_last_of_two_files_with_one_name_counts(listed: Callable[[bytes], dict[str, bytes]]) -> None:
    """As written by tar --update."""
    assert listed(file("a.jpg", b"old") + file("b.jpg", b"b") + file("./a.jpg", b"new") + END) == {
        "a.jpg": b"new",
        "b.jpg": b"b",
    }


A = file("a.jpg", b"a")
INCONSISTENT: dict[str, tuple[bytes, str]] = {
    "a negative size": (A + header("b.jpg", -1024), r"b\.jpg can't have -1,024 bytes"),
    "a negative size at the beginning": (header("a.jpg", -512) + END, r"a\.jpg can't have -512 bytes"),
    "a folder's negative size": (header("folder", -2048, tarfile.DIRTYPE) + END, "folder can't have -2,048 bytes"),
    "pax, negative": (pax({"size": "-1024"}) + A, r"a\.jpg can't have -1,024 bytes"),
    "pax, huge": (pax({"size": "9" * 30}) + A, "."),
    "pax, of all files": (pax({"size": "1000000"}, tarfile.XGLTYPE) + A + END, r"a\.jpg can't have 1,000,000"),
    "a name of negative length": (
        header("long", -1024, tarfile.GNUTYPE_LONGNAME) + END,
        "a header says that it has -1,024 bytes",
    ),
    "a name of a terabyte": (
        header("long", 1 << 40, tarfile.GNUTYPE_LONGNAME) + END,
        "a header says that it has 1,099,511,627,776",
    ),
    "pax of a gigabyte": (
        header("pax", 1 << 30, tarfile.XHDTYPE) + END,
        "a header says that it has 1,073,741,824 bytes",
    ),
    "2^80 bytes": (header("a.jpg", 1 << 80) + bytes(2048), "."),
    "a terabyte": (header("a.jpg", 1 << 40) + bytes(2048), "unexpected end of data"),
    "2000 headers of one file": (2000 * pax({"path": "a.jpg"}) + A + END, "recursion"),
    "holes, damaged": (pax({"GNU.sparse.map": "0,1," * 1000, "GNU.sparse.size": "1" * 18}) + A + END, "."),
    "holes": (pax({"GNU.sparse.map": "0,1", "GNU.sparse.size": "1" * 18}) + A + END, "is sparse"),
    "outside": (file("../a.jpg", b"a") + END, r"\.\./a\.jpg is outside of the archive"),
    "outside again": (file("cat/../../a.jpg", b"a") + END, "is outside of the archive"),
    "a damaged header": (A + b"?" + file("b.jpg", b"b")[1:] + A + END, "byte 1,024 is damaged"),
    "two archives joined": (A + END + A + END, r"has data after its end at byte 1,024: pack joined"),
    "no end": (A, "it is truncated"),
    "cut short": (file("a.jpg", b"a" * 600)[:-200], "unexpected end of data"),
}


@pytest.mark.parametrize("name", INCONSISTENT)
def test_inconsistent_archive_is_an_error(ends: None, tmp_path: Path, name: str) -> None:
    content, message = INCONSISTENT[name]
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.tar can't be read as an uncompressed tar archive: .*{message}"):
        list_files(tmp_path / "a.tar")
