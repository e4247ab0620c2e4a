"""The making of a store's file, and the bringing up to date of an older one, killed at every statement.

An older file is one of this release that was rewritten in the older format, with a saga half done in each direction.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from saga.stores.sqlite_lock import beside
from saga.stores.sqlite_schema import APPLICATION_ID, FORMAT, MIGRATIONS, migrate
from tests.crash_points.armed import Orders
from tests.crash_points.stage import LIFE, Cell, Outcome, Stage
from tests.crash_points.verdict import judged
from tests.crash_points.world import HELD, World, definition

#: What belongs to the making of a file; all else is met by the other stages.
_OURS = ("schema ", "file ", "sql sqlite_schema.", "sql sqlite_file._fill")
_SIDE_FILES = ("", "-wal", "-shm", "-journal")


#: Yards side by side.
YARDS = 3


async def play(world: World, data: Path, only: str, paths: tuple[Path, ...]) -> list[Outcome]:
    """Play every cell of the making of a file and of each older format."""
    yards = [Yard(world, data / f"making-{number}", number=number, paths=paths) for number in range(YARDS)]
    await asyncio.gather(*(yard.prepare() for yard in yards))
    left = [
        (cell, version)
        for version in range(FORMAT)
        for cell in _cells(await yards[0].visits(version), version)
        if only in cell.point
    ]
    outcomes: list[Outcome] = []

    async def work(yard: Yard) -> None:
        while left:
            outcomes.append(await yard.kill_at(*left.pop()))
        await yard.close()

    await asyncio.gather(*map(work, yards))
    return outcomes


def _cells(counts: Counter[str], version: int) -> Iterator[Cell]:
    for point in sorted(counts):
        if not point.startswith(_OURS):
            continue
        met = Cell(point=point, direction="making", met="an old file" if version else "a file", visit=1)
        yield met
        if counts[point] > 1:
            yield replace(met, visit=2)
        elif version:
            yield replace(met, lives=2)


class Yard(Stage):
    """A folder in which the file is made anew for every cell."""

    def __init__(self, world: World, data: Path, *, number: int, paths: tuple[Path, ...]) -> None:
        super().__init__(world, "making", data, number=number, paths=paths)
        self._making = f"making{number}"
        self._file = data / "saga.db"

    async def prepare(self) -> None:
        """Be ready to launch, with no file yet."""
        await self._warm.open()
        self._connect()

    async def visits(self, version: int) -> Counter[str]:
        """Return how often each point is come to while the file is made, or brought up from an older format."""
        await self._made(version)
        record = self._data / "visits"
        record.unlink(missing_ok=True)
        await self._launch(Orders(record=str(record)))
        await self._client.ask("GET", "/readyz")
        await self._warm.kill()
        return Counter(record.read_text().splitlines())

    async def kill_at(self, cell: Cell, version: int) -> Outcome:
        """Kill at the cell's point; then everything is there, and comes to its end."""
        outcome = Outcome(cell=cell)
        try:
            await self._kill_at(cell, version, outcome)
        except (TimeoutError, AssertionError) as trouble:
            outcome.troubles.append(f"{type(trouble).__name__}: {trouble}")
        return outcome

    async def _kill_at(self, cell: Cell, version: int, outcome: Outcome) -> None:
        sagas = await self._made(version)
        for _ in range(cell.lives):
            await self._launch(Orders(point=cell.point, visit=cell.visit))
            outcome.reached += await asyncio.wait_for(self._warm.ended(), LIFE) < 0
        await self._launch(Orders())
        if not version:
            await self._client.ask("PUT", "/v1/definitions/trip", definition(self._world.urls))
            await asyncio.gather(*map(self._client.start, sagas))
        await asyncio.gather(*map(self._client.over, sagas))
        for direction in HELD:
            stem = f"{direction}-{self._making}-{self._number}-"
            outcome.findings += await judged(self._client, self._world, stem)
        await self._warm.kill()
        assert _schema(self._file) == _expected(), (
            "the file has another schema than one that was made at once"
        )

    async def _made(self, version: int) -> list[str]:
        """Put a file of the format in place, 0: none; return the sagas that are half done in it, or to be started."""
        self._number += 1
        for suffix in (*_SIDE_FILES, ".new", ".new-wal", ".new-shm", ".new-journal"):
            beside(self._file, suffix).unlink(missing_ok=True)
        sagas = [f"{direction}-{self._making}-{self._number}-saga" for direction in HELD]
        if version:
            await self._launch(Orders())
            await self._client.ask("PUT", "/v1/definitions/trip", definition(self._world.urls))
            there = [self._world.hold(saga) for saga in sagas]
            await asyncio.gather(*map(self._client.start, sagas))
            async with asyncio.timeout(20):
                await asyncio.gather(*(event.wait() for event in there))
            await self._warm.kill()
            for saga in sagas:
                self._world.let_go(saga)
            _rewrite(self._file, version)
        return sagas


def _rewrite(file: Path, version: int) -> None:
    """Turn the file into one of an older format, with all that it could hold."""
    draft = beside(file, ".older")
    with closing(sqlite3.connect(draft, isolation_level=None)) as old:
        for statements in MIGRATIONS[:version]:
            for statement in statements:
                old.execute(statement)
        old.execute("ATTACH ? AS new", (str(file),))
        tables = old.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            shared = ", ".join(_columns(old, "main", table))
            old.execute(f"DELETE FROM main.{table}")
            old.execute(f"INSERT INTO main.{table} ({shared}) SELECT {shared} FROM new.{table}")
        old.execute("DETACH new")
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute(f"PRAGMA user_version = {version}")
        old.execute("PRAGMA journal_mode = WAL")
    for suffix in _SIDE_FILES:
        beside(file, suffix).unlink(missing_ok=True)
    draft.rename(file)


def _columns(db: sqlite3.Connection, schema: str, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA {schema}.table_info({table})")]


def _schema(file: Path) -> dict[str, str]:
    """Return every table and index with its statement, as SQLite keeps it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        return _statements(db)


def _expected() -> dict[str, str]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        return _statements(db)


def _statements(db: sqlite3.Connection) -> dict[str, str]:
    rows = db.execute(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL UNION SELECT 'format', user_version FROM pragma_user_version"
    )
    return dict(rows.fetchall())
