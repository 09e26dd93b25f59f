"""The records of runs are moved as one archive, which contains nothing else and is read safely."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from roadmap.errors import RunError
from roadmap.runs.archive import unpack_records, write_records

FILES = ("config.yaml", "state.json", "metrics.jsonl", "summary.json")


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    """Two runs, one of them running, with checkpoints and a series' state; beside them those of another series."""
    output_dir = tmp_path / "outputs"
    runs = (("trial/step1,norm=x/seed0", FILES), ("trial/step12/seed3", FILES[:3]), ("other/step1/seed0", FILES))
    for run, files in runs:
        folder = output_dir / run
        folder.mkdir(parents=True)
        for name in (*files, "checkpoint.pt", ".lock"):
            (folder / name).write_text(f"{name} of {run}")
    for name in ("trial-series.json", "other-series.json"):
        (output_dir / name).write_text("{}")
    (output_dir / "trial/.sweep").mkdir()
    return output_dir


def write(output_dir: Path, archive: Path) -> int:
    return write_records(output_dir, archive, ["trial", "absent"], ["trial-series.json", "absent-series.json"])


def test_archive_has_records_but_no_checkpoints(output_dir: Path, tmp_path: Path) -> None:
    archive = tmp_path / "to/records.tgz"
    assert write(output_dir, archive) == 2
    unpack_records(archive, tmp_path / "again")
    found = {
        str(path.relative_to(tmp_path / "again")) for path in (tmp_path / "again").rglob("*") if path.is_file()
    }
    assert found == {
        "trial-series.json",
        *(f"trial/step1,norm=x/seed0/{name}" for name in FILES),
        *(f"trial/step12/seed3/{name}" for name in FILES[:3]),
    }
    for name in found:
        assert (tmp_path / "again" / name).read_bytes() == (output_dir / name).read_bytes()
    (output_dir / "trial/step12/seed3/summary.json").write_text("{}")
    write(output_dir, archive)
    unpack_records(archive, tmp_path / "again")
    assert (tmp_path / "again/trial/step12/seed3/summary.json").exists()
    assert [path.name for path in archive.parent.iterdir()] == ["records.tgz"]


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 2) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size if kind == tarfile.REGTYPE else 0, "/etc/passwd"
    return made


@pytest.mark.parametrize(
    "bad",
    [
        entry("trial/step12/seed0/checkpoint.pt"),
        entry("../trial/step12/config.yaml"),
        entry("/trial/step12/seed0/config.yaml"),
        entry("trial/step12/seed0/deeper/config.yaml"),
        entry("trial/step12/seed0/config.yaml", tarfile.SYMTYPE),
        entry("trial/step12/seed0/config.yaml", tarfile.LNKTYPE),
        entry("run_table.py"),
    ],
    ids=lambda bad: f"{bad.name} {bad.type.decode()}",
)
def test_other_files_in_an_archive_are_an_error(bad: tarfile.TarInfo, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "records.tgz", "w:gz") as archive:
        archive.addfile(bad, io.BytesIO(b"{}"))
    with pytest.raises(RunError, match=r"records\.tgz: .* is not a record of a run"):
        unpack_records(tmp_path / "records.tgz", tmp_path / "again")
    assert not list(tmp_path.rglob("again/**/*.*"))


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"<html>"])
def test_damaged_archive_error_names_the_archive(
    damage: Callable[[bytes], bytes], output_dir: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "records.tgz"
    write(output_dir, archive)
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(RunError, match=r"records\.tgz: not an archive of records"):
        unpack_records(archive, tmp_path / "again")
