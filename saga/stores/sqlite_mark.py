"""How far the write-ahead log had come when a commit was acknowledged, noted where the next process finds it.

SQLite reads its log up to the first frame that is not whole, for after a loss of power the last ones may not be; so a
log that was cut or changed would be read as one that had ended there, and what was acknowledged after it would be
gone without a word. Within one boot of the machine nothing is lost between a process and the disk, whoever is killed:
a log that is shorter than it was noted to be is damaged. After another boot nothing can be told from it.

What is noted is the head of the log's index, as SQLite itself keeps it: the number of frames, and two values that
change whenever the log begins anew. A log that has begun anew, or is gone, was copied into the file before, by
whatever program had it open last; so the file has changed since the note. If it has not, the log was not copied.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from saga.errors import StoreUnusable
from saga.stores.sqlite_lock import FileLock, beside

#: Where they stand in the index: frames, in the machine's order of bytes; two values as they are in the log.
_FRAMES: Final = slice(16, 20)
_SALTS: Final = slice(32, 40)
_HEAD: Final = 40
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a log goes, and which state of the file it continues."""

    frames: int
    salts: str
    #: When the file was last written, and its size.
    file: str

    def reaches(self, noted: Extent) -> bool:
        """Return whether a log that was noted can have become this one without a loss."""
        return self.frames >= noted.frames if self.salts == noted.salts else self.file != noted.file


class LogMark:
    """Notes, on the writing thread, how far the log has come; checks it at the next start."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self._path, self._lock = path, lock
        self._boot = _boot()
        #: The index. Once open it stays so until :meth:`close`: to close any descriptor of a file takes from this
        #: process the locks that SQLite has on it.
        self._index = -1

    def commit(self) -> None:
        """Note that everything up to the end of the log is about to be acknowledged."""
        found = self._extent()
        if found is not None and self._boot:
            with suppress(OSError):  # what was noted before is still true
                self._lock.note(f"{self._boot} {found.frames} {found.salts} {found.file}")

    def clear(self) -> None:
        """Note that the log is about to be cut to nothing."""
        self._lock.note("")

    def check(self) -> None:
        """Raise :class:`~saga.errors.StoreUnusable` when the log has lost what was noted; it was read just now."""
        noted = self._noted()
        if noted is None:
            return
        found = self._extent()
        if found is None or not found.reaches(noted):
            log, lock = beside(self._path, "-wal"), beside(self._path, ".lock")
            raise StoreUnusable(
                f"{log} was cut, changed or removed, and writes that were acknowledged are lost with it: put it back, "
                f"or restore both files from a backup; to go on with what is left, remove {lock}"
            )

    def close(self) -> None:
        """Let go of the index, after every connection was closed."""
        if self._index >= 0:
            os.close(self._index)
            self._index = -1

    def _extent(self) -> Extent | None:
        """Return how far the log goes; None without an index, which is there once a connection has read."""
        try:
            if self._index < 0:
                self._index = os.open(beside(self._path, "-shm"), os.O_RDONLY)
            head, file = os.pread(self._index, _HEAD, 0), self._path.stat()
        except OSError:
            return None
        if len(head) < _HEAD:
            return None
        frames = int.from_bytes(head[_FRAMES], sys.byteorder)
        return Extent(frames, head[_SALTS].hex(), f"{file.st_mtime_ns}.{file.st_size}")

    def _noted(self) -> Extent | None:
        """Return what was noted in this boot of the machine, None when nothing was."""
        with suppress(ValueError):
            boot, frames, salts, file = self._lock.left.split(" ")
            if boot == self._boot:
                return Extent(int(frames), salts, file)
        return None


def _boot() -> str:
    """Return what tells this boot of the machine from others; "" where that is not known."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
