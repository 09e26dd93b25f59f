"""The commit of the code, which results record."""

import subprocess
from functools import cache
from pathlib import Path

from roadmap.errors import first_line
from roadmap.system.console import warn

FILES = ("roadmap", "conf", "train.py")  # files of a checkout that affect results
UNVERSIONED = "not a git repository"


@cache
def find_commit() -> str | None:
    """Return the code's commit, with "-changed" if an edit affects results; for a wheel, "version 0.1.0".

    None, with a warning if git fails, for files that are not the root of a git repository.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "train.py").is_file():
        from roadmap import __version__  # not at the top, since the package imports this module

        return f"version {__version__}"
    try:
        top, commit = _run_git(root, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top).resolve() != root:
            return None
        changes = _run_git(root, "status", "--porcelain", "--", *FILES)
    except FileNotFoundError:  # no git on this machine
        return None
    except subprocess.CalledProcessError as error:
        if UNVERSIONED not in error.stderr:
            reason = first_line(ValueError(error.stderr))
            warn(f"results can't record the commit of their code: git does not read {root} ({reason})")
        return None
    return commit + ("-changed" if changes.strip() else "")


def _run_git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout
