"""Who may have the store's file open, and whether it is still the one that its name leads to."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from saga.errors import StoreUnusable


class FileLock:
    """An exclusive lock beside the file, for as long as the store is open.

    It is the kernel's: a killed process holds it no longer. A lock counts only while its name leads to it, so that
    the lock file can be removed by who holds it without two processes ever holding one each.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = beside(path, ".lock")
        self._fd = -1
        #: What its last holder has noted, "" for nothing.
        self.left = ""

    def acquire(self) -> None:
        """Take the lock; raises :class:`~saga.errors.StoreUnusable` when another process has it."""
        while self._fd < 0:
            self._fd = self._locked()
        self.left = _read(self._fd).partition("\n")[2].partition("\n")[0]
        self.note(self.left)

    def note(self, what: str) -> None:
        """Note one line for the next holder, in the place of the last; "" for none."""
        said = f"{os.getpid()}\n{what}\n" if what else f"{os.getpid()}\n"
        os.pwrite(self._fd, said.encode(), 0)
        os.ftruncate(self._fd, len(said))

    def _locked(self) -> int:
        """Return the lock file, locked; -1 when its holder removed it while it was being opened."""
        fd = os.open(self._name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _identity(self._name) == _identity(fd):
                return fd
        except BlockingIOError:
            holder = _read(fd).partition("\n")[0].strip() or "unknown"
            os.close(fd)
            raise StoreUnusable(
                f"{self._path} is in use by another coordinator (process {holder}): stop that one first, or "
                f"give this one a file of its own in SAGA_STORE"
            ) from None
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
        return -1

    def release(self) -> None:
        """Let go of the lock; more than once changes nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def withdraw(self) -> None:
        """Let go of the lock and remove its file, unless its last holder has noted something in it.

        A store that was not opened has no other use for it.
        """
        if not self.left and self._fd >= 0 and _identity(self._name) == _identity(self._fd):
            self._name.unlink()
        self.release()


def _read(fd: int) -> str:
    return os.pread(fd, 256, 0).decode("ascii", "replace")


class Names:
    """Notices when the files that are open are no longer the ones their names lead to.

    A file that was removed or replaced can be written for as long as it is open, and is gone after that; without
    the lock file a second process would be let in. What is acknowledged must be there under its name.
    """

    def __init__(self, path: Path) -> None:
        names = (path, beside(path, "-wal"), beside(path, ".lock"))
        self._known = [(name, found) for name in names if (found := _identity(name)) is not None]

    def lost(self) -> Path | None:
        """Return a name that leads elsewhere now, None while all is as it was when this was made."""
        return next((name for name, known in self._known if _identity(name) != known), None)


def _identity(path: Path | int) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - once a batch: a Path makes it three times as dear
    except OSError:
        return None
    return found.st_dev, found.st_ino


def beside(path: Path, suffix: str) -> Path:
    """Return the name of a file that stands beside the store's."""
    return path.with_name(path.name + suffix)
