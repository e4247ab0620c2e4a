"""The guard's ledger in SQLite, on the connection that holds the business data.

>>> import sqlite3
>>> from compensations.barrier import Guard
>>> from compensations.delivery import Answer, receive
>>> connection = sqlite3.connect(":memory:", isolation_level=None)
>>> _ = connection.execute("CREATE TABLE seat (id TEXT PRIMARY KEY)")
>>> guard = Guard(SqliteLedger(connection))
>>> def reserve(turn):
...     connection.execute("INSERT INTO seat VALUES ('12A')")
...     return Answer.json(201, {"seat": "12A"})
>>> headers = {"Idempotency-Key": "s1:reserve:action"}
>>> delivery = receive("action", "POST", "/seats", headers, b"{}")
>>> guard.run(delivery, reserve).judgement, guard.run(delivery, reserve).judgement
('run', 'replay')

``BEGIN IMMEDIATE`` takes the write lock before anything is read, so what is judged cannot change before it is
committed, and of two copies of a request the second waits for the first (for the connection's ``timeout``) and
then finds its answer.

A connection serves one delivery at a time; threads that share one wait for each other here, for as long as
``patience`` says. Everything the business function does has to go through the same connection, and it must not
commit: no ``with connection:``, no ``executescript``. It is told (:class:`TransactionBroken`) if it does.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from compensations.delivery import Answer, Delivery
from compensations.ledger import LedgerBusy, Remembered, Stored, TransactionBroken

_TABLES = (
    """CREATE TABLE IF NOT EXISTS barrier_answer (
        action_key TEXT NOT NULL,
        phase TEXT NOT NULL,
        digest TEXT NOT NULL,
        status INTEGER NOT NULL,
        headers TEXT NOT NULL,
        body BLOB NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (action_key, phase)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS barrier_fence (
        saga_id TEXT PRIMARY KEY,
        fence INTEGER NOT NULL,
        at REAL NOT NULL
    ) WITHOUT ROWID""",
)


class SqliteLedger:
    """Remembers answers and fences in two tables beside the business data; creates them when they are absent."""

    def __init__(self, connection: sqlite3.Connection, *, patience: float = 5.0) -> None:
        """Use a connection of the service, outside a transaction; ``patience`` is in seconds."""
        self._connection = connection
        self._patience = patience
        self._turn = threading.Lock()
        for statement in _TABLES:
            connection.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the database's write lock; commit on return, roll back when anything is raised."""
        if not self._turn.acquire(timeout=self._patience):
            raise LedgerBusy("another thread is using the connection")
        try:
            with _busy_is_told():
                self._connection.execute("BEGIN IMMEDIATE")
                yield from self._committed()
        finally:
            self._turn.release()

    def _committed(self) -> Iterator[None]:
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # Some errors (a full disk, for one) have ended the transaction already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def recall(self, action_key: str, saga_id: str | None) -> Remembered:
        """Return what is known about an action, and the fence of that saga."""
        query = "SELECT phase, digest, status, body, headers FROM barrier_answer WHERE action_key = ?"
        found = {row[0]: _stored(*row[1:]) for row in self._connection.execute(query, (action_key,))}
        return Remembered(
            action=found.get("action"), compensation=found.get("compensation"), fence=self._fence(saga_id)
        )

    def _fence(self, saga_id: str | None) -> int | None:
        query = "SELECT fence FROM barrier_fence WHERE saga_id = ?"
        row = self._connection.execute(query, (saga_id,)).fetchone()
        return row[0] if row else None

    def remember(self, delivery: Delivery, answer: Answer) -> None:
        """Keep the answer for (action key, phase), in place of one that is there."""
        self._connection.execute(
            "INSERT OR REPLACE INTO barrier_answer (action_key, phase, digest, status, headers, body, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                delivery.action_key,
                delivery.phase,
                delivery.digest,
                answer.status,
                json.dumps(dict(answer.headers)),
                answer.body,
                time.time(),
            ),
        )

    def forget(self, delivery: Delivery) -> None:
        """Drop the answer for (action key, phase), if there is one."""
        self._connection.execute(
            "DELETE FROM barrier_answer WHERE action_key = ? AND phase = ?",
            (delivery.action_key, delivery.phase),
        )

    def raise_fence(self, saga_id: str, fence: int) -> None:
        """Keep the highest fence seen of a saga."""
        self._connection.execute(
            "INSERT INTO barrier_fence (saga_id, fence, at) VALUES (?, ?, ?) ON CONFLICT (saga_id)"
            " DO UPDATE SET fence = max(fence, excluded.fence), at = excluded.at",
            (saga_id, fence, time.time()),
        )

    def mark(self) -> None:
        """Mark where the business change begins."""
        self._connection.execute("SAVEPOINT business")

    def rewind(self) -> None:
        """Take back everything since :meth:`mark`."""
        self._on_mark("ROLLBACK TO business")

    def release(self) -> None:
        """Drop the mark; it is gone only if something ended the transaction."""
        self._on_mark("RELEASE business")

    def _on_mark(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except sqlite3.OperationalError as error:
            if "no such savepoint" not in str(error):
                raise
            raise TransactionBroken(
                "the business function committed or rolled back on the guard's connection; leave that to the guard"
            ) from error

    def prune(self, before: float) -> int:
        """Forget all that was remembered before that time (epoch seconds); return how many answers went.

        A request that arrives for a forgotten key is executed as new. Keep answers for at least the
        ``key_lifetime`` that saga definitions give this service, and longer than any saga may take.
        """
        with self.transaction():
            self._connection.execute("DELETE FROM barrier_fence WHERE at < ?", (before,))
            # An action and its compensation go together: alone, the action would be replayed as if it stood.
            return self._connection.execute(
                "DELETE FROM barrier_answer WHERE action_key IN"
                " (SELECT action_key FROM barrier_answer GROUP BY action_key HAVING max(at) < ?)",
                (before,),
            ).rowcount


def _stored(digest: str, status: int, body: Any, headers: str) -> Stored:
    return Stored(digest=digest, answer=Answer(status, bytes(body), json.loads(headers)))


@contextmanager
def _busy_is_told() -> Iterator[None]:
    """Raise :class:`LedgerBusy` in place of SQLite's own error for a lock that was not to be had."""
    try:
        yield
    except sqlite3.OperationalError as error:
        # The low byte is the primary code; the others say which kind of busy it was.
        if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_BUSY:
            raise
        raise LedgerBusy(str(error)) from error
