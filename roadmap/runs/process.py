"""Which process trains a run, and whether it still does: host, pid and start together, as pids are used again."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ENDED = "ZX"  # states in Linux's /proc/PID/stat of a process that has ended


def describe_process() -> dict[str, Any]:
    """This process, as a run's state names it."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "process_start": find_start(os.getpid())}


def is_alive(host: str, pid: int, process_start: str | None) -> bool | None:
    """Whether a process still runs; None for one on another host, where nobody can tell.

    Args:
        process_start: as `describe_process` has it; None, as in states of earlier versions, leaves it to the pid.
    """
    if host != socket.gethostname():
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    if _has_ended(pid):
        return False
    found = find_start(pid)
    return process_start is None or found is None or found == process_start


def find_start(pid: int) -> str | None:
    """When a process started, in words of the system that are equal for no other with this pid; None if unknown."""
    if sys.platform != "linux":
        return _ask_ps(pid)
    fields = _read_stat(pid)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{boot} {fields[19]}" if fields else None  # in clock ticks since the boot


def _has_ended(pid: int) -> bool:
    """Whether it is a zombie, which has a pid until its parent asks how it ended."""
    fields = _read_stat(pid)
    return bool(fields) and fields[0] in ENDED


def _read_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the program's name, which may hold anything; empty without such a file."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _ask_ps(pid: int) -> str | None:
    """To the second, as macOS and the BSDs have it."""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    except OSError:
        return None
