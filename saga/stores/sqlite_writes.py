"""What the writer does to an SQLite store, one function for each kind of write.

Each runs inside a transaction it shares with others. So it reads and decides first, and raises an error of
:mod:`saga.errors` only before it has written anything: a refused write leaves no trace in the batch.
"""

# ruff: noqa: S608 - statements are put together of texts of this package alone

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from saga.errors import LeaseLost, MessagesWaiting
from saga.ports.stored import (
    AT_ONCE,
    INBOX_LIMIT,
    Append,
    Claimed,
    Delivered,
    Existing,
    Lease,
    Message,
    NewSaga,
    StoredDefinition,
    Summary,
)
from saga.stores import sqlite_sums
from saga.stores.sqlite_reads import definition, known, record

# definitions


def put_definition(
    db: sqlite3.Connection, name: str, document: bytes, at: float
) -> tuple[StoredDefinition, bool]:
    """Insert the next version unless the document is the latest, undeleted one."""
    latest = definition(db, name, None)
    if latest is not None and not latest.deleted and latest.document == document:
        return latest, False
    version = 1 if latest is None else latest.version + 1
    db.execute(
        "INSERT INTO definitions VALUES (?, ?, ?, ?, ?)",
        (name, version, document, at, sqlite_sums.of_document(version, document)),
    )
    db.execute("DELETE FROM retired WHERE name = ?", (name,))
    return StoredDefinition(name=name, version=version, document=document, created_at=at), True


def delete_definition(db: sqlite3.Connection, name: str) -> bool:
    """Retire the name; its versions stay, for the sagas that run."""
    added = db.execute(
        "INSERT INTO retired SELECT DISTINCT name FROM definitions WHERE name = ? ON CONFLICT DO NOTHING",
        (name,),
    )
    return added.rowcount > 0


# starting and appending

#: What a start sets, in the order of :func:`saga_row`.
SAGA_COLUMNS = (
    *("id", "owner", "held_by", "fence", "seq", "due_at", "status", "definition", "version"),
    *("started_at", "updated_at", "ended_at", "late"),
    *("format", "start_key", "fingerprint", "labels", "body", "sum"),
)
_INSERT = f"""INSERT INTO sagas ({", ".join(SAGA_COLUMNS)})
    VALUES ({", ".join("?" * len(SAGA_COLUMNS))}) ON CONFLICT (id) DO NOTHING"""
_EXISTING = "SELECT id, start_key, fingerprint FROM sagas WHERE id = ?"
_ROWS = 8
_ENTRIES = ["INSERT INTO entries VALUES " + ", ".join(["(?, ?, ?, ?)"] * rows) for rows in range(_ROWS + 1)]


def start(db: sqlite3.Connection, saga: NewSaga) -> Existing | None:
    """Insert the saga, or return what is there."""
    if db.execute(_INSERT, saga_row(saga)).rowcount == 0:
        key, start_key, fingerprint = db.execute(_EXISTING, (saga.id,)).fetchone()
        return Existing(id=key, start_key=start_key, fingerprint=fingerprint)
    _add_entries(db, saga.id, 0, saga.entries)
    return None


def saga_row(saga: NewSaga) -> tuple[object, ...]:
    """Return a new saga's head, to be inserted."""
    summary = saga.summary
    fence = 0 if saga.owner is None else 1
    held = (saga.owner, saga.owner, fence, len(saga.entries), saga.wake_at)
    what = (summary.status, summary.definition, summary.version)
    when = (summary.started_at, summary.updated_at, summary.ended_at, summary.late)
    rest = (saga.format, saga.start_key, saga.fingerprint, *shown(summary))
    return (saga.id, *held, *what, *when, *rest)


def shown(summary: Summary) -> tuple[str, bytes, int]:
    """Return what lists show of a saga, and its checksum."""
    labels = labels_text(summary.labels)
    return labels, summary.body, sqlite_sums.of_head(labels, summary.body)


# Most appends move a saga on and change nothing a list is sorted by. One statement finds that out and does
# it, and touches few indexes: SQLite rewrites the index entries of every column that is set, changed or not.
_MOVE = """UPDATE sagas SET seq = ?, due_at = ?, updated_at = ?, ended_at = ?, late = ?, labels = ?, body = ?,
    sum = ? WHERE id = ? AND owner = ? AND fence = ? AND seq = ? AND inbox = 0
    AND status = ? AND definition = ? AND version = ? AND started_at = ?"""
_HEAD = "SELECT owner, fence, seq, inbox, n FROM sagas WHERE id = ?"
_SHIFT = """UPDATE sagas SET seq = ?, due_at = ?, updated_at = ?, ended_at = ?, late = ?, labels = ?, body = ?,
    sum = ?, owner = ?, fence = ?, inbox = ?, status = ?, definition = ?, version = ?, started_at = ? WHERE n = ?"""


def append(db: sqlite3.Connection, lease: Lease, batch: Append) -> Lease:
    """Add the entries under the lease; the caller's view of the journal must be the journal."""
    if batch.release or batch.raise_fence or not _move(db, lease, batch):
        _shift(db, lease, batch)
    _add_entries(db, lease.saga_id, lease.seq, batch.entries)
    return lease_after(lease, batch)


def lease_after(lease: Lease, batch: Append) -> Lease:
    """Return the lease to go on with when the batch was appended."""
    fence, seq = lease.fence + batch.raise_fence, lease.seq + len(batch.entries)
    return Lease(saga_id=lease.saga_id, node=lease.node, fence=fence, seq=seq)


def _move(db: sqlite3.Connection, lease: Lease, batch: Append) -> bool:
    """Do an append that keeps owner, fence, inbox, status and place; False when this is not one."""
    held = (lease.saga_id, lease.node, lease.fence, lease.seq)
    moved = _moved(lease, batch, batch.wake_at)
    return db.execute(_MOVE, (*moved, *held, *_sorted_by(batch.summary))).rowcount == 1


def _shift(db: sqlite3.Connection, lease: Lease, batch: Append) -> None:
    """Do any other append, or raise why it cannot be done."""
    head = db.execute(_HEAD, (lease.saga_id,)).fetchone()
    if head is None or head[:3] != (lease.node, lease.fence, lease.seq):
        raise LeaseLost(f"{lease.saga_id} is no longer held as {lease}")
    inbox, n = head[3:]
    left = _fold(db, lease.saga_id, batch) if inbox else []
    held = (None if batch.release else lease.node, lease.fence + batch.raise_fence, len(left))
    moved = _moved(lease, batch, _due(batch.wake_at, left))
    db.execute(_SHIFT, (*moved, *held, *_sorted_by(batch.summary), n))


def _moved(lease: Lease, batch: Append, due_at: float | None) -> tuple[object, ...]:
    summary, seq = batch.summary, lease.seq + len(batch.entries)
    return seq, due_at, summary.updated_at, summary.ended_at, summary.late, *shown(summary)


def _sorted_by(summary: Summary) -> tuple[object, ...]:
    return summary.status, summary.definition, summary.version, summary.started_at


def _add_entries(db: sqlite3.Connection, saga_id: str, seq: int, added: Sequence[bytes]) -> None:
    """Insert a few rows with one statement: each statement is a wait for the interpreter's lock."""
    for at in range(0, len(added), _ROWS):
        rows = list(numbered(saga_id, seq + at, added[at : at + _ROWS]))
        db.execute(_ENTRIES[len(rows)], tuple(chain.from_iterable(rows)))


def numbered(saga_id: str, seq: int, added: Iterable[bytes]) -> Iterator[tuple[object, ...]]:
    """Return rows for entries that follow the one with this number."""
    for place, entry in enumerate(added, seq + 1):
        yield saga_id, place, entry, sqlite_sums.of_entry(place, entry)


def _fold(db: sqlite3.Connection, saga_id: str, batch: Append) -> list[float]:
    """Remove the folded messages; return the times of those that stay.

    Raises :class:`~saga.errors.MessagesWaiting` when one that stays stands in the way of this append.
    """
    rows = db.execute("SELECT place, id, about, at FROM inbox WHERE saga_id = ?", (saga_id,)).fetchall()
    folded = set(batch.folded)
    left = [row for row in rows if row[1] not in folded]
    if left and (batch.release or any(about in batch.settles for _, _, about, _ in left)):
        raise MessagesWaiting(f"{saga_id} has {len(left)} messages to fold first")
    gone = [(saga_id, row[0]) for row in rows if row[1] in folded]
    db.executemany("DELETE FROM inbox WHERE saga_id = ? AND place = ?", gone)
    return [at for _, _, _, at in left]


def _due(wake_at: float | None, waiting: Sequence[float]) -> float | None:
    """Return since when the saga is due: a waiting message makes it so at once."""
    called = [at - AT_ONCE for at in waiting]
    return min(called if wake_at is None else [wake_at, *called], default=None)


def labels_text(labels: Mapping[str, str | float | int | bool]) -> str:
    """Return the labels as they are stored."""
    return json.dumps(dict(labels)) if labels else "{}"


# claiming

_CLAIMABLE = "SELECT n, id, due_at, fence, held_by, risk, owner, format, seq FROM sagas "
_FREE = _CLAIMABLE + "WHERE owner IS NULL AND format = ? AND "
_DUE = _FREE + "due_at <= ? ORDER BY due_at, id LIMIT ?"
_NEW = _FREE + "fence = 0 AND due_at <= ? ORDER BY due_at, id LIMIT ?"
_CALLED = _FREE + "inbox > 0 AND due_at > ? ORDER BY due_at, id LIMIT ?"
_GIVE = "UPDATE sagas SET owner = ?, held_by = ?, fence = ? WHERE n = ?"

#: The columns of ``_CLAIMABLE``.
_Row = tuple[int, str, float | None, int, str | None, int, str | None, int, int]


def claim(
    db: sqlite3.Connection, *, node: str, limit: int, now: float, fresh: int, newest: int
) -> list[Claimed]:
    """Take up to ``limit`` sagas, up to ``fresh`` of them before their turn because nobody ran them yet."""
    due = _first(db, _DUE, newest, now, limit)
    called = _first(db, _CALLED, newest, now, limit)
    new = _first(db, _NEW, newest, now, fresh) if fresh else []
    chosen = {row[0]: row for row in new}
    for row in due + called:
        if len(chosen) >= limit:
            break
        chosen[row[0]] = row
    return [_give(db, row, node) for row in sorted(chosen.values(), key=_longest_due)]


def _first(db: sqlite3.Connection, search: str, newest: int, now: float, limit: int) -> list[_Row]:
    """Return what a search finds first, in every format that is known."""
    found: list[_Row] = []
    for version in known(newest):
        found += db.execute(search, (version, now, limit)).fetchall()
    return sorted(found, key=_longest_due)[:limit]


def _longest_due(row: _Row) -> tuple[float | None, str]:
    return row[2], row[1]


def take(db: sqlite3.Connection, saga_id: str, node: str, newest: int) -> Claimed | None:
    """Take this saga if nobody owns it, and its format is known."""
    row: _Row | None = db.execute(_CLAIMABLE + "WHERE id = ?", (saga_id,)).fetchone()
    if row is None or row[6] is not None or row[7] > newest:
        return None
    return _give(db, row, node)


def put_back(db: sqlite3.Connection, leases: Sequence[Lease]) -> None:
    """Undo claims whose claimer did not wait for them; what has moved on since is left alone."""
    db.executemany(
        "UPDATE sagas SET owner = NULL WHERE id = ? AND owner = ? AND fence = ? AND seq = ?",
        [(lease.saga_id, lease.node, lease.fence, lease.seq) for lease in leases],
    )


def _give(db: sqlite3.Connection, row: _Row, node: str) -> Claimed:
    n, saga_id, _, fence, held_by, risk, _, _, seq = row
    fence += held_by != node
    db.execute(_GIVE, (node, node, fence, n))
    given = record(db, saga_id)
    assert given is not None  # noqa: S101 - its row was just changed
    lease = Lease(saga_id=saga_id, node=node, fence=fence, seq=seq)
    return Claimed(lease=lease, record=given, risk=risk)


# the inbox

_TO = """SELECT n, owner, inbox, EXISTS (SELECT 1 FROM seen WHERE saga_id = sagas.id AND seen.id = ?)
    FROM sagas WHERE id = ?"""
_PUT = """INSERT INTO inbox SELECT ?, coalesce(max(place), 0) + 1, ?, ?, ?, ?, ?, ?, ?
    FROM inbox WHERE saga_id = ?"""
_CALL = "UPDATE sagas SET inbox = inbox + 1, due_at = min(coalesce(due_at, ?), ?) WHERE n = ?"


def deliver(db: sqlite3.Connection, saga_id: str, message: Message) -> Delivered:
    """Put the message last into the saga's inbox, unless it was there before."""
    row = db.execute(_TO, (message.id, saga_id)).fetchone()
    if row is None:
        return Delivered(result="unknown")
    n, owner, inbox, seen = row
    if seen:
        return Delivered(result="duplicate", owner=owner)
    if inbox >= INBOX_LIMIT:
        return Delivered(result="full", owner=owner)
    db.execute("INSERT INTO seen VALUES (?, ?)", (saga_id, message.id))
    what = (message.id, message.kind, message.body, message.by, message.at, message.about)
    db.execute(_PUT, (saga_id, *what, sqlite_sums.of_message(message), saga_id))
    called = message.at - AT_ONCE
    db.execute(_CALL, (called, called, n))
    return Delivered(result="new", owner=owner)


# the store itself


def secret(db: sqlite3.Connection, name: str, fresh: bytes) -> bytes:
    """Keep the first value that comes under the name, and return it."""
    db.execute("INSERT INTO secrets VALUES (?, ?) ON CONFLICT DO NOTHING", (name, fresh))
    (kept,) = db.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
    return bytes(kept)


def ping(db: sqlite3.Connection) -> None:
    """Write something, to know that writing works."""
    db.execute("UPDATE pulse SET pings = pings + 1")
