"""The version of the code behind a result."""

import subprocess
from functools import cache
from pathlib import Path


@cache
def find_commit() -> str | None:
    """Return the code's commit, marked if a file that affects results was changed; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parents[2])]
    files = ["roadmap", "conf", "train.py"]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        status = [*git, "status", "--porcelain", "--", *files]
        changes = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("-changed" if changes.strip() else "")
