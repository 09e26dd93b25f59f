"""The processor's cores, the memory, kills for lack of it, and what the C library does with freed memory."""

import ctypes
import math
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER_TRIM = 2**31 - 1  # bytes

CGROUPS = Path("/sys/fs/cgroup")
# Signals that a process draws upon itself by a defect; it gets all others from outside.
CRASHES = (
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGILL,
    signal.SIGFPE,
    signal.SIGTRAP,
    signal.SIGSYS,
)

SHARING = "CONVNET_ROADMAP_SHARING"  # an environment variable: how many processes share the cores


def count_cores() -> int:
    """Those that this process may use, where the system tells them; macOS tells those that there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_own_cores() -> int:
    """This process's part of them, where torchrun or a sweep has started one for each GPU."""
    sharing = [int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", SHARING)]
    return max(count_cores() // math.prod(sharing), 1)


def count_memory() -> int:
    """Of the whole machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class MemoryKills:
    """Tells if the kernel has ended a process of this one's control group for lack of memory since it was made."""

    def __init__(self) -> None:
        self._before = count_memory_kills()

    def happened(self) -> bool | None:
        """None if the system keeps no count."""
        now = count_memory_kills()
        return None if now is None or self._before is None else now > self._before


def count_memory_kills() -> int | None:
    """Those in this process's control group so far, or on the whole machine if it is in none."""
    for path in (*_find_memory_counts(), Path("/proc/vmstat")):
        try:
            words = path.read_text().split()
        except OSError:
            continue
        if "oom_kill" in words:
            return int(words[words.index("oom_kill") + 1])
    return None


def _find_memory_counts() -> Iterator[Path]:
    """Of versions 1 and 2 of control groups; a container may see its own as the root."""
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
    """The C library keeps the memory of freed tensors, for the next update, where it would give it back.

    To get it anew costs a page fault every 4 KiB. Micro steps 0, 4, 7 and 12 on CIFAR-10 are 1.08, 1.12, 1.11
    and 1.09 times as fast for it (medians of n = 5 pairs, which range from 0.93 to 1.38; batch 128, 1 thread of
    an AMD EPYC, glibc 2.36, 2026-11-24). Beyond 32 MiB glibc gives memory back whatever it is told, unless all
    comes from its heap: an update of ConvNeXt-T on 32 images of 224 pixels took 8.7 and 9.4 s, and so takes 6.8 and
    6.9 s (medians of n = 5 in two processes each, 2 threads, 2026-11-25).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER_TRIM)
