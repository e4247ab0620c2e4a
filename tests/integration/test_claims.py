"""What a coordinator takes on after others have died: a saga that ends its process stops no other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from saga import claims
from saga.core.entries import Entry
from saga.core.state import SagaState
from saga.errors import StoreUnavailable
from saga.ports.stored import Message, Query
from saga.stores.memory import MemoryStore
from tests.doubles import Coordinator, ScriptedInvoker, settle_down
from tests.doubles_store import Fault, FaultyStore, scripted

ONE_CALL = {
    "name": "one",
    "services": {"any": {"url": "http://127.0.0.1:1"}},
    "steps": [{"name": "call", "action": {"service": "any", "path": "/"}, "compensation": {"path": "/undo"}}],
}


async def dies(store: MemoryStore, starts: int, *, node: str = "dead") -> list[str]:
    """Let a coordinator start so many sagas, whose calls stay open, and die; return their ids."""
    dead = Coordinator(ScriptedInvoker(lambda _: None), store=store, node=node)
    await dead.worker.start()
    started = [await dead.start(ONE_CALL) for _ in range(starts)]
    await killed(dead)
    return started


async def killed(coordinator: Coordinator) -> None:
    """Stop a coordinator where it is, and let its sagas be released as those of a dead node are."""
    for task in (*coordinator.worker._tasks, *coordinator.worker._loops):
        task.cancel()
    await settle_down()
    (row,) = [row for row in await coordinator.store.nodes() if row.id == coordinator.worker.node]
    await coordinator.store.bury(row.id, row.beat)
    await coordinator.store.release_dead()


class Ended(BaseException):
    """The process has ended: nothing in it goes on."""


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return ids of sagas; reading one of them is the end of the process."""
    ids: set[str] = set()
    read = claims.replay

    def replay(entries: Iterable[Entry]) -> SagaState:
        state = read(entries)
        if state.id in ids:
            raise Ended
        return state

    monkeypatch.setattr(claims, "replay", replay)
    return ids


async def lives(store: MemoryStore, node: str) -> None:
    """Let a coordinator claim what it can; if that ends it, it dies as by a signal."""
    coordinator = Coordinator(ScriptedInvoker(), store=store, node=node)
    await coordinator.worker.start()
    await settle_down()
    await coordinator.clock.advance(30.0)
    if any(loop.done() for loop in coordinator.worker._loops):
        for loop in coordinator.worker._loops:
            if loop.done() and not loop.cancelled():
                loop.exception()
        await killed(coordinator)
    else:
        await coordinator.__aexit__()


async def statuses(store: MemoryStore) -> dict[str, str]:
    """Return the status of every saga, as lists show it."""
    return {each.id: each.summary.status for each in await store.list(Query(limit=100))}


async def test_a_saga_that_ends_its_process_is_parked_after_ten_times_and_stops_no_other(
    deadly: set[str],
) -> None:
    """Once with all the others, ten times alone; then it is left, and the others are done."""
    store = MemoryStore()
    started = await dies(store, 5)
    deadly.add(started[2])
    for life in range(12):
        await lives(store, f"life-{life}")

    others = dict.fromkeys(started, "completed")
    assert await statuses(store) == others | {started[2]: "parked"}
    (listed,) = [each for each in await store.list(Query()) if each.id == started[2]]
    assert (listed.owner, listed.summary.definition) == (None, "one")
    assert b"the coordinator ended each time" in listed.summary.body


async def test_the_others_are_done_while_it_is_still_tried(deadly: set[str]) -> None:
    """The first death takes all of them along; the second only those that come after it."""
    store = MemoryStore()
    started = await dies(store, 3)
    deadly.add(max(started))
    await lives(store, "first")
    assert set((await statuses(store)).values()) == {"running"}
    await lives(store, "second")
    assert sorted((await statuses(store)).values()) == ["completed", "completed", "running"]


async def test_who_asks_for_a_poisonous_saga_has_it_looked_at_again(deadly: set[str]) -> None:
    """A command on a release that was mended takes it on."""
    store = MemoryStore()
    (started,) = await dies(store, 1)
    deadly.add(started)
    for life in range(11):
        await lives(store, f"life-{life}")
    assert await statuses(store) == {started: "parked"}

    deadly.clear()
    async with Coordinator(ScriptedInvoker(), store=store, node="mended") as coordinator:
        body = b'{"command":"retry"}'
        await store.deliver(started, Message(id="m", kind="command", body=body, by="", at=0.0))
        await coordinator.worker.poke(started)
        await settle_down()
        assert await statuses(store) == {started: "completed"}


async def test_a_series_of_quick_restarts_parks_nothing(deadly: set[str]) -> None:
    """Nodes that die with all their sagas running, and not while they look at them, put none of them at risk."""
    store = MemoryStore()
    started = await dies(store, 3)
    for life in range(6):
        hung = Coordinator(ScriptedInvoker(lambda _: None), store=store, node=f"life-{life}")
        await hung.worker.start()
        await settle_down()
        await killed(hung)
    assert not deadly
    assert await statuses(store) == dict.fromkeys(started, "running")
    await lives(store, "last")
    assert await statuses(store) == dict.fromkeys(started, "completed")


async def test_a_saga_that_cannot_be_read_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever reading it raises; it is shown as parked, under its name, with its journal as it was."""
    store = MemoryStore()
    started = await dies(store, 3)
    read = claims.replay

    def replay(entries: Iterable[Entry]) -> Any:
        state = read(entries)
        if state.id == started[1]:
            raise RecursionError
        return state

    monkeypatch.setattr(claims, "replay", replay)
    before = await store.load(started[1])
    await lives(store, "next")
    assert await statuses(store) == {
        started[0]: "completed",
        started[1]: "parked",
        started[2]: "completed",
    }
    after = await store.load(started[1])
    assert before is not None
    assert after is not None
    assert (after.entries, after.owner, after.summary.definition) == (before.entries, None, "one")


@pytest.mark.parametrize("method", ["evaluate", "definition", "append"])
@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER])
async def test_a_store_that_fails_in_the_middle_of_a_claim_loses_no_saga(method: str, fault: Fault) -> None:
    """What was claimed is owned, so nobody else looks for it: it has to be taken on all the same."""
    store = MemoryStore()
    started = await dies(store, 3)
    faulty = FaultyStore(store, scripted({method: [fault, fault]}))
    async with Coordinator(ScriptedInvoker(), store=faulty, node="next") as coordinator:
        await coordinator.clock.advance(30.0)
        assert await statuses(store) == dict.fromkeys(started, "completed")
    assert faulty.fired[method, fault] == 2


async def test_nothing_is_lost_when_the_store_cannot_be_written_for_long() -> None:
    """A note that cannot be made is made as soon as it can be."""
    store = MemoryStore()
    started = await dies(store, 2)
    faulty = FaultyStore(store, lambda method: Fault.BEFORE if method == "evaluate" else None)
    async with Coordinator(ScriptedInvoker(), store=faulty, node="next") as coordinator:
        await coordinator.clock.advance(60.0)
        assert set((await statuses(store)).values()) == {"running"}
        with pytest.raises(StoreUnavailable):
            await faulty.evaluate("next", [])
        faulty.plan = lambda _: None
        await coordinator.clock.advance(10.0)
        assert await statuses(store) == dict.fromkeys(started, "completed")
