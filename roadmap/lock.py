"""One process at a time, by a lock that the operating system frees when the process ends."""

import errno
import fcntl
import os
from pathlib import Path

UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lock:
    """A POSIX record lock on a file: none outlives its process, not even after SIGKILL, and children don't
    inherit it. NFS passes it on between machines."""

    def __init__(self, path: Path):
        self.path = path
        self._file: int | None = None

    def acquire(self, wait: bool = False) -> bool:
        """False if another process holds it, unless it waits. A file system without locks grants it always."""
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

    def is_lost(self) -> bool:
        """True if this process acquired it, and its file was removed or replaced since: others may have it too."""
        if self._file is None:
            return False
        try:
            return not os.path.samestat(os.fstat(self._file), os.stat(self.path))
        except OSError:
            return True

    def close(self) -> None:
        """Lets other processes have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
