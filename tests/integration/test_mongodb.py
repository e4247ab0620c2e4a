"""A MongoDB store and what can happen to its server, its connections and its documents."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, product
from typing import Any

import pytest

from saga.errors import LeaseLost, StoreError, StoreUnavailable, StoreUnknown, StoreUnusable
from saga.ports.stored import Delivered, Lease, Query
from saga.stores import mongo_segments
from saga.stores.mongo import MongoStore
from saga.stores.mongo_documents import DUE_ORDER, LIST_ORDER, WRITE_BYTES
from saga.stores.mongo_driver import Client
from saga.stores.mongo_reads import called, due, new, page
from tests import mongodb
from tests.contract.values import KNOWN, NODE, OTHER, batch, message, new_saga, owned_saga, summary
from tests.doubles_mongo import Failure, fail

pytestmark = pytest.mark.mongodb


async def settled(store: MongoStore, lease: Lease, *entries: bytes) -> Lease:
    """Append as an engine does: again when it was not done, read back when nobody knows."""
    while True:
        try:
            return await store.append(lease, batch(*entries))
        except StoreUnavailable:
            await asyncio.sleep(0.01)
        except (StoreUnknown, LeaseLost):
            record = await patiently(store, lease.saga_id)
            if record.entries[lease.seq :] == entries:
                return Lease(
                    saga_id=lease.saga_id, node=lease.node, fence=record.fence, seq=len(record.entries)
                )
            assert len(record.entries) == lease.seq


async def patiently(store: MongoStore, saga_id: str) -> Any:
    """Read, again and again."""
    while True:
        with suppress(StoreUnavailable):
            return await store.load(saga_id)


# --------------------------------------------------------------------------- answers that are lost


@pytest.mark.slow
@pytest.mark.parametrize("driver", mongodb.DRIVERS)
async def test_whatever_fails_each_append_is_done_once(driver: Any) -> None:
    """Not sent, lost, unanswered or late: journals hold every entry once and in order, and no lease is lost."""
    async with mongodb.opened(driver) as store:
        leases = [await owned_saga(store, f"s{n:02}") for n in range(40)]
        failing = fail(store, seed=7, rate=0.2)

        async def write(lease: Lease) -> None:
            for n in range(20):
                lease = await settled(store, lease, b"%d" % n)

        await asyncio.gather(*map(write, leases))
        while failing.late:
            await asyncio.wait(failing.late)
        assert failing.fired.keys() == {*Failure, "read"}
        for lease in leases:
            record = await patiently(store, lease.saga_id)
            assert record.entries == (b"first", *(b"%d" % n for n in range(20)))
            assert record.owner == NODE


@pytest.mark.slow
async def test_whatever_fails_messages_come_once_and_starts_stand() -> None:
    """A message that is sent again until it is answered waits once; of a start's answers one is that it is new."""
    async with mongodb.opened() as store:
        await owned_saga(store, "inbox")
        failing = fail(store, seed=11, rate=0.2)

        async def send(n: int) -> None:
            while True:
                with suppress(StoreError):
                    told = await store.deliver("inbox", message(f"m{n}"))
                    assert told.result in ("new", "duplicate")
                    return

        async def start(n: int) -> None:
            while True:
                with suppress(StoreError):
                    await store.start(new_saga(f"new-{n}", fingerprint=str(n)))
                    return

        await asyncio.gather(*(call(n) for n in range(60) for call in (send, start)))
        while failing.late:
            await asyncio.wait(failing.late)
        record = await patiently(store, "inbox")
        assert sorted(each.id for each in record.messages) == sorted(f"m{n}" for n in range(60))
        for n in range(60):
            assert (await patiently(store, f"new-{n}")).fingerprint == str(n)


async def test_a_write_the_server_is_silent_about_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time for finding out is over; what was never sent is said to be so."""
    monkeypatch.setattr("saga.stores.mongo_writer.SETTLE_SECONDS", 0.2)
    async with mongodb.opened() as store:
        lease = await owned_saga(store)
        sagas = store._open().sagas
        failing = fail(store, seed=1, rate=1.0)
        failing._dice.choice = lambda _: Failure.UNANSWERED  # type: ignore[method-assign,assignment]
        with pytest.raises(StoreUnknown):
            await store.append(lease, batch(b"done"))
        failing._dice.choice = lambda _: Failure.UNSENT  # type: ignore[method-assign,assignment]
        with pytest.raises(StoreUnavailable):
            await store.append(lease, batch(b"not sent"))
        assert (await mongodb.entries(sagas, "s1"))[1:] == [b"done"]


# --------------------------------------------------------------------------- several coordinators


async def test_coordinators_share_a_database() -> None:
    """Each saga is claimed by one of them, a former owner writes nothing, and the secret is one."""
    async with mongodb.opened() as first:
        others = [MongoStore(first._address, driver) for driver in ("motor", "pymongo", "motor")]
        await asyncio.gather(*(each.open() for each in others))
        stores = [first, *others]
        await asyncio.gather(*(store.start(new_saga(f"s{n:03}")) for n in range(25) for store in stores))
        nodes = [f"node-{n}" for n in range(len(stores))]
        claims = await asyncio.gather(
            *(store.claim(node, 10, 100.0, KNOWN) for store, node in zip(stores, nodes, strict=True))
        )
        taken = [claimed.lease.saga_id for claimed in chain(*claims)]
        assert sorted(taken) == [f"s{n:03}" for n in range(25)]
        assert len({await store.secret("key", os.urandom(8)) for store in stores}) == 1

        lease = next(claimed.lease for claimed in chain(*claims))
        assert await others[1].release_dead() == 25  # none of these nodes is known
        with pytest.raises(LeaseLost):
            await stores[nodes.index(lease.node)].append(lease, batch(b"stale"))
        for each in others:
            await each.close()


async def test_appends_and_messages_of_different_coordinators_do_not_disturb_each_other() -> None:
    """The owner appends while others fill the inbox: nothing is lost on either side, and no put-down passes one by."""
    async with mongodb.opened() as owner:
        other = MongoStore(owner._address, "pymongo")
        await other.open()
        lease = await owned_saga(owner)

        async def send() -> None:
            for n in range(60):
                assert await other.deliver("s1", message(f"m{n}")) == Delivered(result="new", owner=NODE)

        async def fold(lease: Lease) -> list[str]:
            folded: list[str] = []
            while len(folded) < 60:
                waiting = [each.id for each in await owner.messages("s1")]
                lease = await owner.append(lease, batch(b"x", folded=waiting))
                folded += waiting
            await owner.append(lease, batch(b"end", release=True))
            return folded

        _, folded = await asyncio.gather(send(), fold(lease))
        assert folded == [f"m{n}" for n in range(60)]
        assert await other.messages("s1") == []
        await other.close()


async def test_dead_nodes_that_own_nothing_are_forgotten_at_the_next_start() -> None:
    """Each process that is killed leaves one; one that owns something stays until that is released."""
    async with mongodb.opened() as store:
        for node in (NODE, OTHER):
            await store.join(node)
            await store.bury(node, 0)
        await owned_saga(store)
        other = MongoStore(store._address, "pymongo")
        await other.open()
        assert [row.id for row in await other.nodes()] == [NODE]
        await other.close()


# --------------------------------------------------------------------------- long journals and large ones


async def test_a_long_journal_is_sealed_and_read_as_one() -> None:
    """The document stays small, whatever the journal grows to, and nothing shows where it was cut."""
    async with mongodb.opened() as store:
        lease = await owned_saga(store)
        expected = [b"first"]
        for n in range(30):
            entry = b"%02d" % n + b"x" * 60_000
            lease = await store.append(lease, batch(entry))
            expected.append(entry)
            if n % 7 == 0:
                record = await store.load("s1")
                assert record is not None
                assert list(record.entries) == expected
        await store._open().heads.close()
        head = await store._open().sagas.one({"_id": "s1"})
        assert head is not None
        assert head["size"] == sum(len(entry["b"]) for entry in head["entries"])
        assert head["size"] <= mongo_segments.HEAD_BYTES + 60_002
        assert head["base"] > 15
        await store.leave(NODE)
        (claimed,) = await store.claim(OTHER, 1, 1e9, KNOWN)
        assert list(claimed.record.entries) == expected
        assert claimed.lease.seq == len(expected)


async def test_a_sealing_that_was_broken_off_is_done_again() -> None:
    """The part is there and the document does not know of it yet: it is not read twice, and not written twice."""
    async with mongodb.opened() as store:
        lease = await owned_saga(store)
        lease = await store.append(lease, batch(b"a", b"b"))
        database = store._open()
        part = [{"n": 1, "b": b"first"}, {"n": 2, "b": b"a"}]
        assert await mongo_segments._keep(database.segments, "s1", part) == 2
        await store.append(lease, batch(b"c"))
        for expected_base in (2, 4, 4):
            await mongo_segments.seal(database.sagas, database.segments, "s1")
            head = await database.sagas.one({"_id": "s1"}, ("base",))
            assert head is not None
            assert head["base"] == expected_base
            record = await store.load("s1")
            assert record is not None
            assert record.entries == (b"first", b"a", b"b", b"c")


async def test_what_no_document_can_hold_is_refused_and_spoils_no_other() -> None:
    """At the store's own bound, at the server's, and at the driver's; the saga goes on."""
    async with mongodb.opened() as store:
        lease, other = await owned_saga(store), await owned_saga(store, "other")
        with pytest.raises(StoreError, match="cannot hold"):
            await store.append(lease, batch(b"x" * (WRITE_BYTES + 1)))
        await store._open().sagas.change({"_id": "s1"}, {"$set": {"ballast": b"x" * 15_000_000}})
        answers = await asyncio.gather(
            store.append(lease, batch(b"x" * 3_000_000)),
            store.append(other, batch(b"y")),
            store.append(Lease(saga_id="\ud800", node=NODE, fence=1, seq=1), batch(b"z")),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [StoreError, Lease, StoreError]
        record = await store.load("s1")
        assert record is not None
        assert record.entries == (b"first",)
        await store.append(lease, batch(b"small"))


async def test_an_inbox_is_bounded_in_bytes_too() -> None:
    """A thousand messages of a megabyte would not fit into any document."""
    async with mongodb.opened() as store:
        lease = await owned_saga(store)
        told = [await store.deliver("s1", message(f"m{n}", body=b"x" * 900_000)) for n in range(6)]
        assert [each.result for each in told] == ["new"] * 4 + ["full"] * 2
        await store.append(lease, batch(b"x", folded=["m0"]))
        assert (await store.deliver("s1", message("m9", body=b"x" * 900_000))).result == "new"


# --------------------------------------------------------------------------- indexes


def used(plan: Any) -> Iterator[str]:
    """Yield the indexes a plan goes by, and how it scans without one: of MongoDB's plans and of FerretDB's."""
    if isinstance(plan, list):
        for each in plan:
            yield from used(each)
    elif isinstance(plan, dict):
        if plan.get("stage") == "COLLSCAN" or plan.get("Node Type") == "Seq Scan":
            yield "no index"
        yield from (plan[name] for name in ("indexName", "Index Name") if name in plan)
        kept = (
            "queryPlanner",
            "winningPlan",
            "inputStage",
            "inputStages",
            "shards",
            "Plan",
            "Plans",
            "IndexDetails",
        )
        for name in kept:
            yield from used(plan.get(name))


LISTS = [
    (Query(definition=definition, after=after), status)
    for definition, status, after in product((None, "d"), (None, "parked"), (None, (5.0, "s")))
]
SEARCHES: dict[str, tuple[Any, Any, set[str]]] = {
    "due": (due(1, 50.0), DUE_ORDER, {"due"}),
    "next due": (due(1), DUE_ORDER, {"due"}),
    "new": (new(1, 50.0), DUE_ORDER, {"new"}),
    "called": (called(1, 50.0), DUE_ORDER, {"called", "due"}),
    "newer": ({"owner": None, "format": {"$gt": 1}, "due_at": {"$exists": True}}, (), {"due"}),
    "owned": ({"owner": NODE}, (("_id", 1),), {"owned"}),
    "owners": ({"owner": {"$gt": NODE}}, (("owner", 1),), {"owned"}),
    "inboxes": ({"owner": NODE, "waiting": {"$gt": 0}}, (("_id", 1),), {"called", "owned"}),
    "heads": ({"_id": {"$in": ["s1", "s2"]}}, (), {"_id_"}),
    **{
        f"list {n}": (
            page(query, status),
            LIST_ORDER,
            {
                (None, None): {"started"},
                ("d", None): {"by_definition"},
                (None, "parked"): {"by_status"},
                ("d", "parked"): {"by_both"},
            }[query.definition, status],
        )
        for n, (query, status) in enumerate(LISTS)
    },
}


async def test_every_search_goes_by_an_index() -> None:
    """And by the one that was made for it, as the server explains."""
    async with mongodb.opened() as store:
        starts = [
            new_saga(
                f"s{n}",
                owner=NODE if n % 9 == 0 else None,
                wake_at=float(n) if n % 5 == 0 else None,
                of=summary(("completed", "parked")[n % 50 == 0], started_at=float(n), definition=f"d{n % 7}"),
            )
            for n in range(3000)
        ]
        await asyncio.gather(*map(store.start, starts))
        sagas = store._open().sagas
        for name, (where, order, indexes) in SEARCHES.items():
            found = set(used(await sagas.explain(where, order, 20)))
            assert found, name
            assert found <= indexes, (name, found)


# --------------------------------------------------------------------------- starting


async def test_a_second_start_makes_nothing_new_and_a_newer_format_is_refused() -> None:
    """Indexes and the store's own documents are there once."""
    async with mongodb.opened() as store:
        again = MongoStore(store._address, "motor")
        await again.open()
        await again.close()
        about = store._open().about
        assert await about.count({}) == 2
        await about.change({"_id": "format"}, {"$set": {"format": 2}})
        with pytest.raises(
            StoreUnusable, match="format 2, this release knows up to 1: run the newer release"
        ):
            await again.open()
        with pytest.raises(StoreUnavailable, match="not open"):
            await again.load("s1")


async def test_a_lone_server_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Once, at the start, and not at the first write."""
    async with mongodb.opened() as store:
        hello = await store._open().clients[0].command("hello")
    alone = not (hello.get("setName") or hello.get("msg"))
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert ["replica set" in record.getMessage() for record in warned] == [True] * alone


# --------------------------------------------------------------------------- a server that dies


@pytest.mark.slow
@pytest.mark.parametrize("driver", mongodb.DRIVERS)
async def test_what_was_acknowledged_survives_the_server(driver: Any) -> None:
    """Gateway and database are killed under load and started again; the store goes on by itself."""
    if os.environ.get("SAGA_TEST_MONGODB"):
        pytest.skip("the server of SAGA_TEST_MONGODB is not the tests' to kill")
    async with mongodb.opened(driver) as store:
        leases = [await owned_saga(store, f"s{n}") for n in range(20)]
        over = asyncio.Event()

        async def write(lease: Lease) -> Lease:
            while not over.is_set():
                lease = await settled(store, lease, b"%d" % lease.seq)
            return lease

        writing = asyncio.gather(*map(write, leases))
        await asyncio.sleep(0.5)
        assert (await asyncio.to_thread(mongodb.script, "kill")).returncode == 0
        await asyncio.sleep(0.5)
        assert (await asyncio.to_thread(mongodb.script, "up")).returncode == 0
        await asyncio.sleep(1.0)
        over.set()
        for lease in await writing:
            record = await patiently(store, lease.saga_id)
            assert record.entries == (b"first", *(b"%d" % n for n in range(1, lease.seq)))


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    """Soon, and with what to do."""
    for driver in mongodb.DRIVERS:
        store = MongoStore("mongodb://ada:swordfish@127.0.0.1:1/sagas?serverSelectionTimeoutMS=200", driver)
        with pytest.raises(StoreUnavailable, match=r"mongodb://127\.0\.0\.1:1/sagas cannot be used") as away:
            await store.open()
        assert "swordfish" not in str(away.value) + repr(away.value.__cause__)
        with pytest.raises(StoreUnusable) as refused:
            Client("mongodb://ada:sword/fish@127.0.0.1:1/sagas", driver, seconds=0.1, most=1)
        assert "fish" not in str(refused.value)
