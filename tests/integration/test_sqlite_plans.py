"""No search of an SQLite store reads more than it returns."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from saga.errors import LeaseLost
from saga.ports.stored import Lease, Query
from saga.stores import sqlite_bulk, sqlite_nodes, sqlite_reads, sqlite_writes
from saga.stores.sqlite_bulk import Appending, Starting
from tests.contract.values import NODE, batch, message, new_saga, owned_saga, summary
from tests.doubles_sqlite import opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "saga.db"


# --------------------------------------------------------------------------- query plans


def plans(db: sqlite3.Connection, call: Callable[[sqlite3.Connection], object]) -> list[str]:
    """Return how SQLite does each statement the call makes."""
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    with suppress(LeaseLost):
        call(db)
    db.set_trace_callback(None)
    return [
        step[-1]
        for sql in statements
        if sql.split()[0] in ("SELECT", "UPDATE", "DELETE")
        for step in db.execute(f"EXPLAIN QUERY PLAN {sql}")
    ]


LISTS = [
    Query(statuses=statuses, definition=definition, after=after)
    for statuses, definition, after in product(
        (None, frozenset({"parked"}), frozenset({"parked", "running"})), (None, "d"), (None, (5.0, "s"))
    )
]
CALLS: dict[str, Callable[[sqlite3.Connection], object]] = {
    **{f"list {n}": partial(sqlite_reads.listed, query=query) for n, query in enumerate(LISTS)},
    "claim": partial(sqlite_writes.claim, node=NODE, limit=8, now=10.0, fresh=2, newest=2),
    "take": partial(sqlite_writes.take, saga_id="s1", node=NODE, newest=2),
    "append": partial(
        sqlite_writes.append, lease=Lease(saga_id="s1", node=NODE, fence=1, seq=1), batch=batch(b"x")
    ),
    "append and start many": partial(
        sqlite_bulk.together,
        operations=[
            *(
                Appending(Lease(saga_id="s1", node=NODE, fence=1, seq=1), batch(b"x", release=release))
                for release in (False, True)
            ),
            Starting(new_saga("s3")),
        ],
    ),
    "deliver": partial(sqlite_writes.deliver, saga_id="s1", message=message()),
    "load": partial(sqlite_reads.load, saga_id="s1"),
    "next_due": partial(sqlite_reads.next_due, newest=2),
    "newer": partial(sqlite_reads.newer, newest=2),
    "inboxes": partial(sqlite_reads.inboxes, node=NODE),
    "owned": partial(sqlite_reads.owned, node=NODE),
    "release_dead": sqlite_nodes.release_dead,
    "evaluate": lambda db: sqlite_nodes.evaluate(db, "a", ["s1"]),
    "definition": partial(sqlite_reads.definition, name="d", version=None),
}


#: How SQLite reads a list of values, which is as long as what is written.
LISTED = ("MATERIALIZE (subquery", "CO-ROUTINE (subquery", "SCAN (subquery", "SCAN 4 CONSTANT ROWS")


@pytest.mark.parametrize("name", CALLS)
async def test_nothing_scans_the_sagas(path: Path, name: str) -> None:
    """Every search of a table that grows goes by an index, and a list comes out of it in order."""
    async with opened(path) as store:
        await owned_saga(store)
        await store.start(new_saga("s2", of=summary("parked", definition="d")))
    db = sqlite3.connect(path, isolation_level=None)
    steps = plans(db, CALLS[name])
    db.close()
    assert steps
    searched = (
        "SEARCH",
        "SCAN sagas USING INDEX",
        "SCAN sagas USING COVERING INDEX",
        "LIST SUBQUERY",
        "SCALAR",
    )
    for step in steps:
        if step.startswith("SCAN sagas"):
            assert name.startswith("list"), step  # in the order of the index, with a limit
        assert step.startswith((*searched, "SCAN nodes", "REUSE", "CORRELATED", "SCAN CONSTANT", *LISTED)), (
            step
        )
        assert "TEMP B-TREE" not in step
