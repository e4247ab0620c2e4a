"""Whatever eight clients do at the same time, and whatever befalls them, a store answers as if it did one call at a time."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

import pytest

from saga.ports.store import Store
from saga.ports.stored import Append, Claimed, Delivered, Lease, Message
from saga.stores.memory import MemoryStore
from saga.stores.sqlite import SqliteStore
from tests import mongodb
from tests.contract.histories import History
from tests.contract.linearizable import Call, possible, wrong
from tests.contract.values import batch, message, new_saga, one_turn

#: Histories of each store; many more by night.
HISTORIES = int(os.environ.get("HISTORIES", "12"))


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Store]:
    """Open an empty store of this kind; another store adds one line."""
    if kind in mongodb.DRIVERS:
        async with mongodb.opened(kind) as shared:
            yield shared
        return
    store: Store = {"memory": MemoryStore, "sqlite": lambda: SqliteStore(folder / "saga.db", "fast")}[kind]()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "kind",
    ["memory", "sqlite", *(pytest.param(driver, marks=pytest.mark.mongodb) for driver in mongodb.DRIVERS)],
)
async def test_a_store_does_one_call_at_a_time_as_far_as_anybody_can_tell(tmp_path: Path, kind: str) -> None:
    """Claims, appends, deliveries, evaluations and releases, with clients that are killed and answers that are lost."""
    killed = lost = 0
    for seed in range(HISTORIES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        async with opened(kind, folder) as store:
            history = History(store, seed)
            await history.record()
        assert not (found := wrong(history.calls)), f"seed {seed}: {found[0]}"
        killed, lost = killed + history.killed, lost + history.lost
    assert killed > HISTORIES
    assert lost > HISTORIES


# stores that are wrong on purpose


class TakesStaleAppends(MemoryStore):
    """Looks at the owner of a saga alone, not at its fence and its sequence."""

    async def append(self, lease: Lease, batch: Append) -> Lease:
        saga = self._sagas.get(lease.saga_id)
        if saga is not None and saga.owner == lease.node:
            lease = Lease(saga_id=saga.id, node=lease.node, fence=saga.fence, seq=len(saga.entries))
        return await super().append(lease, batch)


class GivesTwice(MemoryStore):
    """Reads what is free, and gives it when it has thought about it."""

    async def take(self, saga_id: str, node: str, newest: int) -> Claimed | None:
        saga = self._sagas.get(saga_id)
        if saga is None or saga.owner is not None:
            return None
        await one_turn()
        return self._give(saga, node)


class ClaimsWhatIsOwned(MemoryStore):
    """Takes a look at the store, and another at what it gives."""

    async def claim(self, node: str, limit: int, now: float, newest: int) -> list[Claimed]:
        free = [saga for saga in self._due.values() if saga.is_due(now)][:limit]
        await one_turn()
        return [self._give(saga, node) for saga in free]


class LosesDeliveries(MemoryStore):
    """Forgets a message that comes while another waits."""

    async def deliver(self, saga_id: str, message: Message) -> Delivered:
        delivered = await super().deliver(saga_id, message)
        saga = self._sagas.get(saga_id)
        if saga is not None and delivered.result == "new" and len(saga.inbox) > 1:
            del saga.inbox[message.id]
        return delivered


class DeliversTwice(MemoryStore):
    """Does not remember what was folded."""

    async def append(self, lease: Lease, batch: Append) -> Lease:
        after = await super().append(lease, batch)
        self._sagas[lease.saga_id].seen.difference_update(batch.folded)
        return after


class LeavesTheFence(MemoryStore):
    """Releases what the dead owned under the fence that they know."""

    async def release_dead(self) -> int:
        fences = {saga.id: saga.fence for saga in self._sagas.values()}
        released = await super().release_dead()
        for saga in self._sagas.values():
            saga.fence = fences[saga.id]
        return released


class ForgetsTheNote(MemoryStore):
    """Does not take what a dead node was evaluating for suspect."""

    async def evaluate(self, node: str, saga_ids: Any) -> None:
        await super().evaluate(node, [])


class ReadsBehind(MemoryStore):
    """Shows what it read a moment ago."""

    async def load(self, saga_id: str) -> Any:
        record = await super().load(saga_id)
        if (before := self.__dict__.setdefault("before", {}).get(saga_id)) is not None:
            self.__dict__["before"][saga_id] = record
            return before
        self.__dict__["before"][saga_id] = record
        return record


BROKEN: tuple[type[MemoryStore], ...] = (
    TakesStaleAppends,
    GivesTwice,
    ClaimsWhatIsOwned,
    LosesDeliveries,
    DeliversTwice,
    LeavesTheFence,
    ForgetsTheNote,
    ReadsBehind,
)


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN)
async def test_a_store_that_is_wrong_is_found_out(broken: type[MemoryStore]) -> None:
    """Within a few histories: a checker that has never failed proves nothing."""
    for seed in range(60):
        history = History(broken(), seed)
        await history.record()
        if wrong(history.calls):
            return
    pytest.fail(f"{broken.__name__} was never found out")


# the checker


def test_calls_at_the_same_time_may_have_happened_in_either_order() -> None:
    """And one after the other in one order only; a lost one at any time, or never."""
    start = Call(0, "start", (new_saga(),), 1, 2, None)
    new, second = Delivered(result="new"), Delivered(result="duplicate")
    sent = message()
    for first, then, fine in ((new, second, True), (second, new, True), (new, new, False)):
        calls = [
            start,
            Call(1, "deliver", ("s1", sent), 3, 9, first),
            Call(2, "deliver", ("s1", sent), 4, 8, then),
        ]
        assert possible(calls) is fine
    later = [
        start,
        Call(1, "deliver", ("s1", sent), 3, 4, second),
        Call(2, "deliver", ("s1", sent), 5, 6, new),
    ]
    assert not possible(later)
    lost = Call(3, "deliver", ("s1", sent), 3, inf)
    assert possible([start, lost, Call(2, "deliver", ("s1", sent), 5, 6, second)])
    assert possible([start, lost, Call(2, "deliver", ("s1", sent), 5, 6, new)])
    assert not possible(
        [start, Call(2, "deliver", ("s1", sent), 5, 6, second), Call(3, "deliver", ("s1", sent), 7, inf)]
    )


async def test_a_stale_append_that_was_taken_is_not_possible() -> None:
    """Two leases of one saga cannot both have been good."""
    old = Lease(saga_id="s1", node="a", fence=1, seq=1)
    calls = [
        Call(0, "start", (new_saga(owner="a"),), 1, 2, None),
        Call(0, "append", (old, batch(b"x")), 3, 4, Lease(saga_id="s1", node="a", fence=1, seq=2)),
    ]
    assert possible(calls)
    again = Call(1, "append", (old, batch(b"y")), 5, 6, Lease(saga_id="s1", node="a", fence=1, seq=2))
    assert not possible([*calls, again])
