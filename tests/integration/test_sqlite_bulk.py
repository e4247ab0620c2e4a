"""Appends and starts an SQLite store does with a few statements for all: no different from one by one."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saga.errors import LeaseLost, MessagesWaiting, StoreError, StoreUnavailable
from saga.ports.stored import AT_ONCE, Append, Existing, Lease, NewSaga, Summary
from saga.stores.sqlite import SqliteStore
from tests.contract.values import KNOWN, NODE, OTHER, batch, message, new_saga, owned_saga, summary
from tests.doubles_sqlite import Broken, Hold, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "saga.db"


@pytest.fixture(autouse=True)
def _whole() -> Iterator[None]:
    Broken.faults, Broken.asked = {}, []
    yield
    Broken.faults, Broken.asked = {}, []


async def together(store: SqliteStore, calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """Make the calls one batch; return what came of each."""
    with Hold(store) as hold:
        await hold.busy()
        waiting = asyncio.gather(*calls, return_exceptions=True)
        await hold.queued(len(calls))
        Broken.asked = []
    return await waiting


def stored(path: Path) -> list[Any]:
    """Return every row of the sagas and their journals, with the type each value has in the file."""
    db = sqlite3.connect(path)
    rows: list[Any] = []
    for table, order in (("sagas", "id"), ("entries", "saga_id, seq")):
        names = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "n"]
        columns = ", ".join(f"typeof({name}), {name}" for name in names)
        rows += db.execute(f"SELECT {columns} FROM {table} ORDER BY {order}")
    db.close()
    return rows


async def owned_sagas(store: SqliteStore, count: int) -> list[Lease]:
    """Start so many sagas."""
    return list(await asyncio.gather(*(owned_saga(store, f"s{n:03}") for n in range(count))))


# --------------------------------------------------------------------------- what is done together


async def test_a_batch_takes_few_statements(path: Path) -> None:
    """However many writes it has, of every kind that can go together."""
    async with opened(path, connection=Broken) as store:
        leases = await owned_sagas(store, 120)
        before = store.counters.commits
        kinds = [
            batch(b"1", b"2"),
            batch(b"1", of=summary("compensating")),
            batch(b"1", release=True, wake_at=None, of=summary("completed")),
            batch(b"1", raise_fence=True),
        ]
        appends = [store.append(lease, kinds[n % 4]) for n, lease in enumerate(leases)]
        starts = [store.start(new_saga(f"t{n}", entries=[b"1", b"2"])) for n in range(60)]
        answers = await together(store, [*appends, *starts])
        statements = list(Broken.asked)
        assert (
            answers
            == [
                Lease(saga_id=lease.saga_id, node=NODE, fence=1 + (n % 4 == 3), seq=3 if n % 4 == 0 else 2)
                for n, lease in enumerate(leases)
            ]
            + [None] * 60
        )
        assert len(statements) <= 10
        assert store.counters.commits - before == 1
        assert (store.counters.appends, store.counters.starts) == (120, 180)
        for n, lease in enumerate(leases):
            record = await store.load(lease.saga_id)
            assert record is not None
            assert record.entries == (b"first", b"1", b"2")[: 3 if n % 4 == 0 else 2]
            assert (record.owner, record.fence) == (None if n % 4 == 2 else NODE, 1 + (n % 4 == 3))


async def test_a_full_batch_is_done_together(path: Path) -> None:
    """Also when the rows need several statements, and the entries are large."""
    async with opened(path, connection=Broken) as store:
        leases = await owned_sagas(store, 511)
        appends = [store.append(lease, batch(b"x" * 10_000)) for lease in leases]
        answers = await together(store, appends)
        assert [answer.seq for answer in answers] == [2] * 511
        assert len(Broken.asked) <= 13


ENTRIES = st.lists(st.binary(max_size=5), max_size=9)
FLOATS = st.floats(allow_nan=False)
LABELS = st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers() | st.booleans(), max_size=2)
SUMMARIES = st.builds(
    Summary,
    status=st.sampled_from(["running", "compensating", "completed"]),
    late=st.booleans(),
    definition=st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    version=st.integers(-(2**63), 2**63 - 1),
    started_at=FLOATS,
    updated_at=FLOATS,
    ended_at=st.none() | FLOATS,
    labels=LABELS,
    body=st.binary(max_size=5),
)
APPENDS = st.builds(
    Append,
    entries=st.lists(st.binary(max_size=5), max_size=9),
    summary=SUMMARIES,
    wake_at=st.none() | FLOATS,
    release=st.booleans(),
    raise_fence=st.booleans(),
)
SAGAS = st.tuples(SUMMARIES, ENTRIES, st.none() | FLOATS)


async def _alone_and_together(sagas: list[Any], appends: list[Append], folder: Path) -> None:
    news = [
        new_saga(f"s{n}", owner=NODE, of=of, entries=entries, wake_at=wake_at)
        for n, (of, entries, wake_at) in enumerate(sagas)
    ]
    leases = [Lease(saga_id=new.id, node=NODE, fence=1, seq=len(new.entries)) for new in news]
    pairs = list(zip(leases, appends, strict=False))
    async with opened(folder / "alone.db", durability="fast") as store:
        alone = [await store.start(new) for new in news] + [await store.append(*pair) for pair in pairs]
    async with opened(folder / "together.db", durability="fast") as store:
        answers = await together(store, [store.start(new) for new in news])
        answers += await together(store, [store.append(*pair) for pair in pairs])
    assert answers == alone
    assert stored(folder / "together.db") == stored(folder / "alone.db")


@settings(max_examples=40, deadline=None)
@given(st.lists(SAGAS, min_size=2, max_size=12), st.lists(APPENDS, min_size=2, max_size=12))
def test_the_file_is_the_same_to_the_bit(sagas: list[Any], appends: list[Append]) -> None:
    """Floats, infinite ones too, bytes that are no text, NULLs and large numbers, each in its type."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_alone_and_together(sagas, appends, Path(folder)))


# --------------------------------------------------------------------------- what is refused


async def refusal(store: SqliteStore, leases: list[Lease], kind: str) -> tuple[Awaitable[Any], Any]:
    """Return a call that is refused beside the appends of the leases, and what it raises or returns."""
    first = leases[0]
    if kind == "no such saga":
        return store.append(Lease(saga_id="x", node=NODE, fence=1, seq=0), batch(b"x")), LeaseLost
    if kind == "a lease used twice":
        return store.append(first, batch(b"again")), LeaseLost
    if kind == "an id that is there":
        return store.start(new_saga(first.saga_id)), Existing
    if kind == "one id started twice":
        return store.start(new_saga("new")), Existing
    waiting = await owned_saga(store, "waiting")
    await store.deliver("waiting", message(about="pay:action"))
    return store.append(waiting, batch(b"x", settles=["pay:action"])), MessagesWaiting


REFUSALS = [
    "no such saga",
    "a lease used twice",
    "an id that is there",
    "one id started twice",
    "a waiting message",
]


@pytest.mark.parametrize("kind", REFUSALS)
async def test_what_is_refused_is_refused_alone(path: Path, kind: str) -> None:
    """It learns why; the others of its batch are done once, in one commit."""
    async with opened(path) as store:
        leases = await owned_sagas(store, 20)
        call, expected = await refusal(store, leases, kind)
        before = (store.counters.commits, store.counters.appends, store.counters.starts)
        calls = [*(store.append(lease, batch(b"x")) for lease in leases), store.start(new_saga("new")), call]
        *done, refused = await together(store, calls)
        assert type(refused) is expected
        assert [getattr(answer, "seq", answer) for answer in done] == [2] * 20 + [None]
        after = (store.counters.commits, store.counters.appends, store.counters.starts)
        assert [now - then for now, then in zip(after, before, strict=True)] == [1, 20, 1]
        for lease in leases:
            record = await store.load(lease.saga_id)
            assert record is not None
            assert record.entries == (b"first", b"x")


@pytest.mark.parametrize("release", [False, True])
@pytest.mark.parametrize("lost", [{"node": OTHER}, {"fence": 0}, {"fence": 2}, {"seq": 0}, {"seq": 2}])
async def test_each_part_of_a_lease_counts(path: Path, lost: dict[str, Any], *, release: bool) -> None:
    """Also beside an append that changes nothing, which must not be taken for the one that is refused."""
    async with opened(path) as store:
        leases = await owned_sagas(store, 4)
        bad = replace(leases[0], **lost)
        calls = [
            store.append(bad, batch(b"x", release=release)),
            store.append(leases[1], batch()),
            *(store.append(lease, batch(b"x")) for lease in leases[2:]),
        ]
        refused, *done = await together(store, calls)
        assert isinstance(refused, LeaseLost)
        assert [answer.seq for answer in done] == [1, 2, 2]
        record = await store.load("s000")
        assert record is not None
        assert (record.entries, record.owner) == ((b"first",), NODE)


async def test_a_batch_of_refusals_is_no_commit(path: Path) -> None:
    """What was undone does not count as written."""
    async with opened(path) as store:
        leases = await owned_sagas(store, 4)
        await together(store, [store.append(lease, batch(b"x")) for lease in leases])
        before = store.counters.commits
        again = [store.append(lease, batch(b"y")) for lease in leases]
        answers = await together(store, [*again, store.start(new_saga("s000"))])
        assert [type(answer) for answer in answers] == [LeaseLost] * 4 + [Existing]
        assert store.counters.commits == before


async def test_a_waiting_message_that_forbids_nothing_keeps_its_time(path: Path) -> None:
    """An append beside others is done though a message waits, and the saga stays due by it."""
    async with opened(path) as store:
        leases = await owned_sagas(store, 3)
        await store.deliver("s000", message(at=50.0))
        answers = await together(store, [store.append(lease, batch(b"x", wake_at=900.0)) for lease in leases])
        assert [answer.seq for answer in answers] == [2, 2, 2]
        await store.leave(NODE)
        assert await store.next_due(KNOWN) == 50.0 - AT_ONCE


async def test_other_writes_of_the_batch_are_done_too(path: Path) -> None:
    """Folding, empty appends, messages and claims go beside those that go together."""
    async with opened(path) as store:
        leases = await owned_sagas(store, 6)
        await store.deliver("s000", message())
        calls: list[Awaitable[Any]] = [
            store.append(leases[0], batch(b"x", folded=["m1"])),
            store.append(leases[1], batch()),
            store.deliver("s002", message()),
            store.claim(NODE, 5, 1000.0, KNOWN),
            *(store.append(lease, batch(b"x")) for lease in leases[3:]),
            store.start(new_saga("new")),
        ]
        folded, empty, delivered, claimed, *rest = await together(store, calls)
        assert (folded.seq, empty.seq, delivered.result) == (2, 1, "new")
        assert [each.lease.saga_id for each in claimed] == ["new"]
        assert [getattr(answer, "seq", answer) for answer in rest] == [2, 2, 2, None]
        assert await store.messages("s000") == []


async def test_what_sqlite_cannot_hold_fails_alone(path: Path) -> None:
    """A text that is no text among many starts and appends."""
    async with opened(path) as store:
        leases = await owned_sagas(store, 3)
        appends = [store.append(lease, batch(b"x")) for lease in leases]
        starts = [store.start(new_saga(f"t{n}")) for n in range(3)]
        bad = [
            store.start(new_saga("\ud800")),
            store.append(leases[0], batch(b"y", of=summary(version=2**64))),
        ]
        answers = await together(store, [*appends, *starts, *bad])
        assert [getattr(answer, "seq", answer) for answer in answers[:6]] == [2, 2, 2, None, None, None]
        assert [type(answer) for answer in answers[6:]] == [StoreError, StoreError]


# --------------------------------------------------------------------------- the disk


def mixed(store: SqliteStore, leases: list[Lease]) -> list[Awaitable[Any]]:
    """Return appends and starts that take every statement there is."""
    added = [batch(b"x", release=n % 2 == 0) for n in range(len(leases))]
    starts: list[NewSaga] = [new_saga(f"t{n}") for n in range(3)]
    return [*map(store.append, leases, added), *map(store.start, starts)]


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE])
@pytest.mark.parametrize("place", range(5))
async def test_a_disk_that_fails_at_any_statement(path: Path, place: int, code: int) -> None:
    """Nothing of the batch is written; a full disk passes, a broken one stops the store."""
    async with opened(path, connection=Broken) as store:
        leases = await owned_sagas(store, 6)
        await together(store, mixed(store, leases[:4]))
        held, *statements = [sql.split("(", maxsplit=1)[0] for sql in Broken.asked]
        assert (held, statements[0], statements[5:]) == ("COMMIT", "BEGIN IMMEDIATE", ["COMMIT"])
        before = stored(path)
        Broken.faults = {}
        lease, other = leases[4], leases[5]
        calls = [store.append(lease, batch(b"x")), store.append(other, batch(b"x", release=True))]
        with Hold(store) as hold:
            await hold.busy()
            waiting = asyncio.gather(*calls, store.start(new_saga("u")), return_exceptions=True)
            await hold.queued(3)
            Broken.faults = {statements[place]: (code, False)}
        answers = await waiting
        assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
        assert stored(path) == before
        Broken.faults = {}
        if code == sqlite3.SQLITE_FULL:
            assert (await store.append(lease, batch(b"x"))).seq == 2
        else:
            assert "has stopped" in await asyncio.wait_for(store.failed(), 1)
