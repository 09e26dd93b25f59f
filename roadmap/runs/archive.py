"""Archive of run records without checkpoints, to copy results from a machine."""

import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

from roadmap.errors import RunError, first_line
from roadmap.runs.atomic import explain_writing, make_folder
from roadmap.runs.naming import seed_folders
from roadmap.runs.overrides import OVERRIDES
from roadmap.runs.read_run import CONFIG, METRICS, STATE, SUMMARY

RECORDS = (CONFIG, OVERRIDES, STATE, METRICS, SUMMARY)
MAX_BYTES = 2**30  # unpacked; a thousand long runs take a tenth of it


def write_records(output_dir: Path, path: Path, experiments: Iterable[str], beside: Iterable[str] = ()) -> int:
    """Replace `path` by an archive (.tgz) of the records of `experiments`, and return its number of runs.

    Runs may continue meanwhile.

    Args:
        output_dir: its folders are the experiments, of which some may be absent.
        beside: JSON files beside the experiments.

    Raises:
        RunError: the archive cannot be written.
    """
    runs = [run for experiment in experiments for run in seed_folders(output_dir / experiment)]
    files = [*(output_dir / name for name in beside), *(run / name for run in runs for name in RECORDS)]
    make_folder(path.parent)
    unfinished = path.with_name(path.name + ".new")
    with explain_writing(path, 0):
        with tarfile.open(unfinished, "w:gz") as archive:
            for file in files:
                if file.exists():
                    content = file.read_bytes()  # first, since a file may grow while it is added
                    entry = tarfile.TarInfo(str(file.relative_to(output_dir)))
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        os.replace(unfinished, path)
    return len(runs)


def unpack_records(path: Path, output_dir: Path) -> None:
    """Unpack the records in an archive under `output_dir`.

    Raises:
        RunError: it is not an archive of records, or contains other files.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            size = 0
            for entry in archive:
                _check_entry(path, entry)
                size += entry.size
                if size > MAX_BYTES:
                    raise RunError(f"{path}: more than {MAX_BYTES:,} bytes, too large for records")
                archive.extract(entry, output_dir, filter="data")
    except (OSError, EOFError, tarfile.TarError) as error:
        raise RunError(f"{path}: not an archive of records ({first_line(error)})") from error


def _check_entry(path: Path, entry: tarfile.TarInfo) -> None:
    parts = Path(entry.name).parts
    is_record = len(parts) == 4 and parts[-1] in RECORDS
    is_beside = len(parts) == 1 and entry.name.endswith(".json")
    if not entry.isfile() or entry.size < 0 or ".." in parts or not (is_record or is_beside):
        raise RunError(f"{path}: {entry.name} is not a record of a run")
