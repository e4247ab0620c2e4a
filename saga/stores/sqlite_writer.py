"""The one thread that writes: it takes all that is queued and commits it as one transaction.

Nothing waits for company: while one batch is being made durable, the next one gathers. A write that is
refused by what it finds (a lost lease, a full inbox) has touched nothing, so the others of its batch go on.
Appends and starts are first tried with a few statements for all of them (:mod:`saga.stores.sqlite_bulk`).
A write SQLite itself cannot take (a text that is no text) undoes its batch, which is then done again one
by one.

When the disk fails at a commit or a checkpoint, the store stops for good. After a failed fsync the kernel
may have dropped the pages and call the next fsync a success; only reading the file anew tells what is there.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from saga.errors import StoreUnavailable, StoreUnknown
from saga.ports.stored import Counters
from saga.stores.ranks import Counted, Rank
from saga.stores.sqlite_bulk import do
from saga.stores.sqlite_errors import FATAL, PASSING, primary, stopped, unwritten
from saga.stores.sqlite_file import BUSY_SECONDS
from saga.stores.sqlite_lock import Names
from saga.stores.sqlite_mark import LogMark
from saga.stores.sqlite_queue import Write, WriteQueue

T = TypeVar("T")

log = logging.getLogger("saga.stores.sqlite")

#: Rows written after which the log is copied into the file. By itself a row dirties one or two pages of
#: 4 KB, in a batch of a hundred a quarter of one.
CHECKPOINT_PAGES = 4_000
#: Bytes of a page.
PAGE_BYTES = 4096
#: Bytes of log above which a checkpoint waits for readers, so that the log can begin anew.
LOG_BYTES = 64_000_000
#: Seconds without a write after which the log is copied and cut to nothing.
IDLE_SECONDS = 1.0


class End(Protocol):
    """Closes everything; does not write when the store has failed."""

    def __call__(self, db: sqlite3.Connection | None, *, failed: bool) -> None:
        """Close the connection, None when it was never opened, and what goes with it."""


class Writer:
    """The queue and the thread behind it; made and used on the event loop's thread."""

    def __init__(
        self,
        *,
        path: Path,
        counters: Counters,
        mark: LogMark,
        begin: Callable[[], sqlite3.Connection],
        end: End,
    ) -> None:
        """Prepare a writer.

        ``begin`` opens the connection and ``end`` closes everything, told whether the store has failed; both
        run on the writer's thread.
        """
        self._file = path
        self._log = path.with_name(path.name + "-wal")
        self._counters = counters
        self._mark = mark
        self._begin = begin
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self.failed: asyncio.Future[str] = self._loop.create_future()
        self._reason: str | None = None
        self._queue = WriteQueue()
        #: Pages written since the last checkpoint, and whether the log may hold anything.
        self._pages = 0
        self._dirty = True
        self._short = False
        self._thread = threading.Thread(target=self._run, name="saga-sqlite-writer", daemon=True)

    async def start(self) -> None:
        """Start the thread and return when ``begin`` has succeeded, or raise what it raised."""
        self._thread.start()
        await asyncio.shield(self._ready)

    async def stop(self) -> None:
        """Write what is queued, run ``end`` and return."""
        self._queue.close()
        await asyncio.shield(self._ended)

    def submit(
        self,
        rank: Rank,
        operation: Callable[[sqlite3.Connection], T],
        *,
        size: int = 0,
        counted: Counted | None = None,
    ) -> asyncio.Future[T]:
        """Queue a write; the future is resolved when it is durable.

        Raises :class:`~saga.errors.StoreUnavailable` as :meth:`WriteQueue.put` does.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(Write(operation, future, size, counted), rank)
        return future

    @property
    def reason(self) -> str | None:
        """Why the store has stopped for good, None while it has not."""
        return self._reason

    def backlog(self) -> float:
        """Return the age in seconds of the oldest queued write; ``inf`` when the queue is full."""
        return self._queue.backlog()

    # the thread

    def _run(self) -> None:
        db: sqlite3.Connection | None = None
        try:
            db = self._begin()
            self._names = Names(self._file)
            self._tell(_settle, self._ready, None)
            self._serve(db)
        except BaseException as problem:  # whatever it is, no waiter may be left waiting
            if db is None:
                self._tell(_fail, self._ready, problem)
            else:
                log.exception("the store's writer broke")
                self._give_up(f"the store's writer broke: {problem!r}")
        self._finish(db)

    def _finish(self, db: sqlite3.Connection | None) -> None:
        if db is not None:
            self._queue.wait_closed()  # after a failure the connections stay as they are until then
        try:
            self._end(db, failed=self._reason is not None)
        except Exception:
            log.exception("the store was not closed in order")
        self._tell(_settle, self._ended, None)

    def _serve(self, db: sqlite3.Connection) -> None:
        # A process that is killed time and again never gets as far as a checkpoint of its own, while the log it
        # was left grows with every life, and with it the time to read it at the next start. So that log counts.
        self._pages = self._log.stat().st_size // PAGE_BYTES
        while self._reason is None:
            batch = self._queue.take(IDLE_SECONDS if self._dirty else None)
            if batch:
                self._attempt(db, batch)
            elif self._queue.closed:
                return
            # After a failure nothing is copied: a sync that failed must not be tried again.
            if self._reason is None and (self._pages >= CHECKPOINT_PAGES or not batch):
                self._checkpoint(db, idle=not batch)

    def _attempt(self, db: sqlite3.Connection, batch: Sequence[Write]) -> None:
        try:
            self._write(db, batch)
        except BaseException as problem:
            for write in batch:
                write.error = StoreUnknown(f"the store's writer broke: {problem!r}")
            self._answer(batch)
            raise

    def _write(self, db: sqlite3.Connection, batch: Sequence[Write]) -> None:
        """Do the batch in one transaction, and tell the waiters."""
        try:
            db.execute("BEGIN IMMEDIATE")
            changes = do(db, batch)
        except Exception as problem:  # noqa: BLE001 - whatever one write raises, the others are not to suffer
            self._undo(db)
            self._spoiled(db, batch, problem)
            return
        try:
            db.execute("COMMIT")
        except sqlite3.Error as problem:
            self._undo(db)
            self._uncertain(batch, problem)
        else:
            self._committed(batch, changes)
            self._check_names(batch)
        self._answer(batch)

    def _check_names(self, batch: Sequence[Write]) -> None:
        """Acknowledge nothing that the next process would not find; looked at after the commit, so it counts."""
        lost = self._names.lost()
        if lost is None:
            return
        self._give_up(f"{lost} was moved, replaced or removed while it was in use: put it back")
        for write in batch:
            write.error = StoreUnknown(f"{lost} is not where it was; what was written may be lost with it")

    def _committed(self, batch: Sequence[Write], changes: int) -> None:
        if self._short:
            self._short = False
            log.warning("the store can be written again")
        if changes:
            self._counters.commits += 1
            self._mark.commit()
        for write in batch:
            if write.error is None and write.counted == "appends":
                self._counters.appends += 1
            elif write.error is None and write.counted == "starts":
                self._counters.starts += write.value is None
        self._pages += changes + sum(write.size for write in batch) // PAGE_BYTES
        self._dirty = self._dirty or changes > 0

    def _spoiled(self, db: sqlite3.Connection, batch: Sequence[Write], problem: Exception) -> None:
        """Judge a batch that was rolled back before its commit: nothing of it was written."""
        code = primary(problem)
        if code in FATAL:
            self._give_up(stopped(problem))
        elif code in PASSING:
            self._warn(problem)
        elif len(batch) > 1:
            for write in batch:  # one of them is at fault: it shall fail alone
                self._write(db, [write])
            return
        for write in batch:
            write.error = unwritten(code, problem)
        self._answer(batch)

    def _uncertain(self, batch: Sequence[Write], problem: sqlite3.Error) -> None:
        """Judge a batch whose commit failed."""
        code = primary(problem)
        # Out of space the commit record itself was not written, so the log ends before it. After any
        # other error it may be in the file, whole or not.
        known = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
        if known:
            self._warn(problem)
        else:
            self._give_up(stopped(problem))
        for write in batch:
            write.error = (
                unwritten(code, problem)
                if known
                else StoreUnknown(f"the commit failed and may be durable all the same: {problem}")
            )

    def _checkpoint(self, db: sqlite3.Connection, *, idle: bool) -> None:
        """Copy the log into the file: without waiting for anybody, unless the log has grown very long."""
        long = self._log.stat().st_size > LOG_BYTES
        mode = "TRUNCATE" if idle or long else "PASSIVE"
        self._pages = 0
        try:
            if mode == "TRUNCATE":
                self._mark.clear()
            db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000 * long:.0f}")
            busy, logged, copied = db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
            self._dirty = bool(busy) or mode == "PASSIVE"
            if logged == copied:  # the log may begin anew, and nobody needs it
                self._mark.clear()
        except OSError as problem:  # the note says more than is needed, and so the log has to stay
            self._warn(problem)
        except sqlite3.Error as problem:
            if primary(problem) in PASSING:
                self._warn(problem)
            else:
                self._give_up(stopped(problem))

    def _undo(self, db: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error):
            if db.in_transaction:
                db.execute("ROLLBACK")
        if db.in_transaction:
            self._give_up("a transaction of the store could not be rolled back")

    def _warn(self, problem: Exception) -> None:
        """Log that writing fails: once, not for every batch of an outage."""
        if not self._short:
            self._short = True
            log.error("the store cannot be written: %s", problem)

    def _give_up(self, reason: str) -> None:
        """Stop for good: fail what is queued, and all that comes."""
        if self._reason is not None:
            return
        log.critical("%s; end this process and start it again", reason)
        self._reason = reason
        left = self._queue.fail(reason)
        for write in left:
            write.error = StoreUnavailable(reason)
        self._answer(left)
        self._tell(_settle, self.failed, reason)

    def _answer(self, batch: Sequence[Write]) -> None:
        self._tell(_resolve, batch)

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(call, *args)


def _resolve(batch: Sequence[Write]) -> None:
    for write in batch:
        write.resolve()


def _settle(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], problem: BaseException) -> None:
    if not future.done():
        future.set_exception(problem)
