"""The version of the code behind a result."""

import subprocess
from functools import cache
from pathlib import Path

from roadmap.errors import first_line
from roadmap.system.console import warn

FILES = ("roadmap", "conf", "train.py")  # those of a checkout that affect results
UNVERSIONED = "not a git repository"


@cache
def find_commit() -> str | None:
    """Return the code's commit, marked if a file that affects results was changed; of a wheel "version 0.1.0".

    None for a checkout that is no repository of its own, even inside another one, and with a warning if git
    refuses to read it.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "train.py").is_file():
        from roadmap import __version__  # not at the top, since the package imports this module

        return f"version {__version__}"
    try:
        top, commit = _ask(root, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top).resolve() != root:
            return None
        changes = _ask(root, "status", "--porcelain", "--", *FILES)
    except FileNotFoundError:  # no git on this machine
        return None
    except subprocess.CalledProcessError as error:
        if UNVERSIONED not in error.stderr:
            reason = first_line(ValueError(error.stderr))
            warn(f"results can't record the commit of their code: git does not read {root} ({reason})")
        return None
    return commit + ("-changed" if changes.strip() else "")


def _ask(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout
