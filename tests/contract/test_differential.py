"""Whatever is asked of a store in whatever order, it answers as :class:`MemoryStore` does."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saga.errors import SagaError
from saga.ports.store import Store
from saga.ports.stored import Lease, Query, SagaStatus
from saga.stores.memory import MemoryStore
from saga.stores.mongo_driver import Driver
from saga.stores.sqlite import SqliteStore
from tests import mongodb
from tests.contract.values import batch, message, new_saga, summary
from tests.doubles_sqlite import Hold

IDS = st.sampled_from(["a", "b", "c", "d"])
NODES = st.sampled_from(["n1", "n2", "export:1"])
TIMES = st.sampled_from([1.0, 2.0, 3.0])
SOME: tuple[SagaStatus, ...] = ("running", "compensating", "completed")
STATUSES = st.sampled_from(SOME)
MESSAGES = st.sampled_from(["m1", "m2", "m3"])
ABOUT = st.sampled_from([None, "pay:action", "pay:compensation"])
FORMATS = st.sampled_from([1, 1, 1, 2, 3])
MAYBE_TIME = st.none() | TIMES


@st.composite
def summaries(draw: st.DrawFn) -> Any:
    """Return a summary; status, definition and start may change from one append to the next."""
    return summary(
        draw(STATUSES),
        started_at=draw(TIMES),
        definition=draw(st.sampled_from(["d1", "d2"])),
        late=draw(st.booleans()),
    )


@st.composite
def starts(draw: st.DrawFn) -> tuple[str, Any]:
    """Return a start, perhaps of an id that is there."""
    saga = new_saga(
        draw(IDS),
        owner=draw(st.none() | NODES),
        wake_at=draw(MAYBE_TIME),
        of=draw(summaries()),
        entries=draw(st.lists(st.binary(max_size=3), max_size=3)),
        fingerprint=draw(st.sampled_from(["p", "q"])),
        version=draw(FORMATS),
    )
    return "start", saga


@st.composite
def appends(draw: st.DrawFn) -> tuple[str, Any]:
    """Return an append under the lease the saga has, or one beside it."""
    off = st.sampled_from([0, 0, 0, 0, 0, 1, -1])
    added = batch(
        *draw(st.lists(st.binary(max_size=3), max_size=10)),
        of=draw(summaries()),
        wake_at=draw(MAYBE_TIME),
        folded=draw(st.lists(MESSAGES, max_size=3, unique=True)),
        release=draw(st.booleans()),
        settles=draw(st.sampled_from([[], ["pay:action"]])),
        raise_fence=draw(st.sampled_from([False, False, True])),
    )
    return "append", (draw(IDS), draw(off), draw(off), draw(st.none() | NODES), added)


@st.composite
def batches(draw: st.DrawFn) -> tuple[str, Any]:
    """Return appends, one for each saga at most, and starts that reach the store in one batch."""
    added = draw(st.lists(appends(), max_size=4, unique_by=lambda append: append[1][0]))
    return "together", ([*added, *draw(st.lists(starts(), max_size=3))],)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[str, Any]:
    """Return a message, perhaps one that came before."""
    return "deliver", (draw(IDS), message(draw(MESSAGES), about=draw(ABOUT), at=draw(TIMES)))


@st.composite
def queries(draw: st.DrawFn) -> tuple[str, Any]:
    """Return a list with any filter."""
    query = Query(
        statuses=draw(st.none() | st.frozensets(STATUSES)),
        definition=draw(st.sampled_from([None, "d1", "d2"])),
        limit=draw(st.integers(1, 3)),
        after=draw(st.none() | st.tuples(TIMES, IDS)),
    )
    return "list", query


OPERATIONS = st.one_of(
    starts(),
    starts(),
    appends(),
    appends(),
    appends(),
    batches(),
    batches(),
    deliveries(),
    queries(),
    st.tuples(st.just("claim"), st.tuples(NODES, st.integers(1, 3), TIMES, FORMATS)),
    st.tuples(st.just("take"), st.tuples(IDS, NODES, FORMATS)),
    st.tuples(st.sampled_from(["next_due", "newer"]), st.tuples(FORMATS)),
    st.tuples(st.sampled_from(["join", "leave", "inboxes", "owned"]), st.tuples(NODES)),
    st.tuples(st.sampled_from(["beat", "bury"]), st.tuples(NODES, st.integers(0, 2))),
    st.tuples(st.just("evaluate"), st.tuples(NODES, st.lists(IDS, max_size=2, unique=True))),
    st.tuples(st.sampled_from(["release_dead", "nodes", "definitions"]), st.just(())),
    st.tuples(
        st.just("put_definition"),
        st.tuples(st.sampled_from(["x", "y"]), st.sampled_from([b"1", b"2"]), TIMES),
    ),
    st.tuples(
        st.sampled_from(["delete_definition", "versions", "definition"]),
        st.tuples(st.sampled_from(["x", "y"])),
    ),
)


async def _append(reference: Store, what: Any) -> Any:
    """Return an append under a lease made of what the reference holds."""
    key, fence_off, seq_off, node, added = what
    record = await reference.load(key)
    held = (record.owner, record.fence, len(record.entries)) if record else (None, 0, 0)
    lease = Lease(saga_id=key, node=node or held[0] or "n1", fence=held[1] + fence_off, seq=held[2] + seq_off)
    return lease, added


async def _ask(store: Store, name: str, args: tuple[Any, ...]) -> Any:
    try:
        return await getattr(store, name)(*args)
    except SagaError as refusal:
        return type(refusal)


async def _together(reference: Store, store: Store, operations: list[tuple[str, Any]]) -> None:
    """Make one batch of appends and starts, which the reference does one after the other."""
    calls = [
        (name, await _append(reference, what) if name == "append" else (what,)) for name, what in operations
    ]
    expected = [await _ask(reference, *call) for call in calls]
    if isinstance(store, SqliteStore):
        with Hold(store) as hold:
            await hold.busy()
            answers = asyncio.gather(*(_ask(store, *call) for call in calls))
            await hold.queued(len(calls))
    else:  # what is asked in one turn of the loop goes down together
        answers = asyncio.gather(*(_ask(store, *call) for call in calls))
    assert await answers == expected, calls


async def _everything(store: Store) -> Any:
    return (
        [await store.load(key) for key in "abcd"],
        await store.list(Query()),
        await store.nodes(),
        [await store.next_due(newest) for newest in (1, 2, 3)],
        [await store.versions(name) for name in "xy"],
        (store.counters.appends, store.counters.starts),
    )


async def _compare(operations: list[tuple[str, Any]], store: Store) -> None:
    reference = MemoryStore()
    await store.open()
    try:
        for name, what in operations:
            if name == "together":
                await _together(reference, store, *what)
                assert await _everything(store) == await _everything(reference), what
                continue
            args = what if isinstance(what, tuple) else (what,)
            if name == "append":
                args = await _append(reference, what)
            expected = await _ask(reference, name, args)
            assert await _ask(store, name, args) == expected, (name, args)
            assert await _everything(store) == await _everything(reference), (name, args)
    finally:
        await store.close()


_UNHURRIED = (HealthCheck.too_slow, HealthCheck.data_too_large)


@settings(max_examples=60, deadline=None, suppress_health_check=_UNHURRIED)
@given(st.lists(OPERATIONS, max_size=40))
def test_sqlite_answers_as_memory_does(operations: list[tuple[str, Any]]) -> None:
    """Every answer and, after every operation, everything that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_compare(operations, SqliteStore(Path(folder) / "saga.db", "fast")))


async def _compare_mongo(operations: list[tuple[str, Any]], driver: Driver) -> None:
    async with mongodb.opened(driver) as store:
        await _compare(operations, store)


@pytest.mark.mongodb
@pytest.mark.timeout(600)
@pytest.mark.parametrize("driver", mongodb.DRIVERS)
def test_mongodb_answers_as_memory_does(driver: Driver) -> None:
    """The same, whichever driver speaks to the server."""

    @settings(max_examples=25, deadline=None, suppress_health_check=_UNHURRIED, database=None)
    @given(st.lists(OPERATIONS, max_size=30))
    def compare(operations: list[tuple[str, Any]]) -> None:
        asyncio.run(_compare_mongo(operations, driver))

    compare()
