"""A MongoDB store on a simulated replica set whose members misbehave: what is written is written once, or said not to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from saga.errors import LeaseLost, StoreError, StoreUnavailable, StoreUnknown
from saga.ports.stored import Lease, Record
from saga.stores.mongo import MongoStore
from saga.stores.mongo_driver import Driver
from tests import mongodb
from tests.contract.values import KNOWN, NODE, OTHER, batch, message, new_saga, owned_saga
from tests.mongo_proxy import Fault, ReplicaSet, replica_set, stepping_down

pytestmark = [pytest.mark.mongodb, pytest.mark.slow]

T = TypeVar("T")


@asynccontextmanager
async def opened(driver: Driver, seed: int = 0) -> AsyncIterator[tuple[MongoStore, ReplicaSet]]:
    """Open a store on a replica set of its own, which does nothing wrong yet."""
    address = await asyncio.to_thread(mongodb.fresh_address)
    async with replica_set(address, seed) as members:
        store = MongoStore(members.address(urlsplit(address).path[1:]), driver)
        await store.open()
        try:
            yield store, members
        finally:
            members.rates.clear()
            members.answering.set()
            await store.close()
            await mongodb.drop(address)


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer, as whoever may ask again does."""
    while True:
        try:
            return await call()
        except (StoreUnavailable, StoreUnknown):
            await asyncio.sleep(0.01)


async def loaded(store: MongoStore, saga_id: str) -> Record:
    record = await patiently(lambda: store.load(saga_id))
    assert record is not None
    return record


async def appended(store: MongoStore, lease: Lease, *entries: bytes) -> Lease:
    """Append as an engine does; nobody else writes here, so a lease that is lost was lost to its own write."""
    while True:
        try:
            return await store.append(lease, batch(*entries))
        except StoreUnavailable:
            await asyncio.sleep(0.01)
        except StoreUnknown:
            record = await loaded(store, lease.saga_id)
            if record.entries[lease.seq :] == entries:
                return Lease(saga_id=lease.saga_id, node=NODE, fence=record.fence, seq=len(record.entries))
            assert len(record.entries) == lease.seq


async def load_on(store: MongoStore, sagas: int = 12, appends: int = 7) -> list[str]:
    """Start, append and send messages; check that all of it is there, once and in order. Returns the ids."""
    ids = [f"s{n:02}" for n in range(sagas)]

    async def write(saga_id: str) -> None:
        start = new_saga(saga_id, owner=NODE)
        existing = await patiently(lambda: store.start(start))
        assert existing is None or existing.fingerprint == start.fingerprint
        lease = Lease(saga_id=saga_id, node=NODE, fence=1, seq=1)
        for n in range(appends):
            lease = await appended(store, lease, b"%d" % n)

    async def send(n: int) -> None:
        told = await patiently(lambda: store.deliver(ids[0], message(f"m{n}")))
        assert told.result in ("new", "duplicate", "unknown")
        if told.result == "unknown":
            await asyncio.sleep(0.05)
            await send(n)

    await asyncio.gather(*map(write, ids), *map(send, range(30)))
    for saga_id in ids:
        record = await loaded(store, saga_id)
        assert record.entries == (b"first", *(b"%d" % n for n in range(appends)))
        assert (record.owner, record.fence) == (NODE, 1)
    waiting = await patiently(lambda: store.messages(ids[0]))
    assert sorted(each.id for each in waiting) == sorted(f"m{n}" for n in range(30))
    return ids


@pytest.mark.parametrize("driver", mongodb.DRIVERS)
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
async def test_under_every_fault_what_is_written_is_written_once(fault: Fault, driver: Driver) -> None:
    """No entry is lost or twice, and no lease is lost to its holder's own write."""
    async with opened(driver, seed=list(Fault).index(fault)) as (store, members):
        members.slow = 0.2
        members.rates[fault] = 0.2
        await load_on(store)
        assert members.fired[fault]


@pytest.mark.parametrize("driver", mongodb.DRIVERS)
async def test_step_downs_and_every_fault_together(driver: Driver) -> None:
    """The primary changes again and again, while all else goes wrong too."""
    async with opened(driver, seed=3) as (store, members):
        members.slow = 0.2
        members.rates |= dict.fromkeys(Fault, 0.03)
        async with stepping_down(members, 0.7):
            await load_on(store, sagas=30, appends=30)
        assert len(members.fired) > len(Fault) / 2


async def test_claims_whose_answers_are_lost_take_each_saga_once() -> None:
    """Two nodes claim and release under faults: each saga is one node's, and a fence never falls."""
    async with opened("pymongo", seed=5) as (store, members):
        ids = [f"s{n:02}" for n in range(40)]
        for saga_id in ids:
            await store.start(new_saga(saga_id))
        members.slow = 0.1
        members.rates |= dict.fromkeys(Fault, 0.03)
        fences = dict.fromkeys(ids, 0)
        for turn in range(8):
            nodes = (NODE, OTHER)
            claimed = await asyncio.gather(
                *(patiently(lambda node=node: store.claim(node, 30, 1e6, KNOWN)) for node in nodes)
            )
            held: dict[str, str] = {}
            for node, leases in zip(nodes, claimed, strict=True):
                for one in leases:
                    assert held.setdefault(one.lease.saga_id, node) == node, turn
                    assert one.lease.fence >= fences[one.lease.saga_id]
                    fences[one.lease.saga_id] = one.lease.fence
            for node in nodes:
                await patiently(lambda node=node: store.leave(node))
        members.rates.clear()
        for saga_id in ids:
            assert (await loaded(store, saga_id)).fence >= fences[saga_id] > 0


async def test_a_server_that_is_away_is_said_to_be_and_comes_back() -> None:
    """Refused connections: nothing was written, and what is asked again then goes through."""
    async with opened("pymongo") as (store, members):
        lease = await owned_saga(store)
        members.go()
        with pytest.raises(StoreError) as away:
            await store.append(lease, batch(b"away"))
        assert isinstance(away.value, StoreUnavailable | StoreUnknown)
        with pytest.raises(StoreUnavailable):
            await store.ping()
        await members.come()
        lease = await appended(store, lease, b"back")
        await patiently(store.ping)
        with pytest.raises(LeaseLost):
            await store.append(Lease(saga_id="s1", node=NODE, fence=1, seq=1), batch(b"stale"))
        assert (await loaded(store, "s1")).entries == (b"first", b"back")


async def test_one_round_trip_a_batch_and_one_update_an_append() -> None:
    """Thirty appends that are ready together are one command; an append to one saga is one too."""
    async with opened("pymongo") as (store, members):
        leases = [await owned_saga(store, f"s{n:02}") for n in range(30)]
        for _ in range(2):
            members.commands.clear()
            leases = list(await asyncio.gather(*(store.append(lease, batch(b"x")) for lease in leases)))
        assert told(members) == {("update", "sagas"): 1}
        members.commands.clear()
        for _ in range(10):
            leases[0] = await store.append(leases[0], batch(b"y", b"z"))
        assert told(members) == {("update", "sagas"): 10}


def told(members: ReplicaSet) -> dict[tuple[str, str], int]:
    """Return what was asked of the members, but for what keeps a driver's connections."""
    idle = ("hello", "ismaster", "endSessions", "ping")
    counted: dict[Any, int] = {name: count for name, count in members.commands.items() if name[0] not in idle}
    return counted
