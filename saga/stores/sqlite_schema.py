"""What an SQLite store file holds, and how an older one is brought up to date.

``application_id`` says that the file is ours, ``user_version`` which format it has.
Payloads (``entries``, ``inbox``) are in tables of their own, so that lists and scans never load them.
"""

from __future__ import annotations

import sqlite3

#: "SAGA" in ASCII.
APPLICATION_ID = 0x53414741

_FIRST = (
    # Head of a saga and what lists show; `n` is its row, `seq` its last entry, `inbox` how many messages wait.
    # held_by: the last owner, whose fence need not rise when it comes back. due_at: see saga.ports.store.
    """CREATE TABLE sagas (
        n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
        owner TEXT, held_by TEXT, fence INTEGER NOT NULL, seq INTEGER NOT NULL,
        inbox INTEGER NOT NULL DEFAULT 0, due_at REAL,
        status TEXT NOT NULL, definition TEXT NOT NULL, version INTEGER NOT NULL,
        started_at REAL NOT NULL, updated_at REAL NOT NULL, ended_at REAL, late INTEGER NOT NULL,
        format INTEGER NOT NULL, start_key TEXT, fingerprint TEXT NOT NULL,
        labels TEXT NOT NULL, body BLOB NOT NULL)""",
    """CREATE TABLE entries (
        saga_id TEXT NOT NULL, seq INTEGER NOT NULL, entry BLOB NOT NULL,
        PRIMARY KEY (saga_id, seq)) WITHOUT ROWID""",
    # Unfolded messages in the order they came.
    """CREATE TABLE inbox (
        saga_id TEXT NOT NULL, place INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL,
        body BLOB NOT NULL, sender TEXT NOT NULL, at REAL NOT NULL, about TEXT,
        PRIMARY KEY (saga_id, place)) WITHOUT ROWID""",
    # Ids of all messages that ever came: a folded one still counts as a duplicate.
    "CREATE TABLE seen (saga_id TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (saga_id, id)) WITHOUT ROWID",
    """CREATE TABLE definitions (
        name TEXT NOT NULL, version INTEGER NOT NULL, document BLOB NOT NULL, created_at REAL NOT NULL,
        PRIMARY KEY (name, version)) WITHOUT ROWID""",
    # Names that were deleted and not put again.
    "CREATE TABLE retired (name TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE nodes (id TEXT PRIMARY KEY, beat INTEGER NOT NULL, dead INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # One row that a ping rewrites, to find out whether writing works.
    "CREATE TABLE pulse (one INTEGER PRIMARY KEY CHECK (one = 1), pings INTEGER NOT NULL)",
    "INSERT INTO pulse VALUES (1, 0)",
    # The scans for work: none of them ever meets an ended saga.
    "CREATE INDEX sagas_due ON sagas (due_at, id) WHERE owner IS NULL AND due_at IS NOT NULL",
    """CREATE INDEX sagas_new ON sagas (due_at, id)
        WHERE owner IS NULL AND due_at IS NOT NULL AND fence = 0""",
    "CREATE INDEX sagas_called ON sagas (due_at, id) WHERE owner IS NULL AND inbox > 0",
    "CREATE INDEX sagas_owned ON sagas (owner, id) WHERE owner IS NOT NULL",
    "CREATE INDEX sagas_waiting ON sagas (owner, id) WHERE owner IS NOT NULL AND inbox > 0",
    # Lists.
    "CREATE INDEX sagas_started ON sagas (started_at, id)",
    "CREATE INDEX sagas_by_status ON sagas (status, started_at, id)",
    "CREATE INDEX sagas_by_definition ON sagas (definition, started_at, id)",
    "CREATE INDEX sagas_by_both ON sagas (definition, status, started_at, id)",
)

# What a node has noted for evaluation (a JSON array of ids), and what its death tells of a saga.
_SECOND = (
    "ALTER TABLE nodes ADD COLUMN noted TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE sagas ADD COLUMN risk INTEGER NOT NULL DEFAULT 0",
)

# The scans for work, again: a node passes over what has a newer journal format than it knows, however much it is.
_THIRD = (
    "DROP INDEX sagas_due",
    "DROP INDEX sagas_new",
    "DROP INDEX sagas_called",
    "CREATE INDEX sagas_due ON sagas (format, due_at, id) WHERE owner IS NULL AND due_at IS NOT NULL",
    """CREATE INDEX sagas_new ON sagas (format, due_at, id)
        WHERE owner IS NULL AND due_at IS NOT NULL AND fence = 0""",
    "CREATE INDEX sagas_called ON sagas (format, due_at, id) WHERE owner IS NULL AND inbox > 0",
)

# A checksum of each payload, see saga.stores.sqlite_sums; NULL where a release before this one wrote it.
_FOURTH = (
    "ALTER TABLE sagas ADD COLUMN sum INTEGER",
    "ALTER TABLE entries ADD COLUMN sum INTEGER",
    "ALTER TABLE inbox ADD COLUMN sum INTEGER",
    "ALTER TABLE definitions ADD COLUMN sum INTEGER",
)

#: Statements that lead from each format to the next; the first make format 1 of an empty file.
MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND, _THIRD, _FOURTH)

#: The format this release reads and writes.
FORMAT = len(MIGRATIONS)


def migrate(db: sqlite3.Connection) -> None:
    """Bring the file to :data:`FORMAT` in one transaction: a kill in the middle leaves it as it was."""
    db.execute("BEGIN IMMEDIATE")
    (found,) = db.execute("PRAGMA user_version").fetchone()
    for statements in MIGRATIONS[found:]:
        for statement in statements:
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {FORMAT}")
    db.execute("COMMIT")


def strange(db: sqlite3.Connection) -> str | None:
    """Return what in the file is not as :func:`migrate` makes it, None when all is; what is there besides is no matter."""
    model = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(model)
        made = dict(model.execute(_MADE).fetchall())
    finally:
        model.close()
    found = dict(db.execute(_MADE).fetchall())
    return next((name for name, statement in made.items() if found.get(name) != statement), None)


_MADE = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
