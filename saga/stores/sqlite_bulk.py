"""Appends and starts of a batch that go down together: a few statements for all instead of some for each.

A statement costs the writing thread little in SQLite and much around it: it gives up the interpreter's lock
several times, and has to wait for the event loop to take it again. So whatever is common is written as rows
of one ``VALUES`` list. The values are bound one by one, exactly as in :mod:`saga.stores.sqlite_writes`:
nothing passes through a text, so bytes, REALs and NULLs arrive as they are.

Whether every one of them was allowed is told by the number of rows that changed. If it is not as expected
nothing says which was refused: the transaction is to be undone, and each write done by itself.
"""

# ruff: noqa: S608 - statements are put together of texts of this package alone

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import TypeAlias, TypeGuard

from saga.ports.stored import Append, Existing, Lease, NewSaga
from saga.stores import sqlite_writes
from saga.stores.sqlite_queue import Write

#: Writes below which each is done by itself.
FEW = 2
#: Rows of one statement at most; longer lists take several.
ROWS = 128
#: Lists are filled up with NULLs to the next of these lengths, so that few statements are ever prepared.
_LENGTHS = (4, 8, 16, 32, 64, ROWS)


class Appending:
    """An append, to be done by itself or with others."""

    __slots__ = ("batch", "lease")

    def __init__(self, lease: Lease, batch: Append) -> None:
        self.lease = lease
        self.batch = batch

    def __call__(self, db: sqlite3.Connection) -> Lease:
        """Do it by itself."""
        return sqlite_writes.append(db, self.lease, self.batch)

    def done(self) -> Lease:
        """Return the answer when it was done with others."""
        return sqlite_writes.lease_after(self.lease, self.batch)


class Starting:
    """A start, to be done by itself or with others."""

    __slots__ = ("saga",)

    def __init__(self, saga: NewSaga) -> None:
        self.saga = saga

    def __call__(self, db: sqlite3.Connection) -> Existing | None:
        """Do it by itself."""
        return sqlite_writes.start(db, self.saga)

    def done(self) -> None:
        """Return the answer when it was done with others: it was new."""


Bulk: TypeAlias = Appending | Starting


def plain(operation: object) -> TypeGuard[Bulk]:
    """Return whether this may be done with others.

    An append that folds messages has more to do. One without entries leaves the saga's ``seq`` as it is, and
    :func:`_append` counts on its rising.
    """
    if isinstance(operation, Appending):
        return bool(operation.batch.entries) and not operation.batch.folded
    return isinstance(operation, Starting)


def do(db: sqlite3.Connection, batch: Sequence[Write]) -> int:
    """Do every write in the transaction just begun; return how many rows changed.

    Those that can be done together go first: when one of them is refused, nothing else was done yet that
    would be done twice. The order in a batch is promised to nobody, since no write of it had been answered
    when the last one was queued.
    """
    before, left = db.total_changes, batch
    many = [(write, write.operation) for write in batch if plain(write.operation)]
    if len(many) >= FEW:
        if together(db, [operation for _, operation in many]):
            for write, operation in many:
                write.value = operation.done()
            left = [write for write in batch if not plain(write.operation)]
        else:  # one is to be told why, and the others are to be done
            db.execute("ROLLBACK")
            db.execute("BEGIN IMMEDIATE")
            before = db.total_changes  # a rollback does not take back what it counted
    for write in left:
        write.run(db)
    return db.total_changes - before


def together(db: sqlite3.Connection, operations: Sequence[Bulk]) -> bool:
    """Do all of them in the open transaction; False when one was refused, and then it is to be undone."""
    appends = [each for each in operations if isinstance(each, Appending)]
    starts = [each.saga for each in operations if isinstance(each, Starting)]
    if not _append(db, appends) or not _start(db, starts):
        return False
    added = ((each.lease.saga_id, each.lease.seq, each.batch.entries) for each in appends)
    first = ((saga.id, 0, saga.entries) for saga in starts)
    _run(
        db,
        _entries,
        [row for journal in (added, first) for part in journal for row in sqlite_writes.numbered(*part)],
    )
    return True


# appends

# What an append checks and sets, as columns of the list.
_APPEND = """id, owner, fence, seq, added, due_at, updated_at, ended_at, late, labels, body, sum,
    status, definition, version, started_at, released, raised""".replace("\n", "").split(", ")
_SET = """seq = sagas.seq + v.added, due_at = v.due_at, updated_at = v.updated_at, ended_at = v.ended_at,
    late = v.late, labels = v.labels, body = v.body, sum = v.sum"""
# An inbox that is not empty has a say in when the saga is due, and may forbid the append.
_HELD = """sagas.id = v.id AND sagas.owner = v.owner AND sagas.fence = v.fence AND sagas.seq = v.seq
    AND sagas.inbox = 0"""


def _append(db: sqlite3.Connection, appends: Sequence[Appending]) -> bool:
    """Move the heads of the sagas on; whether every lease held.

    First those that change nothing a list is sorted by, which spares its indexes; then all that are left. An
    append that was done does not match again, for ``seq`` has risen past its lease, and a statement changes
    a saga once, however many rows ask for it. So as many changes as appends means that each was done.
    """
    moves = [_append_row(each) for each in appends if not (each.batch.release or each.batch.raise_fence)]
    others = [_append_row(each) for each in appends if each.batch.release or each.batch.raise_fence]
    moved = _run(db, _move, moves)
    if moved < len(moves):
        others += moves
    return moved + _run(db, _shift, others) == len(appends)


def _append_row(append: Appending) -> tuple[object, ...]:
    lease, batch = append.lease, append.batch
    summary = batch.summary
    held = (lease.saga_id, lease.node, lease.fence, lease.seq, len(batch.entries))
    when = (batch.wake_at, summary.updated_at, summary.ended_at, summary.late)
    place = (summary.status, summary.definition, summary.version, summary.started_at)
    return (*held, *when, *sqlite_writes.shown(summary), *place, batch.release, batch.raise_fence)


@cache
def _move(rows: int) -> str:
    return f"""UPDATE sagas SET {_SET} FROM {_list(_APPEND, rows)} WHERE {_HELD}
        AND sagas.status = v.status AND sagas.definition = v.definition AND sagas.version = v.version
        AND sagas.started_at = v.started_at"""


@cache
def _shift(rows: int) -> str:
    return f"""UPDATE sagas SET {_SET}, owner = iif(v.released, NULL, sagas.owner),
        fence = sagas.fence + v.raised, status = v.status, definition = v.definition, version = v.version,
        started_at = v.started_at FROM {_list(_APPEND, rows)} WHERE {_HELD}"""


# starts and entries


def _start(db: sqlite3.Connection, starts: Sequence[NewSaga]) -> bool:
    """Insert the sagas; whether every id was new."""
    rows = [sqlite_writes.saga_row(saga) for saga in starts]
    return _run(db, _insert, rows) == len(rows)


@cache
def _insert(rows: int) -> str:
    columns = sqlite_writes.SAGA_COLUMNS
    return f"""INSERT INTO sagas ({", ".join(columns)}) SELECT * FROM {_list(columns, rows)}
        WHERE id IS NOT NULL ON CONFLICT (id) DO NOTHING"""


@cache
def _entries(rows: int) -> str:
    return (
        f"INSERT INTO entries SELECT * FROM {_list(('id', 'seq', 'entry', 'sum'), rows)} WHERE id IS NOT NULL"
    )


# lists of values


def _list(columns: Sequence[str], rows: int) -> str:
    """Return a table named ``v`` of so many rows, every value a parameter."""
    names = ", ".join(f"column{n} AS {name}" for n, name in enumerate(columns, 1))
    row = f"({', '.join('?' * len(columns))})"
    return f"(SELECT {names} FROM (VALUES {', '.join([row] * rows)})) AS v"


def _run(db: sqlite3.Connection, statement: Callable[[int], str], rows: Sequence[tuple[object, ...]]) -> int:
    """Run the statement over all rows; return how many it changed. A row of NULLs must change none."""
    changed = 0
    for at in range(0, len(rows), ROWS):
        piece = rows[at : at + ROWS]
        length = next(length for length in _LENGTHS if length >= len(piece))
        nothing = (None,) * (len(rows[0]) * (length - len(piece)))
        changed += db.execute(statement(length), (*chain.from_iterable(piece), *nothing)).rowcount
    return changed
