"""A disk that fails on purpose, beneath SQLite itself: a VFS around the system's own, made with ctypes.

Every write, sync and truncation of every file SQLite has open goes through it and is counted; the one that was
ordered fails as a disk fails: there is no room, the device reports an error (perhaps after half of it was written),
a sync is not done.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Call = Literal["write", "sync", "truncate"]


@dataclass(kw_only=True)
class Disk:
    """What the disk was asked for, and at which call it fails."""

    #: Which kind of call fails, at which of them (from 1), and with which result; None: none.
    call: Call = "write"
    fails: int | None = None
    code: int = sqlite3.SQLITE_OK
    #: It fails at every later call as well, for as long as this stands.
    for_good: bool = False
    #: Half of what was to be written is written all the same.
    torn: bool = False
    counts: dict[Call, int] = field(default_factory=lambda: {"write": 0, "sync": 0, "truncate": 0})
    fired: int = 0
    #: Calls that were made after the first one that failed.
    after: list[Call] = field(default_factory=list)

    def order(self, call: Call, nth: int, code: int, *, for_good: bool = False, torn: bool = False) -> None:
        """Let the nth call of this kind from now on fail."""
        self.counts[call] = 0
        self.call, self.fails, self.code, self.for_good, self.torn = call, nth, code, for_good, torn
        self.fired, self.after = 0, []

    def mend(self) -> None:
        """Let nothing fail any more."""
        self.fails = None

    def result(self, call: Call) -> int:
        """Return what becomes of a call."""
        if self.fired:
            self.after.append(call)
        self.counts[call] += 1
        if self.fails is None or call != self.call:
            return sqlite3.SQLITE_OK
        due = self.counts[call] == self.fails or (self.for_good and self.counts[call] > self.fails)
        self.fired += due
        return self.code if due else sqlite3.SQLITE_OK


# --------------------------------------------------------------------------- the VFS

_File = ctypes.c_void_p
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _File, ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _File, ctypes.c_int)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _File, ctypes.c_longlong)
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, _File, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)


class _Methods(ctypes.Structure):
    """``sqlite3_io_methods`` in its third version."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("close", ctypes.c_void_p),
        ("read", ctypes.c_void_p),
        ("write", ctypes.c_void_p),
        ("truncate", ctypes.c_void_p),
        ("sync", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 13),
    )


class _Vfs(ctypes.Structure):
    """``sqlite3_vfs`` in its third version."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_name", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 15),
    )


def _library() -> Any:
    """Return the very SQLite that Python's module speaks to; ``AttributeError`` where it cannot be reached."""
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    library.sqlite3_vfs_register.argtypes = [ctypes.POINTER(_Vfs), ctypes.c_int]
    library.sqlite3_vfs_unregister.argtypes = [ctypes.POINTER(_Vfs)]
    return library


class _Wrapped:
    """Methods of files, with the three in question replaced; one for each table of methods there is."""

    def __init__(self, disk: Disk, own: int) -> None:
        methods = _Methods.from_buffer_copy(ctypes.string_at(own, ctypes.sizeof(_Methods)))
        write, sync, truncate = _WRITE(methods.write), _SYNC(methods.sync), _TRUNCATE(methods.truncate)

        def on_write(file: int, data: int, size: int, offset: int) -> int:
            if code := disk.result("write"):
                if disk.torn:
                    write(file, data, size // 2, offset)
                return code
            return int(write(file, data, size, offset))

        def on_sync(file: int, flags: int) -> int:
            return disk.result("sync") or int(sync(file, flags))

        def on_truncate(file: int, size: int) -> int:
            return disk.result("truncate") or int(truncate(file, size))

        # The callbacks have to live as long as the table.
        self._kept = (_WRITE(on_write), _SYNC(on_sync), _TRUNCATE(on_truncate))
        pointers = [ctypes.cast(kept, ctypes.c_void_p).value for kept in self._kept]
        methods.write, methods.sync, methods.truncate = pointers
        self.methods = methods


#: What SQLite may still hold pointers to is kept until the process ends.
_KEPT: Final[list[Any]] = []


@contextmanager
def failing_disk() -> Iterator[Disk]:
    """Let every file that is opened within lie on a disk that can be told to fail."""
    library, disk = _library(), Disk()
    own = library.sqlite3_vfs_find(None)
    made = _Vfs.from_buffer_copy(own.contents)
    made.name = b"failing"
    opens = _OPEN(own.contents.open)
    tables: dict[int, _Wrapped] = {}

    def on_open(_: int, name: int, file: int, flags: int, told: Any) -> int:
        code = int(opens(ctypes.addressof(own.contents), name, file, flags, told))
        methods = ctypes.c_void_p.from_address(file)
        if code == sqlite3.SQLITE_OK and methods.value:
            wrapped = tables.setdefault(methods.value, _Wrapped(disk, methods.value))
            methods.value = ctypes.addressof(wrapped.methods)
        return code

    callback = _OPEN(on_open)
    made.open = ctypes.cast(callback, ctypes.c_void_p)
    _KEPT.append((made, callback, opens, tables))
    library.sqlite3_vfs_register(ctypes.byref(made), 1)
    try:
        yield disk
    finally:
        disk.mend()
        library.sqlite3_vfs_unregister(ctypes.byref(made))


def reachable() -> bool:
    """Return whether SQLite can be reached beneath Python's module."""
    try:
        _library()
    except (AttributeError, OSError):
        return False
    return True
