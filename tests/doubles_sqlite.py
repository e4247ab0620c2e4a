"""Doubles and handles for tests that look behind an SQLite store."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from saga.stores.ranks import Rank
from saga.stores.sqlite import SqliteStore


@asynccontextmanager
async def opened(path: Path, **settings: Any) -> AsyncIterator[SqliteStore]:
    """Open a store and close it again, also after a failure."""
    store = SqliteStore(path, **settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Broken(sqlite3.Connection):
    """A connection whose commits and checkpoints fail when told to; it remembers what it was asked."""

    #: SQLite's result code, and whether the statement is done all the same; per first word of a statement.
    faults: dict[str, tuple[int, bool]] = {}  # noqa: RUF012 - reset by the fixture
    asked: list[str] = []  # noqa: RUF012 - reset by the fixture

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """Execute, or fail as SQLite does."""
        self.asked.append(sql)
        code, done = self.faults.get(sql.split("(", maxsplit=1)[0], (0, True))
        cursor = super().execute(sql, *args) if done else None
        if code:
            problem = sqlite3.OperationalError("disk I/O error" if code & 0xFF == 10 else "no")
            problem.sqlite_errorcode = code
            raise problem
        assert cursor is not None
        return cursor


class Hold:
    """Keeps the writer in the middle of a transaction."""

    def __init__(self, store: SqliteStore) -> None:
        assert store._writer is not None
        self.writer = store._writer
        self.reached, self.released = threading.Event(), threading.Event()

    async def busy(self) -> None:
        """Return when the writer is held."""
        await asyncio.get_running_loop().run_in_executor(None, self.reached.wait)

    async def queued(self, count: int) -> None:
        """Return when so many writes wait."""
        while len(self.writer._queue) < count:
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)

    def wait(self, db: sqlite3.Connection) -> None:
        """Be the write that takes long."""
        self.reached.set()
        self.released.wait()

    def __enter__(self) -> Self:
        held = self.writer.submit(Rank.RESULT, self.wait)
        held.add_done_callback(
            asyncio.Future.exception
        )  # when the store fails, nobody else asks what became of it
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()


async def ask(store: SqliteStore, sql: str) -> Any:
    """Return the first value the statement gives on the writing connection, outside a transaction."""
    assert store._writer is not None

    def run(db: sqlite3.Connection) -> Any:
        row = db.execute(sql).fetchone()
        return row[0] if row else None

    return await store._writer.submit(Rank.RESULT, run)
