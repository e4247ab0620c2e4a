"""What the writer does to the nodes of an SQLite store, and to what they own; see :mod:`saga.stores.sqlite_writes`."""

# ruff: noqa: S608 - statements are put together of texts of this package alone

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from saga.ports.stored import AT_ONCE, EXPORT_OWNER, ORPHANED, SUSPECT

# A released saga is due at once: its owner may have left calls open, and its clock may have been ahead.
_SINCE = f"updated_at - {AT_ONCE}"
_RELEASE = f"UPDATE sagas SET owner = NULL, due_at = min(coalesce(due_at, {_SINCE}), {_SINCE})"
_ORPHANS = f"""{_RELEASE}, fence = fence + 1, risk = max(risk, {ORPHANED}) WHERE owner IS NOT NULL
    AND owner NOT IN (SELECT id FROM nodes WHERE NOT dead) AND owner NOT GLOB '{EXPORT_OWNER}*'"""
_SUSPECT = f"UPDATE sagas SET risk = max(risk, {SUSPECT}) + ? WHERE owner = ? AND id = ?"
_HARMLESS = """UPDATE sagas SET risk = 0 WHERE risk > 0 AND id IN
    (SELECT value FROM nodes, json_each(nodes.noted) WHERE nodes.id = ? EXCEPT SELECT value FROM json_each(?))"""


def forget_nodes(db: sqlite3.Connection) -> int:
    """Release every saga: whoever holds the file's lock knows that no other node lives."""
    db.execute("UPDATE nodes SET dead = 1")
    released = release_dead(db)
    db.execute("DELETE FROM nodes")
    return released


def join(db: sqlite3.Connection, node: str) -> None:
    """Make the node known."""
    db.execute("INSERT INTO nodes (id, beat, dead) VALUES (?, 0, 0) ON CONFLICT DO NOTHING", (node,))


def beat(db: sqlite3.Connection, node: str, beat: int) -> bool:
    """Record a heartbeat of a living node."""
    return (
        db.execute("UPDATE nodes SET beat = max(beat, ?) WHERE id = ? AND NOT dead", (beat, node)).rowcount
        > 0
    )


def bury(db: sqlite3.Connection, node: str, beat: int) -> bool:
    """Mark the node dead if its beat has not moved."""
    return db.execute("UPDATE nodes SET dead = 1 WHERE id = ? AND beat = ?", (node, beat)).rowcount > 0


def release_dead(db: sqlite3.Connection) -> int:
    """Release what nobody living owns, under a higher fence."""
    for node, note in db.execute("SELECT id, noted FROM nodes WHERE dead AND noted <> '[]'").fetchall():
        noted = json.loads(note)
        db.executemany(_SUSPECT, [(len(noted) == 1, node, saga_id) for saga_id in noted])
        db.execute("UPDATE nodes SET noted = '[]' WHERE id = ?", (node,))
    return db.execute(_ORPHANS).rowcount


def evaluate(db: sqlite3.Connection, node: str, saga_ids: Sequence[str]) -> None:
    """Note what the node is about to evaluate; what it had noted before has done no harm."""
    noted = json.dumps(list(saga_ids))
    if db.execute("SELECT 1 FROM nodes WHERE id = ? AND NOT dead", (node,)).fetchone() is not None:
        db.execute(_HARMLESS, (node, noted))
        db.execute("UPDATE nodes SET noted = ? WHERE id = ?", (noted, node))


def leave(db: sqlite3.Connection, node: str) -> None:
    """Release what the node owns, and forget it."""
    db.execute(f"{_RELEASE} WHERE owner = ?", (node,))
    db.execute("DELETE FROM nodes WHERE id = ?", (node,))
