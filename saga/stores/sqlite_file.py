"""The store's file: how it is made and opened, and what is refused instead of guessed.

Nothing here ever puts a new file in the place of one that was there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

from saga.errors import StoreUnusable
from saga.stores.sqlite_errors import primary
from saga.stores.sqlite_lock import beside
from saga.stores.sqlite_mark import LogMark
from saga.stores.sqlite_schema import APPLICATION_ID, FORMAT, migrate, strange

Durability = Literal["full", "fast"]

log = logging.getLogger("saga.stores.sqlite")

#: The first that knows UPDATE … FROM.
OLDEST_SQLITE = (3, 33, 0)

#: Versions with the WAL-reset bug, the first and the last.
_WAL_RESET_FROM, _WAL_RESET_TO = (3, 7, 0), (3, 51, 2)
_WAL_RESET = (
    "; versions before 3.51.3 can damage a file that two programs write at the same time (the WAL-reset bug): the"
    " coordinator writes alone, so nothing needs to be done as long as no other program writes to its file"
)

_MAGIC = b"SQLite format 3\x00"
_HEADER = 100
#: Seconds the integrity check may take at open: enough for some hundred megabytes; what it did not reach
#: is found when it is read.
CHECK_SECONDS = 0.5
#: Seconds to wait for a program that is not ours, a backup or a shell, to let go of the file.
BUSY_SECONDS = 5.0


def open_file(
    path: Path, durability: Durability, factory: type[sqlite3.Connection], mark: LogMark
) -> sqlite3.Connection:
    """Return the connection that writes, to a file that was checked or made.

    The caller holds the :class:`~saga.stores.sqlite_lock.FileLock`. Raises :class:`~saga.errors.StoreUnusable`, saying what to do.
    """
    if path.exists():
        _inspect(path)
        check_log = mark.check
    else:
        _create(path)
        check_log = mark.clear
    return _connect(path, durability, factory, check_log)


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is opened into :class:`~saga.errors.StoreUnusable`."""
    try:
        yield
    except OSError as problem:
        raise StoreUnusable(f"{path} cannot be opened: {problem}") from problem
    except sqlite3.Error as problem:
        raise StoreUnusable(_advice(path, problem)) from problem


def check_folder(path: Path) -> None:
    """Raise :class:`~saga.errors.StoreUnusable` when there is no folder to hold the file."""
    if not path.parent.is_dir():
        raise StoreUnusable(
            f"the folder {path.parent} does not exist: make it, or name another in SAGA_STORE"
        )


def connect_reader(path: Path) -> sqlite3.Connection:
    """Return a connection that cannot write, for one thread at a time."""
    db = sqlite3.connect(
        f"{path.as_uri()}?mode=ro", uri=True, timeout=1.0, isolation_level=None, check_same_thread=False
    )
    db.text_factory = text
    db.execute("PRAGMA query_only = ON")
    # A connection is connected by its first read. After a failure of the disk the readers are the last to leave,
    # so that no closing writer copies the log; and for that they must be there.
    db.execute("SELECT count(*) FROM pulse").fetchone()
    return db


def text(stored: bytes) -> str:
    """Return a text; one whose bytes were changed into none must not stand in the way of all others."""
    return stored.decode("utf-8", "replace")


def close_unwritten(path: Path, db: sqlite3.Connection) -> None:
    """Close a connection without copying the log into the file: for a file that is refused, or a disk that failed.

    The last connection to close does that, and syncs both; so the last is one that cannot.
    """
    with ExitStack() as stack:
        if has_content(beside(path, "-wal")):
            with suppress(sqlite3.Error):
                last = stack.enter_context(closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)))
                last.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        db.close()


def check_version() -> None:
    """Log which SQLite this is, and whether it has the WAL-reset bug, in one line.

    Raises :class:`~saga.errors.StoreUnusable` when it is too old.
    """
    found = sqlite3.sqlite_version_info
    log.info(
        "SQLite %s%s", sqlite3.sqlite_version, _WAL_RESET if _WAL_RESET_FROM <= found <= _WAL_RESET_TO else ""
    )
    if found < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise StoreUnusable(
            f"this Python has SQLite {sqlite3.sqlite_version}, the store needs {needed} or newer: use a Python "
            f"that was built with one"
        )


def _inspect(path: Path) -> None:
    """Refuse what is not a whole store file of ours, before SQLite touches it."""
    if not path.is_file():
        raise StoreUnusable(f"{path} is not a file: name a file in SAGA_STORE")
    with path.open("rb") as file:
        header = file.read(_HEADER)
    size = path.stat().st_size
    if path.stat().st_nlink > 1:
        raise StoreUnusable(
            f"{path} has a second name (a hard link), under which another coordinator could have it open: "
            f"remove the other name, or copy the file"
        )
    if size == 0:
        raise StoreUnusable(f"{path} is empty: restore it from a backup, or remove it to start with no sagas")
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise StoreUnusable(f"{path} is not an SQLite database: restore it, or name another in SAGA_STORE")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreUnusable(f"{path} belongs to another application: name another file in SAGA_STORE")
    _check_length(path, header, size)


def _check_format(path: Path, found: int) -> None:
    if found > FORMAT:
        raise StoreUnusable(
            f"{path} has format {found}, this release knows up to {FORMAT}: run the newer release that made "
            f"it, or restore a backup taken before the upgrade"
        )


def _check_length(path: Path, header: bytes, size: int) -> None:
    """Refuse a file shorter than it says.

    Only without a write-ahead log: a checkpoint that was cut off by a kill may leave the file shorter than
    its first page says, and the log still holds the rest.
    """
    if has_content(beside(path, "-wal")):
        return
    page = int.from_bytes(header[16:18], "big")
    expected = int.from_bytes(header[28:32], "big") * (65536 if page == 1 else page)
    if size < expected:
        raise StoreUnusable(f"{path} was cut: {size} of {expected} bytes are left; restore it from a backup")


def _create(path: Path) -> None:
    """Make the file under another name and rename it, so that no kill leaves half of one."""
    for suffix in ("-wal", "-journal"):
        left = beside(path, suffix)
        if has_content(left):
            raise StoreUnusable(
                f"{path} is missing but {left.name} is there and holds part of it: put the file back, or move "
                f"{left.name} away to start with no sagas"
            )
        left.unlink(missing_ok=True)
    draft = beside(path, ".new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        beside(draft, suffix).unlink(missing_ok=True)
    _fill(draft)
    _sync(draft)
    draft.rename(path)
    _sync(path.parent)
    log.info("made the store file %s", path)


def _fill(draft: Path) -> None:
    db = sqlite3.connect(draft, isolation_level=None)
    try:
        migrate(db)
        db.execute("PRAGMA journal_mode = WAL")
    finally:
        db.close()


def _connect(
    path: Path, durability: Durability, factory: type[sqlite3.Connection], check_log: Callable[[], None]
) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None, factory=factory
    )
    db.text_factory = text
    try:
        _check_format(path, db.execute("PRAGMA user_version").fetchone()[0])
        check_log()
        _configure(path, db, durability)
        _check_pages(path, db)
        migrate(db)
        _check_schema(path, db)
    except BaseException:
        close_unwritten(path, db)
        raise
    return db


def _configure(path: Path, db: sqlite3.Connection, durability: Durability) -> None:
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreUnusable(f"{path} cannot have a write-ahead log here: put it on a local disk")
    db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("PRAGMA mmap_size = 0")
    db.execute("PRAGMA cache_size = -32768")  # KiB
    db.execute("PRAGMA temp_store = MEMORY")


def _check_pages(path: Path, db: sqlite3.Connection) -> None:
    """Refuse a file whose structure is damaged, as far as that is found in :data:`CHECK_SECONDS`."""
    until = time.monotonic() + CHECK_SECONDS
    db.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    try:
        (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.OperationalError as problem:
        if problem.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        log.info("%s is large: its integrity was checked in part", path)
        return
    finally:
        db.set_progress_handler(None, 0)
    if found != "ok":
        what = found.replace("*** in database main ***", "").strip()
        raise StoreUnusable(f"{path} is damaged ({what}): restore it from a backup")


def _check_schema(path: Path, db: sqlite3.Connection) -> None:
    """Refuse a file whose tables are not those that this release has made."""
    if (name := strange(db)) is not None:
        raise StoreUnusable(f"{path} is damaged ({name} is not as it was made): restore it from a backup")


def _advice(path: Path, problem: sqlite3.Error) -> str:
    code = primary(problem)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"{path} is damaged ({problem}): restore it from a backup"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{path} is locked by another program: close that one first"
    if code == sqlite3.SQLITE_FULL:
        return f"{path} cannot be written, the disk is full: make room first"
    return f"{path} cannot be opened ({problem}): see that this user may read and write it and its folder"


def has_content(path: Path) -> bool:
    """Return whether there is such a file, and anything in it."""
    return path.exists() and path.stat().st_size > 0


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
