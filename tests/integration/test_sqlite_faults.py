"""A disk that fails at each write, sync and truncation of a run in turn.

Whatever fails, and whenever: what was acknowledged is there when the file is opened the next time, what was refused is
not, and only the call that met the failure may be either. A sync that failed is never tried again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from saga.errors import StoreUnavailable, StoreUnknown, StoreUnusable
from saga.ports.store import Store
from saga.ports.stored import Lease, Query
from saga.stores import sqlite_writer
from saga.stores.memory import MemoryStore
from saga.stores.sqlite import SqliteStore
from tests.contract.values import KNOWN, NODE, batch, message, new_saga
from tests.doubles_sqlite import opened
from tests.doubles_vfs import Call, Disk, failing_disk, reachable

pytestmark = pytest.mark.slow

FULL, BROKEN, UNSYNCED = sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC
UNCUT = sqlite3.SQLITE_IOERR_TRUNCATE
LARGE = b"x" * 9_000

Operation: TypeAlias = Callable[[Store], Awaitable[Any]]


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk that can be told to fail, beneath every file of the test."""
    if not reachable():
        assert "SAGA_TESTS_ARE_COMPLETE" not in os.environ
        pytest.skip("SQLite cannot be reached beneath Python's module here")
    with failing_disk() as disk:
        yield disk


def _append(saga: str, seq: int, *entries: bytes, **more: Any) -> Operation:
    lease = Lease(saga_id=saga, node=NODE, fence=1, seq=seq)
    return lambda store: store.append(lease, batch(*entries, **more))


#: The run: every kind of write, small and large.
RUN: tuple[Operation, ...] = (
    lambda store: store.join(NODE),
    lambda store: store.secret("callback", b"secret"),
    lambda store: store.put_definition("trip", b"{}", 1.0),
    lambda store: store.start(new_saga("s1", owner=NODE)),
    lambda store: store.start(new_saga("s2", owner=NODE, entries=[LARGE, b"second"])),
    _append("s1", 1, b"small"),
    _append("s1", 2, LARGE),
    lambda store: store.deliver("s1", message("m1", body=b"[1]")),
    _append("s1", 3, b"folds", folded=["m1"]),
    lambda store: store.evaluate(NODE, ["s1"]),
    lambda store: store.put_definition("trip", b"[]", 2.0),
    lambda store: store.delete_definition("trip"),
    _append("s2", 2, b"ends", release=True, wake_at=None),
    lambda store: store.start(new_saga("s3", wake_at=5.0)),
    lambda store: store.claim(NODE, 5, 10.0, KNOWN),
    lambda store: store.deliver("s3", message("m2")),
    lambda store: store.ping(),
    lambda store: store.leave(NODE),
)


async def _shown(store: Store) -> Any:
    """Return what must not be lost; who owns what is another matter after a restart."""
    records = [await store.load(saga) for saga in ("s1", "s2", "s3")]
    return (
        [record and (record.entries, record.messages, record.summary) for record in records],
        await store.versions("trip"),
        len(await store.list(Query())),
    )


async def _model(run: list[Operation]) -> Any:
    reference = MemoryStore()
    for operation in run:
        await operation(reference)
    return await _shown(reference)


class Told:
    """What a run was told: what was done, and what may have been."""

    def __init__(self) -> None:
        self.done: list[Operation] = []
        self.unknown: list[Operation] = []
        self.refused = 0

    async def ask(self, store: SqliteStore, operation: Operation) -> None:
        """Run one operation."""
        try:
            await operation(store)
        except StoreUnknown:
            self.unknown.append(operation)
        except StoreUnavailable:
            self.refused += 1
        else:
            self.done.append(operation)

    async def may_be_there(self) -> list[Any]:
        """Return what may stand in the file: with and without each that is unknown."""
        assert len(self.unknown) <= 1
        without = await _model(self.done)
        return [without, await _model([*self.done, *self.unknown])]


async def _run(path: Path, told: Told, disk: Disk) -> None:
    """Do the run; what is refused because there is no room is asked for again when there is."""
    store = SqliteStore(path)
    await store.open()
    try:
        for operation in RUN:
            before = told.refused
            await told.ask(store, operation)
            if told.refused > before and disk.code == FULL:
                disk.mend()
                await told.ask(store, operation)
    finally:
        await store.close()


async def _made(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()


async def _length(folder: Path, disk: Disk, call: Call) -> int:
    """Return how many calls of a kind the run takes, after the file was made and with its opening and closing."""
    await _made(folder / "whole.db")
    disk.order(call, 0, 0)
    await _run(folder / "whole.db", Told(), disk)
    return disk.counts[call]


def _says_what_to_do(refusal: StoreUnusable) -> None:
    assert "see that this user may read and write" in str(refusal) or "make room first" in str(refusal)


#: What fails, with which result, whether for good, and whether half of it is written.
FAULTS: dict[str, tuple[Call, int, bool, bool]] = {
    "no room": ("write", FULL, True, False),
    "no room once, half written": ("write", FULL, False, True),
    "an error": ("write", BROKEN, False, False),
    "errors, half written": ("write", BROKEN, True, True),
    "a sync": ("sync", UNSYNCED, False, False),
    "a truncation": ("truncate", UNCUT, False, False),
}
#: Of so many writes one is tried; the next kind of failure begins with the next.
STEP = int(os.environ.get("DISK_STEP", "4"))


@pytest.fixture(autouse=True)
def _copies_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is copied into the file after every batch, so that those writes fail as well."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PAGES", 1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", FAULTS)
async def test_a_failure_at_any_call_loses_nothing_that_was_acknowledged(
    tmp_path: Path, disk: Disk, kind: str
) -> None:
    """One run for each call, which fails at that one."""
    call, code, for_good, torn = FAULTS[kind]
    count = await _length(tmp_path, disk, call)
    every = STEP if call == "write" else 1
    for nth in range(1 + list(FAULTS).index(kind) % every, count + 1, every):
        path, told = tmp_path / f"{nth}.db", Told()
        await _made(path)
        disk.order(call, nth, code, for_good=for_good, torn=torn)
        try:
            await _run(path, told, disk)
        except StoreUnusable as refusal:
            _says_what_to_do(refusal)
        if call == "sync":
            assert "sync" not in disk.after, f"sync {nth}"
        disk.mend()
        store = SqliteStore(path)
        await store.open()
        assert await _shown(store) in await told.may_be_there(), f"{kind} at {call} {nth}"
        if code == FULL:
            assert not told.unknown
        await store.close()
        path.unlink()
    assert count > (1 if call != "write" else 50)


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_failure_while_the_file_is_made_leaves_none(tmp_path: Path, disk: Disk, kind: str) -> None:
    """It is refused with a word on what to do, and made when the disk works."""
    call, code, for_good, torn = FAULTS[kind]
    nth, made = 0, False
    while not made:
        nth += 1
        path = tmp_path / f"{nth}.db"
        disk.order(call, nth, code, for_good=for_good, torn=torn)
        store = SqliteStore(path)
        try:
            await store.open()
        except StoreUnusable as refusal:
            _says_what_to_do(refusal)
        made = not disk.fired
        await store.close()
        disk.mend()
        async with opened(path) as again:
            assert await _shown(again) == await _model([])
            await again.ping()
    assert nth > 1 or call == "truncate"
