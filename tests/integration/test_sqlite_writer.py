"""An SQLite store whose disk fails or is slow: what its one writing thread promises."""

from __future__ import annotations

import asyncio
import errno
import math
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from saga.errors import StoreError, StoreUnavailable, StoreUnknown
from saga.ports.stored import Query
from saga.stores import sqlite_queue, sqlite_reads, sqlite_writer
from saga.stores.ranks import Rank
from saga.stores.sqlite import SqliteStore
from saga.stores.sqlite_lock import FileLock
from tests.contract.values import NODE, batch, message, new_saga, owned_saga
from tests.doubles_sqlite import Broken, Hold, ask, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "saga.db"


# --------------------------------------------------------------------------- the disk


@pytest.fixture(autouse=True)
def _whole() -> Iterator[None]:
    Broken.faults, Broken.asked = {}, []
    yield
    Broken.faults, Broken.asked = {}, []


async def test_a_note_that_has_no_room_stops_no_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full for the note beside the file costs the copying of the log, and comes back."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PAGES", 1)
    noted = FileLock.note
    full = OSError(errno.ENOSPC, "No space left on device")
    async with opened(path) as store:

        def note(_lock: FileLock, _what: str) -> None:
            raise full

        monkeypatch.setattr(FileLock, "note", note)
        for number in range(3):
            await store.start(new_saga(f"s{number}"))
        monkeypatch.setattr(FileLock, "note", noted)
        await store.start(new_saga("s3"))
        assert await store.load("s0") is not None
    async with opened(path) as store:
        assert len(await store.list(Query())) == 4


@pytest.mark.parametrize("done", [False, True])
async def test_a_failed_sync_stops_the_store(path: Path, *, done: bool) -> None:
    """The batch is unknown, everything after it is refused with the reason, and nothing is synced again."""
    store = SqliteStore(path, connection=Broken)
    await store.open()
    lease = await owned_saga(store)
    log = path.with_name("saga.db-wal")
    Broken.faults["COMMIT"] = (sqlite3.SQLITE_IOERR_FSYNC, done)
    answers = await asyncio.gather(
        store.append(lease, batch(b"x")), store.start(new_saga("s2")), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreUnknown, StoreUnknown]
    assert "disk I/O error" in await asyncio.wait_for(store.failed(), 1)
    Broken.faults, Broken.asked = {}, []
    # Reading, too: what was not synced can still be read, and must not be taken for durable.
    calls = (store.append(lease, batch(b"x")), store.start(new_saga("s3")), store.ping(), store.load("s1"))
    for call in calls:
        with pytest.raises(StoreUnavailable, match="has stopped, its disk or file failed: disk I/O error"):
            await call
    before = path.read_bytes(), log.read_bytes()
    await store.close()
    await store.close()
    assert Broken.asked == []
    assert (path.read_bytes(), log.read_bytes()) == before
    async with opened(path) as again:
        record = await again.load("s1")
        assert record is not None
        assert record.entries == ((b"first", b"x") if done else (b"first",))
        assert (await again.load("s2") is not None) == done


async def test_a_failed_checkpoint_stops_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write before it is durable and acknowledged."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PAGES", 1)
    Broken.faults["PRAGMA wal_checkpoint"] = (sqlite3.SQLITE_IOERR_WRITE, False)
    async with opened(path, connection=Broken) as store:
        assert await store.start(new_saga()) is None
        await asyncio.wait_for(store.failed(), 1)
        with pytest.raises(StoreUnavailable):
            await store.ping()
    async with opened(path) as store:
        assert await store.load("s1") is not None


async def test_queued_writes_of_a_stopped_store_were_not_written(path: Path) -> None:
    """Only the batch that met the failure is in doubt."""
    async with opened(path, connection=Broken) as store:
        with Hold(store) as hold:
            first = asyncio.ensure_future(store.start(new_saga("s1")))
            await hold.busy()
            Broken.faults["COMMIT"] = (sqlite3.SQLITE_IOERR_FSYNC, False)
        with pytest.raises(StoreError):
            await first
        with pytest.raises(StoreUnavailable):
            await store.start(new_saga("s2"))


async def test_a_full_disk_passes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Writes are refused while it lasts, with one line in the log, and work again when there is room."""
    async with opened(path) as store:
        lease = await owned_saga(store)
        await ask(store, f"PRAGMA max_page_count = {await ask(store, 'PRAGMA page_count')}")
        caplog.clear()
        for n in range(5):
            with pytest.raises(StoreUnavailable, match="disk is full"):
                await store.start(new_saga(f"s{n + 2}", entries=[b"x" * 100_000]))
        await ask(store, "PRAGMA max_page_count = 100000")
        assert await store.load("s2") is None
        await store.start(new_saga("s2", entries=[b"x" * 100_000]))
        await store.append(lease, batch(b"x"))
        lines = [record.getMessage() for record in caplog.records]
        assert lines == [
            "the store cannot be written: database or disk is full",
            "the store can be written again",
        ]


async def test_a_disk_full_at_the_commit_passes(path: Path) -> None:
    """Nothing of the batch is there, and the store goes on."""
    async with opened(path, connection=Broken) as store:
        Broken.faults["COMMIT"] = (sqlite3.SQLITE_FULL, False)
        with pytest.raises(StoreUnavailable):
            await store.start(new_saga())
        Broken.faults.clear()
        assert await store.load("s1") is None
        assert await store.start(new_saga()) is None


async def test_another_program_that_locks_the_file_is_waited_out(path: Path) -> None:
    """A write that cannot begin was not written."""
    async with opened(path) as store:
        await ask(store, "PRAGMA busy_timeout = 20")
        shell = sqlite3.connect(path, isolation_level=None)
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.start(new_saga())
        shell.execute("ROLLBACK")
        shell.close()
        assert await store.start(new_saga()) is None


async def test_what_sqlite_cannot_hold_fails_alone(path: Path) -> None:
    """The other writes of its batch are done, and no error of the driver crosses the port."""
    async with opened(path) as store:
        await store.start(new_saga())
        with Hold(store) as hold:
            await hold.busy()
            calls = [
                store.deliver("s1", message("good")),
                store.deliver("s1", replace(message("bad"), by="\ud800")),
                store.beat(NODE, 2**70),
                store.start(new_saga("s2")),
            ]
            waiting = asyncio.gather(*calls, return_exceptions=True)
            await hold.queued(4)
        good, text, number, started = await waiting
        assert isinstance(text, StoreError)
        assert isinstance(number, StoreError)
        assert "cannot hold" in str(text)
        assert started is None
        assert getattr(good, "result", None) == "new"
        assert [each.id for each in await store.messages("s1")] == ["good"]
        assert await store.load("\ud800") is None


# --------------------------------------------------------------------------- the queue


async def test_what_is_ready_together_is_one_commit(path: Path) -> None:
    """A hundred appends cost one sync, and one that starts meanwhile the next."""
    async with opened(path) as store:
        leases = [await owned_saga(store, f"s{n}") for n in range(100)]
        before = store.counters.commits
        with Hold(store) as hold:
            await hold.busy()
            waiting = asyncio.gather(*(store.append(lease, batch(b"x")) for lease in leases))
            await hold.queued(100)
        await waiting
        assert store.counters.commits - before == 1


async def test_results_go_before_messages_and_starts(path: Path) -> None:
    """What frees a participant comes first, what brings new work last."""
    order: list[Rank] = []

    def note(_: sqlite3.Connection, rank: Rank) -> None:
        order.append(rank)

    async with opened(path) as store:
        assert store._writer is not None
        with Hold(store) as hold:
            await hold.busy()
            ranks = [Rank.START, Rank.RESULT, Rank.INBOX, Rank.RESULT]
            futures = [store._writer.submit(rank, partial(note, rank=rank)) for rank in ranks]
        await asyncio.gather(*futures)
    assert order == sorted(ranks)


async def test_a_slow_disk_shows_in_the_backlog(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By age, then by length; then starts are refused, while results are still taken."""
    async with opened(path) as store:
        lease = await owned_saga(store)
        with Hold(store) as hold:
            await hold.busy()
            started = asyncio.ensure_future(store.start(new_saga("s2")))
            await hold.queued(1)
            assert 0.0 <= store.backlog() < 5.0
            monkeypatch.setattr(sqlite_queue, "QUEUE_WRITES", 1)
            assert store.backlog() == math.inf
            with pytest.raises(StoreUnavailable, match="writes are waiting"):
                await store.start(new_saga("s3"))
            result = asyncio.ensure_future(store.append(lease, batch(b"x")))
            await hold.queued(2)
        await asyncio.gather(started, result)
        assert store.backlog() == 0.0


async def test_readers_do_not_wait_for_the_writer(path: Path) -> None:
    """While a transaction is open, everything durable can be read."""
    async with opened(path) as store:
        await owned_saga(store)
        with Hold(store) as hold:
            await hold.busy()
            async with asyncio.timeout(5):
                assert await store.load("s1") is not None
                assert await store.definition("x") is None
                assert len(await store.list(Query())) == 1


async def test_a_saga_is_read_in_one_view(path: Path) -> None:
    """What is written while it is read is not half there."""
    async with opened(path) as store:
        lease = await owned_saga(store)
        await store.deliver("s1", message())
        loop = asyncio.get_running_loop()

        class Interrupted(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                if "FROM entries" in sql:
                    fold = store.append(lease, batch(b"folded", folded=["m1"]))
                    asyncio.run_coroutine_threadsafe(fold, loop).result(5)
                return super().execute(sql, *args)

        db = sqlite3.connect(path, isolation_level=None, factory=Interrupted, check_same_thread=False)
        record = await loop.run_in_executor(None, sqlite_reads.load, db, "s1")
        db.close()
        assert record is not None
        assert (record.entries, record.messages) == ((b"first",), (message(),))
        assert await store.messages("s1") == []


async def test_a_read_that_takes_long_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reader holds its view of the file, and so the log, for more than a moment."""
    endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    monkeypatch.setattr(sqlite_reads, "READ_SECONDS", 0.05)
    async with opened(path) as store:
        await store.start(new_saga())
        assert store._readers is not None
        for _ in range(4):
            with pytest.raises(StoreUnavailable, match="cannot be read"):
                await store._readers.far(lambda db: db.execute(endless).fetchone(), None)
        assert await store.load("s1") is not None


async def test_closing_writes_what_is_queued(path: Path) -> None:
    """And turns away what comes later."""
    async with opened(path) as store:
        waiting = asyncio.gather(*(store.start(new_saga(f"s{n}")) for n in range(50)))
        await store.ping()
        await store.close()
        assert await waiting == [None] * 50
        with pytest.raises(StoreUnavailable):
            await store.start(new_saga("late"))
    async with opened(path) as store:
        assert len(await store.list(Query(limit=100))) == 50


# --------------------------------------------------------------------------- the log


async def test_the_log_does_not_grow_with_the_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is copied into the file between batches and begun anew."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PAGES", 50)
    log = path.with_name("saga.db-wal")
    async with opened(path) as store:
        lease = await owned_saga(store)
        for n in range(400):
            lease = await store.append(lease, batch(b"x" * 3000))
            if n % 50 == 0:
                await store.load("s1")
        assert log.stat().st_size < 2_000_000
        assert path.stat().st_size > 1_000_000


async def test_the_log_does_not_grow_from_kill_to_kill(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process has left counts: each life here is too short for a checkpoint of its own."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_PAGES", 1_000)
    log, logged = path.with_name("saga.db-wal"), 0
    for life in range(12):
        async with opened(path) as store:
            for n in range(50):
                await store.start(new_saga(f"s{life}-{n}", entries=[b"x" * 3000]))
            with Hold(store) as hold:
                await hold.busy()
                left = {name: name.read_bytes() for name in (path, log)}
                logged = max(logged, log.stat().st_size)
        for name, content in left.items():
            name.write_bytes(content)
    assert logged < 16_000_000
    async with opened(path) as store:
        assert len(await store.list(Query(limit=1000))) == 600


async def test_an_idle_store_leaves_no_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the file taken then is whole."""
    monkeypatch.setattr(sqlite_writer, "IDLE_SECONDS", 0.01)
    log = path.with_name("saga.db-wal")
    async with opened(path) as store:
        await store.start(new_saga())
        async with asyncio.timeout(5):
            while log.stat().st_size > 0:
                await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        copy = path.with_name("copy.db")
        shutil.copy(path, copy)
        await store.start(new_saga("s2"))
    async with opened(copy) as store:
        assert [each.id for each in await store.list(Query())] == ["s1"]
