"""What SQLite's errors mean to the store."""

from __future__ import annotations

import sqlite3

from saga.errors import StoreError, StoreUnavailable

#: The disk or the file is broken: nothing more may be written.
FATAL = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
#: The whole transaction cannot be done now; perhaps later.
PASSING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_INTERRUPT,
}


def primary(problem: Exception) -> int:
    """Return SQLite's primary result code; 0 when the error is not SQLite's."""
    return getattr(problem, "sqlite_errorcode", 0) & 0xFF


def stopped(problem: Exception) -> str:
    """Return why the store stops for good."""
    return f"the store has stopped, its disk or file failed: {problem}"


def unwritten(code: int, problem: Exception) -> StoreError:
    """Return what is told of a write that was not done; the same may be written again when it is StoreUnavailable."""
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable(f"the store's disk is full: {problem}")
    if code in FATAL or code in PASSING:
        return StoreUnavailable(f"the store cannot be written: {problem}")
    return StoreError(f"the store cannot hold this: {problem}")
