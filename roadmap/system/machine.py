"""CPU cores, memory, out-of-memory kills, and the C library's treatment of freed memory."""

import ctypes
import math
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# Constants of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER_TRIM = 2**31 - 1  # bytes

CGROUPS = Path("/sys/fs/cgroup")
# Signals of a crash; all others are sent from outside.
CRASHES = (
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGILL,
    signal.SIGFPE,
    signal.SIGTRAP,
    signal.SIGSYS,
)

SHARING = "CONVNET_ROADMAP_SHARING"  # environment variable: number of processes that share the cores


def count_cores() -> int:
    """Return the cores that this process may use; all cores if the system does not report them, as on macOS."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_cores_per_process() -> int:
    """Return this process's share of the cores, if torchrun or a sweep started one process per GPU."""
    sharing = [int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", SHARING)]
    return max(count_cores() // math.prod(sharing), 1)


def count_memory() -> int:
    """Return the machine's total memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def name_signal(number: int) -> str:
    """Return a signal's name, such as SIGKILL, or its number if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class MemoryKills:
    """Detects out-of-memory kills in this process's control group since the object was created."""

    def __init__(self) -> None:
        self._before = count_memory_kills()

    def happened(self) -> bool | None:
        """Return True if there were any; None if the system has no count."""
        now = count_memory_kills()
        return None if now is None or self._before is None else now > self._before


def count_memory_kills() -> int | None:
    """Count the kills in this process's control group so far, or on the whole machine if it is in none."""
    for path in (*_find_memory_counts(), Path("/proc/vmstat")):
        try:
            fields = path.read_text().split()
        except OSError:
            continue
        if "oom_kill" in fields:
            return int(fields[fields.index("oom_kill") + 1])
    return None


def _find_memory_counts() -> Iterator[Path]:
    """Yield the counter files of control groups v1 and v2; a container may see its own group as the root."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            root, name = (CGROUPS / "memory", "memory.oom_control") if controllers else (CGROUPS, "memory.events")
            yield from (root / group.lstrip("/") / name, root / name)


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next update instead of returning it to the system.

    Allocating it again costs a page fault per 4 KiB; benchmarks/README.md has the time. Beyond 32 MiB glibc returns
    memory in any case, unless all of it comes from its heap.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl does not have it
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER_TRIM)
