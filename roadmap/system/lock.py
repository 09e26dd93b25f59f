"""Lock file that allows one process at a time; the operating system frees it when the process ends."""

import errno
import os
import sys
from pathlib import Path

try:
    import fcntl
except ImportError:  # before other missing modules raise a traceback
    sys.exit(f"error: training runs on Linux and macOS; on {sys.platform}, which has no fcntl, use WSL")

UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lock:
    """A POSIX record lock on a file. It works between machines over NFS.

    It ends with its process, even after SIGKILL, and child processes do not inherit it.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: int | None = None

    def acquire(self, wait: bool = False) -> bool:
        """Return False if another process holds it, unless `wait`. A file system without locks always grants it."""
        if self._file is not None:
            return True
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                os.close(file)
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    return False
                raise
        self._file = file
        return True

    def is_removed(self) -> bool:
        """Return True if the locked file was removed or replaced, so that another process may hold the lock too."""
        if self._file is None:
            return False
        try:
            return not os.path.samestat(os.fstat(self._file), os.stat(self.path))
        except OSError:
            return True

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
