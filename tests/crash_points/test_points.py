"""No verb, statement or migration is without a point, and a point that nobody comes to is a failure."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from saga.ports.store import Store
from saga.stores import sqlite_schema
from tests.crash_points.points import SCHEMA, UNREACHED, every, ports, public, site_of, sites
from tests.crash_points.stage import Cell, Outcome
from tests.crash_points.table import Page
from tests.doubles_store import READS, WRITES


def test_every_verb_of_the_store_has_a_point_before_and_after() -> None:
    """Those the other doubles know, and those of the port, are the same."""
    assert set(ports()["store"]) == set(public(Store)) >= READS | WRITES
    assert {f"store.{verb} {side}" for verb in READS | WRITES for side in ("before", "after")} <= set(every())


def test_every_statement_of_a_migration_has_a_point() -> None:
    """Each a name of its own."""
    statements = [statement for version in sqlite_schema.MIGRATIONS for statement in version]
    assert len(set(SCHEMA.values())) == len(statements)
    assert set(SCHEMA) == set(statements)


def test_points_have_names_of_their_own() -> None:
    """And what is said not to be reached is a point."""
    assert len(set(every())) == len(every())
    assert set(UNREACHED) <= set(every())


async def test_every_statement_that_a_store_runs_comes_from_a_place_with_a_point(tmp_path: Path) -> None:
    """Whatever is run on a connection of the store's, found by who runs it."""
    import sys

    from saga.stores.sqlite import SqliteStore
    from tests.contract.values import KNOWN, NODE, batch, message, new_saga, owned_saga

    unknown: list[str] = []
    seen: set[str] = set()

    class Noting(sqlite3.Connection):
        def execute(self, sql: str, *args: Sequence[object]) -> sqlite3.Cursor:
            site = site_of(sys._getframe(1))
            if site is None and sql not in SCHEMA:
                unknown.append(sql)
            seen.add(site.name if site else "")
            return super().execute(sql, *args)

    store = SqliteStore(tmp_path / "saga.db", connection=Noting)
    await store.open()
    await store.join(NODE)
    lease = await owned_saga(store)
    await asyncio.gather(*(store.start(new_saga(f"s{n}")) for n in range(2, 9)))
    await store.deliver("s1", message())
    await store.append(lease, batch(b"x", folded=["m1"], release=True))
    await store.claim(NODE, 9, 1000.0, KNOWN)
    await store.evaluate(NODE, ["s1"])
    await store.close()

    assert unknown == []
    assert seen <= {site.name for site in sites()} | {""}
    assert {"sql sqlite_bulk._start", "sql sqlite_writes.claim#1", "sql sqlite_writer._write#2"} <= seen


@pytest.mark.parametrize("reached", [0, 1])
def test_a_point_that_nobody_came_to_is_a_failure(reached: int) -> None:
    """So is one that was reached although it is said that nobody can."""
    some, never = "store.append before", next(iter(UNREACHED))
    outcomes = [
        Outcome(cell=Cell(point=point, direction="forward", met="fresh", visit=1), reached=reached)
        for point in (some, never)
    ]
    page = Page(outcomes=outcomes, points=[some, never], seconds=0.0)
    (wrong, *_) = page.wrong()

    assert not page.well
    assert ("is said not to be" if reached else "was never reached") in wrong
