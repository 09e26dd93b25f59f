"""Identity of a process (host, pid and start time, since pids are reused), and whether it is alive."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ENDED = "ZX"  # states in /proc/PID/stat of a dead process; a zombie keeps its pid until its parent waits for it


def describe_process() -> dict[str, Any]:
    """Return the entries of a run's state that identify this process."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "process_start": find_start_time(os.getpid())}


def is_alive(host: str, pid: int, process_start: str | None) -> bool | None:
    """Return True if a process is alive; None if it is on another host.

    Args:
        process_start: as from `describe_process`; None, as in states of earlier versions, checks only the pid.
    """
    if host != socket.gethostname():
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # alive, of another user
        pass
    if (fields := _read_stat(pid)) and fields[0] in ENDED:
        return False
    found = find_start_time(pid)
    return process_start is None or found is None or found == process_start


def find_start_time(pid: int) -> str | None:
    """Return a text that identifies a process's start among those with this pid; None if unknown."""
    if sys.platform != "linux":
        return _ask_ps(pid)
    fields = _read_stat(pid)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{boot} {fields[19]}" if fields else None  # clock ticks since the boot


def _read_stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the program's name; empty without such a file."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _ask_ps(pid: int) -> str | None:
    """Return the start time in seconds, on macOS and BSD."""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    except OSError:
        return None
