"""The files beside the journal: the lock that lets one process write, and the space kept for the last writes."""

import fcntl
import os
import shutil
from pathlib import Path

from keeper.errors import JournalError

RESERVE_BYTES = 8 * 2**20
"""Some two hundred times what it takes to record one batch on its way."""


class WriterLock:
    """Held from construction to `release`, and let go by the kernel when the process dies, however it dies."""

    def __init__(self, journal: Path) -> None:
        """Raises JournalError naming the process that holds it."""
        path = journal.with_name(journal.name + ".lock")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._file, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise JournalError(
                f"The journal {journal} is in use by process {holder}; stop that daemon, "
                "or give this one a journal of its own ([journal] path)."
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Reserve:
    """Disk space set aside in a file, so that a full disk still takes what a rescue has to write."""

    def __init__(self, journal: Path, size: int = RESERVE_BYTES) -> None:
        self._path = journal.with_name(journal.name + ".reserve")
        self._size = size

    @property
    def is_set_aside(self) -> bool:
        return self._path.exists() and self._path.stat().st_size == self._size

    def set_aside(self) -> bool:
        """Takes the space if it is not taken yet; False when the disk has not got it."""
        try:
            if self.is_set_aside:
                return True
            if shutil.disk_usage(self._path.parent).free < self._size:
                return False
            with self._path.open("wb") as file:
                # Written out, not only allocated: some file systems promise space that they do not have.
                file.write(os.urandom(self._size))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True

    def release(self) -> bool:
        """Gives the space back to the disk; False when there was none."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
