"""The version of the code that a result came from."""

import subprocess
from functools import cache
from pathlib import Path


@cache
def find_commit() -> str | None:
    """The commit of the code, marked where a file that results hang on was changed; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parents[2])]
    files = ["roadmap", "conf", "train.py"]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        status = [*git, "status", "--porcelain", "--", *files]
        changes = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("-changed" if changes.strip() else "")
