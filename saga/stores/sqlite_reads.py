"""What is read from an SQLite store, and the connections that read it.

Readers see the last commit and never wait for the writer. Reads by a key that return little run on the
event loop itself, on a connection of their own: they take 5-15 µs, a hop to a thread 60-100 µs.
Whatever may be large (journals, lists, inboxes, documents) runs in a thread.
"""

# ruff: noqa: S608 - statements are put together of texts of this package alone

from __future__ import annotations

import asyncio
import heapq
import json
import queue
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from saga.errors import StoreUnavailable
from saga.ports.stored import DAMAGED, Listed, Message, NodeRow, Query, Record, StoredDefinition, Summary
from saga.stores import sqlite_sums
from saga.stores.sqlite_file import connect_reader

T = TypeVar("T")

#: Threads that read.
THREADS = 2
#: Seconds a read may hold its view of the file: a longer one keeps the write-ahead log from being reused.
READ_SECONDS = 1.0


class _Reader:
    """One read-only connection that gives up after :data:`READ_SECONDS`."""

    def __init__(self, path: Path) -> None:
        self.db = connect_reader(path)
        self._until = 0.0
        self.db.set_progress_handler(lambda: time.monotonic() > self._until, 10_000)

    def read(self, operation: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        self._until = time.monotonic() + READ_SECONDS
        try:
            return operation(self.db)
        except (UnicodeEncodeError, OverflowError):
            return nothing  # a key SQLite cannot hold is in no file
        except sqlite3.Error as problem:
            raise StoreUnavailable(f"the store cannot be read: {problem}") from problem
        finally:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")


class Readers:
    """The connections that read: one for the event loop, the others for threads."""

    def __init__(self, path: Path) -> None:
        self._near = _Reader(path)
        self._all = [self._near, *(_Reader(path) for _ in range(THREADS))]
        self._free: queue.SimpleQueue[_Reader] = queue.SimpleQueue()
        for reader in self._all[1:]:
            self._free.put(reader)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="saga-sqlite-reader")

    def near(self, operation: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """Read on the calling thread, which is always the event loop's."""
        return self._near.read(operation, nothing)

    async def far(self, operation: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """Read in a thread; a caller that is cancelled leaves the read to end by itself."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, operation, nothing)

    def close(self) -> None:
        """Wait for reads under way (at most :data:`READ_SECONDS`) and close."""
        self._threads.shutdown(wait=True)
        for reader in self._all:
            reader.db.close()

    def _read(self, operation: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        reader = self._free.get()
        try:
            return reader.read(operation, nothing)
        finally:
            self._free.put(reader)


# definitions

_DEFINITION = """SELECT d.name, d.version, d.document, d.created_at, r.name IS NOT NULL, d.sum
    FROM definitions d LEFT JOIN retired r ON r.name = d.name"""


def definition(db: sqlite3.Connection, name: str, version: int | None) -> StoredDefinition | None:
    """Return that version of the definition, or the latest."""
    if version is None:
        found = db.execute(f"{_DEFINITION} WHERE d.name = ? ORDER BY d.version DESC LIMIT 1", (name,))
    else:
        found = db.execute(f"{_DEFINITION} WHERE d.name = ? AND d.version = ?", (name, version))
    row = found.fetchone()
    return None if row is None else _stored(row)


def definitions(db: sqlite3.Connection) -> list[StoredDefinition]:
    """Return the latest version of every name that is not retired."""
    rows = db.execute(f"""{_DEFINITION} JOIN (SELECT name, max(version) AS version FROM definitions GROUP BY name)
        latest ON latest.name = d.name AND latest.version = d.version
        WHERE r.name IS NULL ORDER BY d.name""")
    return [_stored(row) for row in rows.fetchall()]


def versions(db: sqlite3.Connection, name: str) -> list[StoredDefinition]:
    """Return every version of the name."""
    rows = db.execute(f"{_DEFINITION} WHERE d.name = ? ORDER BY d.version", (name,))
    return [_stored(row) for row in rows.fetchall()]


def _stored(row: tuple[str, int, bytes, float, int, int | None]) -> StoredDefinition:
    name, version, written, created_at, deleted, kept = row
    document = sqlite_sums.document_or_damaged(version, written, kept)
    return StoredDefinition(
        name=name, version=version, document=document, created_at=created_at, deleted=bool(deleted)
    )


# one saga

_LISTED = """started_at, id, owner, fence, status, late, definition, version, updated_at, ended_at,
    labels, body, sum"""
_RECORD = f"SELECT start_key, fingerprint, format, inbox, seq, {_LISTED} FROM sagas WHERE id = ?"


def load(db: sqlite3.Connection, saga_id: str) -> Record | None:
    """Return the saga from one view of the file."""
    db.execute("BEGIN")  # rolled back by the reader
    return record(db, saga_id)


def record(db: sqlite3.Connection, saga_id: str) -> Record | None:
    """Return the saga, in the transaction that is open."""
    row = db.execute(_RECORD, (saga_id,)).fetchone()
    if row is None:
        return None
    (start_key, fingerprint, version, inbox, seq), head = row[:5], _listed(row[5:])
    return Record(
        id=head.id,
        start_key=start_key,
        fingerprint=fingerprint,
        owner=head.owner,
        fence=head.fence,
        format=version,
        summary=head.summary,
        entries=entries(db, saga_id, seq),
        messages=tuple(messages(db, saga_id)) if inbox else (),
    )


_JOURNAL = "SELECT seq, entry, sum FROM entries WHERE saga_id = ? ORDER BY seq"


def entries(db: sqlite3.Connection, saga_id: str, last: int) -> tuple[bytes, ...]:
    """Return the journal, ``last`` being the number of its last entry.

    In the place of an entry that is not what was written, or is not there, stands :data:`~saga.ports.stored.DAMAGED`.
    """
    rows = db.execute(_JOURNAL, (saga_id,)).fetchall()
    found = [sqlite_sums.entry_or_damaged(*row) for row in rows]
    if [row[0] for row in rows] != list(range(1, len(rows) + 1)) or len(rows) != last:
        first = next((at for at, row in enumerate(rows) if row[0] != at + 1), min(len(rows), last))
        found[first:] = [DAMAGED]
    return tuple(found)


def messages(db: sqlite3.Connection, saga_id: str) -> list[Message]:
    """Return the unfolded messages in the order they came."""
    rows = db.execute(
        "SELECT sum, id, kind, body, sender, at, about FROM inbox WHERE saga_id = ? ORDER BY place",
        (saga_id,),
    )
    return [_message(row) for row in rows.fetchall()]


def _message(row: tuple[int | None, str, str, bytes, str, float, str | None]) -> Message:
    kept, key, kind, body, sender, at, about = row
    message = Message(id=key, kind=kind, body=body, by=sender, at=at, about=about)
    return message if sqlite_sums.is_message(message, kept) else replace(message, body=DAMAGED)


# many sagas


def listed(db: sqlite3.Connection, query: Query) -> list[Listed]:
    """Return one page; each status is read from an index that is in the order of the list."""
    statuses = [None] if query.statuses is None else sorted(query.statuses)
    pages = [db.execute(*_page(query, status)).fetchall() for status in statuses]
    rows = heapq.merge(*pages, key=lambda row: (row[0], row[1]), reverse=True)
    return [_listed(row) for row, _ in zip(rows, range(query.limit), strict=False)]


def _page(query: Query, status: str | None) -> tuple[str, tuple[object, ...]]:
    wanted = {"definition = ?": query.definition, "status = ?": status}
    terms = {term: value for term, value in wanted.items() if value is not None}
    where, values = list(terms), list[object](terms.values())
    if query.after is not None:
        where.append("(started_at, id) < (?, ?)")
        values += query.after
    filtered = f" WHERE {' AND '.join(where)}" if where else ""
    return f"SELECT {_LISTED} FROM sagas{filtered} ORDER BY started_at DESC, id DESC LIMIT ?", (
        *values,
        query.limit,
    )


def _listed(row: tuple[Any, ...]) -> Listed:
    started_at, key, owner, fence, status, late, definition, version, updated_at, ended_at, *shown = row
    labels, body, kept = shown
    if kept is not None and not sqlite_sums.is_head(labels, body, kept):
        labels, body = "{}", DAMAGED
    summary = Summary(
        status=status,
        late=bool(late),
        definition=definition,
        version=version,
        started_at=started_at,
        updated_at=updated_at,
        ended_at=ended_at,
        labels=json.loads(labels),
        body=body,
    )
    return Listed(id=key, owner=owner, fence=fence, summary=summary)


_NEXT = """SELECT due_at FROM sagas WHERE owner IS NULL AND due_at IS NOT NULL AND format = ?
    ORDER BY due_at, id LIMIT 1"""
_NEWER = "SELECT count(*) FROM sagas WHERE owner IS NULL AND due_at IS NOT NULL AND format > ?"


def known(newest: int) -> range:
    """Return the formats of journals up to the newest: each is searched by itself, in the order of its index."""
    return range(1, newest + 1)


def next_due(db: sqlite3.Connection, newest: int) -> float | None:
    """Return the earliest time an unowned saga is due."""
    rows = (db.execute(_NEXT, (version,)).fetchone() for version in known(newest))
    return min((row[0] for row in rows if row is not None), default=None)


def newer(db: sqlite3.Connection, newest: int) -> int:
    """Return how many sagas no scan finds because of their format."""
    count: int = db.execute(_NEWER, (newest,)).fetchone()[0]
    return count


def owned(db: sqlite3.Connection, node: str) -> list[str]:
    """Return the ids of what the node owns."""
    rows = db.execute("SELECT id FROM sagas WHERE owner = ? ORDER BY id", (node,))
    return [key for (key,) in rows.fetchall()]


def inboxes(db: sqlite3.Connection, node: str) -> list[str]:
    """Return the ids of what the node owns and has messages for."""
    rows = db.execute("SELECT id FROM sagas WHERE owner = ? AND inbox > 0 ORDER BY id", (node,))
    return [key for (key,) in rows.fetchall()]


def nodes(db: sqlite3.Connection) -> Sequence[NodeRow]:
    """Return every node that is known."""
    rows = db.execute("SELECT id, beat, dead FROM nodes ORDER BY id").fetchall()
    return [NodeRow(id=node, beat=beat, dead=bool(dead)) for node, beat, dead in rows]
