"""What a participant keeps: its items, every effect it ever had, and every request that reached it.

``item`` and ``effect`` are written inside the guard's transaction, so they are there exactly when the answer is.
``delivery`` is written outside it, on arrival, so that a request is on record even if the process dies over it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compensations.barrier import Turn
from compensations.delivery import Delivery

_TABLES = """
CREATE TABLE IF NOT EXISTS item (
    kind TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL,
    saga_id TEXT, step TEXT, key TEXT NOT NULL, detail TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE TABLE IF NOT EXISTS effect (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,
    operation TEXT NOT NULL, phase TEXT NOT NULL, kind TEXT NOT NULL, item TEXT NOT NULL, state TEXT NOT NULL,
    saga_id TEXT, step TEXT, key TEXT NOT NULL, action_key TEXT NOT NULL,
    digest TEXT NOT NULL, fence INTEGER, attempt INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,
    operation TEXT NOT NULL, phase TEXT NOT NULL, saga_id TEXT, step TEXT,
    key TEXT NOT NULL, action_key TEXT NOT NULL, digest TEXT NOT NULL, fence INTEGER, attempt INTEGER NOT NULL,
    fault TEXT, verdict TEXT, status INTEGER
);
CREATE TABLE IF NOT EXISTS accepted (
    key TEXT PRIMARY KEY, action_key TEXT NOT NULL, operation TEXT NOT NULL, request TEXT NOT NULL,
    body BLOB NOT NULL, due REAL NOT NULL, callback TEXT, outcome TEXT
);
CREATE INDEX IF NOT EXISTS item_saga ON item (saga_id);
CREATE INDEX IF NOT EXISTS effect_saga ON effect (saga_id);
CREATE INDEX IF NOT EXISTS delivery_saga ON delivery (saga_id);
CREATE INDEX IF NOT EXISTS delivery_key ON delivery (key);
CREATE INDEX IF NOT EXISTS accepted_due ON accepted (due);
"""
_DELIVERED = "saga_id, step, key, action_key, digest, fence, attempt"
SECTIONS = ("items", "effects", "deliveries")


def connect(path: Path) -> sqlite3.Connection:
    """Open a participant's database, and create it when it is absent."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    # What is committed survives the death of the process; a machine that loses power may lose the last moments.
    # A service that sells real seats says FULL here.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_TABLES)
    return connection


class Ledger:
    """The books of one participant, on the connection its guard uses."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # the business: inside the guard's transaction

    def add(self, operation: str, kind: str, item: str, state: str, detail: Any, turn: Turn) -> bool:
        """Record a new item and the effect that made it; False when there is one of that id already."""
        delivery = turn.delivery
        row = (
            kind,
            item,
            state,
            delivery.saga_id,
            delivery.step,
            delivery.key,
            json.dumps(detail),
            time.time(),
        )
        added = self._connection.execute(f"INSERT OR IGNORE INTO item VALUES ({_marks(row)})", row)
        if added.rowcount:
            self._effect(operation, kind, item, state, delivery)
        return bool(added.rowcount)

    def move(self, operation: str, kind: str, item: str, state: str, turn: Turn) -> bool:
        """Record that an item is in another state now; False when there is no such item."""
        query = "UPDATE item SET state = ?, at = ? WHERE kind = ? AND id = ?"
        moved = self._connection.execute(query, (state, time.time(), kind, item))
        if moved.rowcount:
            self._effect(operation, kind, item, state, turn.delivery)
        return bool(moved.rowcount)

    def _effect(self, operation: str, kind: str, item: str, state: str, delivery: Delivery) -> None:
        row = (time.time(), operation, delivery.phase, kind, item, state, *_delivered(delivery))
        columns = f"at, operation, phase, kind, item, state, {_DELIVERED}"
        self._connection.execute(f"INSERT INTO effect ({columns}) VALUES ({_marks(row)})", row)

    # every request

    def arrived(self, operation: str, delivery: Delivery) -> tuple[int, int]:
        """Record an arrival; return its number, and how often its key has arrived by now."""
        row = (time.time(), operation, delivery.phase, *_delivered(delivery))
        query = f"INSERT INTO delivery (at, operation, phase, {_DELIVERED}) VALUES ({_marks(row)})"
        seq = self._connection.execute(query, row).lastrowid or 0
        count = "SELECT count(*) FROM delivery WHERE key = ? AND seq <= ?"
        return seq, int(self._connection.execute(count, (delivery.key, seq)).fetchone()[0])

    def faulted(self, seq: int, faults: Sequence[str]) -> None:
        """Record which faults an arrival meets; until it is answered its verdict is ``fault``."""
        query = "UPDATE delivery SET fault = ?, verdict = 'fault' WHERE seq = ?"
        self._connection.execute(query, (", ".join(faults), seq))

    def answered(self, seq: int, verdict: str, status: int) -> None:
        """Record the guard's verdict on an arrival, or ``error``, and the status that goes with it."""
        query = "UPDATE delivery SET verdict = ?, status = ? WHERE seq = ?"
        self._connection.execute(query, (verdict, status, seq))

    # work that was accepted and is done later

    def accept(
        self, operation: str, delivery: Delivery, request: Any, body: bytes, due: float, callback: str | None
    ) -> None:
        """Note a request to be executed when it is due; inside the transaction that remembers its 202."""
        row = (delivery.key, delivery.action_key, operation, json.dumps(request), body, due, callback, None)
        self._connection.execute(f"INSERT OR REPLACE INTO accepted VALUES ({_marks(row)})", row)

    def withdraw(self, action_key: str) -> None:
        """Drop an accepted action that was compensated before it was done."""
        self._connection.execute("DELETE FROM accepted WHERE key = ?", (action_key,))

    def next_accepted(self) -> sqlite3.Row | None:
        """Return the accepted request that is due first."""
        row: sqlite3.Row | None = self._connection.execute(
            "SELECT * FROM accepted ORDER BY due LIMIT 1"
        ).fetchone()
        return row

    def put_off(self, key: str, due: float, outcome: str | None) -> None:
        """Note when to go on with an accepted request, and its outcome if that is known."""
        query = "UPDATE accepted SET due = ?, outcome = ? WHERE key = ?"
        self._connection.execute(query, (due, outcome, key))

    def drop_accepted(self, key: str) -> None:
        """Forget an accepted request: it is done, and whoever asked knows."""
        self._connection.execute("DELETE FROM accepted WHERE key = ?", (key,))

    # reading

    def report(self, service: str, saga_id: str | None, only: Sequence[str] = SECTIONS) -> dict[str, Any]:
        """Return what the books hold, of one saga or of all, with a summary a person can read."""
        return {"service": service, "summary": self._summary(saga_id)} | {
            section: self._rows(section, saga_id) for section in only
        }

    def _rows(self, section: str, saga_id: str | None) -> list[dict[str, Any]]:
        table = {"items": "item", "effects": "effect", "deliveries": "delivery"}[section]
        query = f"SELECT * FROM {table} WHERE ?1 IS NULL OR saga_id = ?1 ORDER BY rowid"
        rows = [dict(row) for row in self._connection.execute(query, (saga_id,))]
        for row in rows if section == "items" else ():
            row["detail"] = json.loads(row["detail"])
        return rows

    def _summary(self, saga_id: str | None) -> dict[str, Any]:
        items = self._counts("SELECT kind || ' ' || state, count(*) FROM item", saga_id)
        verdicts = self._counts("SELECT coalesce(verdict, 'open'), count(*) FROM delivery", saga_id)
        says = ", ".join(f"{count} {name}" for name, count in items.items()) or "nothing"
        return {
            "says": says,
            "items": items,
            "deliveries": sum(verdicts.values()),
            "verdicts": verdicts,
            "duplicates": verdicts.get("replay", 0),
            "late_actions": verdicts.get("late", 0),
            "null_compensations": verdicts.get("null", 0),
        }

    def _counts(self, select: str, saga_id: str | None) -> Mapping[str, int]:
        query = f"{select} WHERE ?1 IS NULL OR saga_id = ?1 GROUP BY 1 ORDER BY 1"
        return {row[0]: row[1] for row in self._connection.execute(query, (saga_id,))}


def _delivered(delivery: Delivery) -> tuple[Any, ...]:
    return (
        delivery.saga_id,
        delivery.step,
        delivery.key,
        delivery.action_key,
        delivery.digest,
        delivery.fence,
        delivery.attempt,
    )


def _marks(row: Sequence[Any]) -> str:
    return ", ".join("?" * len(row))
