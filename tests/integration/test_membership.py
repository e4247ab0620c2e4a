"""Several coordinators on one store: who lives, who takes over, and who stops in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from saga.core.entries import FORMAT
from saga.errors import StoreUnavailable
from saga.membership import Membership
from saga.ports.stored import Message, NodeRow
from saga.runs import Run
from saga.stores.memory import MemoryStore
from saga.worker import Limits
from tests.doubles import Coordinator, ScriptedInvoker, VirtualClock, said, settle_down
from tests.doubles_store import Fault, FaultyStore, scripted

TTL = 5.0


def seat() -> dict[str, Any]:
    """Return a definition of one step."""
    action = {"service": "any", "path": "/seat", "timeout": "1h"}
    return {
        "name": "seats",
        "services": {"any": {"url": "http://127.0.0.1:1"}},
        "steps": [{"name": "seat", "action": action, "compensation": "none"}],
    }


def silent(coordinator: Coordinator) -> None:
    """Stop a coordinator's loops, as a process that hangs."""
    for loop in coordinator.worker._loops:
        loop.cancel()


async def test_a_silent_nodes_sagas_are_taken_over() -> None:
    """With a higher fence, and what was on the wire in doubt."""
    store, clock = MemoryStore(shared=True), VirtualClock()
    first = Coordinator(ScriptedInvoker(lambda _: None), store=store, clock=clock, node="first")
    second = Coordinator(ScriptedInvoker(lambda _: said(200, {})), store=store, clock=clock, node="second")
    async with first, second:
        saga_id = await first.start(seat())
        await clock.advance(3 * TTL)
        assert second.invoker.sent == []

        silent(first)
        await clock.advance(3 * TTL)
        assert (await second.state(saga_id)).status == "completed"
        taken = second.invoker.sent[0]
        assert (taken.attempt, taken.key) == (2, first.invoker.sent[0].key)
        assert taken.fence > first.invoker.sent[0].fence


async def test_a_node_that_was_taken_for_dead_drops_everything_and_goes_on_under_another_name() -> None:
    """What its old calls bring is not recorded by it; new sagas run."""
    store = MemoryStore(shared=True)
    async with Coordinator(ScriptedInvoker(lambda _: None), store=store, node="first") as coordinator:
        saga_id = await coordinator.start(seat())
        old = coordinator.invoker.held[f"{saga_id}:seat:action"]
        row = (await store.nodes())[0]
        assert await store.bury("first", row.beat)
        coordinator.invoker.script = lambda _: said(200, {"by": "second life"})
        await coordinator.clock.advance(TTL / 5)
        assert coordinator.worker.node == "first.2"
        assert coordinator.worker.held(saga_id) is None

        await coordinator.clock.advance(2 * TTL)
        assert (await coordinator.state(saga_id)).steps["seat"].output == {"by": "second life"}
        old.set_result(said(200, {"by": "first life"}))
        await settle_down()
        assert (await coordinator.state(saga_id)).steps["seat"].output == {"by": "second life"}
        other = await coordinator.start(seat())
        assert (await coordinator.state(other)).status == "completed"


async def test_a_message_that_another_node_put_in_is_found_at_the_next_beat() -> None:
    """Nobody has to tell the owner."""
    store = MemoryStore(shared=True)
    async with Coordinator(ScriptedInvoker(lambda _: None), store=store) as coordinator:
        saga_id = await coordinator.start(seat())
        message = Message(
            id="m", kind="command", body=b'{"command":"pause"}', by="x", at=coordinator.clock.now()
        )
        await store.deliver(saga_id, message)
        await coordinator.clock.advance(TTL / 5)
        assert (await coordinator.state(saga_id)).status == "paused"


async def test_a_saga_whose_claim_was_lost_on_the_way_is_run_all_the_same() -> None:
    """The store says that this node owns it, and the node did not know."""
    store = MemoryStore(shared=True)
    async with Coordinator(
        ScriptedInvoker(lambda _: said(200, {})), store=store, node="first"
    ) as coordinator:
        later = coordinator.clock.now() + 1000
        saga_id = await coordinator.start(seat(), start_at=later)
        assert await store.take(saga_id, "first", FORMAT) is not None
        await coordinator.clock.advance(3 * TTL)
        assert coordinator.worker.held(saga_id) is None
        assert await store.owned("first") == []
        await coordinator.clock.advance(1000)
        assert (await coordinator.state(saga_id)).status == "completed"


class SlowStore(MemoryStore):
    """A store whose beats take a time, or fail."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(shared=True)
        self._clock = clock
        self.seconds = 0.0
        self.away = False

    async def beat(self, node: str, beat: int) -> bool:
        """Beat slowly."""
        self._clock._now += self.seconds
        if self.away:
            raise StoreUnavailable("away")
        return await super().beat(node, beat)


async def test_trust_counts_from_the_start_of_a_beat() -> None:
    """A write that was slow cannot stretch it; without a beat it ends before others may bury the node."""
    clock = VirtualClock()
    store = SlowStore(clock)
    membership = Membership(store, clock, node="n", ttl=TTL)
    assert not membership.trusted()
    await membership.join()
    assert membership.trusted()
    clock._now += TTL * 0.69
    assert membership.trusted()
    clock._now += TTL * 0.02
    assert not membership.trusted()

    store.seconds = TTL * 0.71
    assert await membership.beat()
    assert not membership.trusted()
    store.seconds, store.away = 0.0, True
    with pytest.raises(StoreUnavailable):
        await membership.beat()
    assert not membership.trusted()


async def test_a_node_alone_on_its_store_is_always_trusted() -> None:
    """It has nobody to be buried by, and writes no beats."""
    store, clock = MemoryStore(), VirtualClock()
    membership = Membership(store, clock, node="n", ttl=TTL)
    await membership.join()
    clock._now += 1000 * TTL
    assert membership.trusted()
    assert (await store.nodes())[0].beat == 0


async def test_a_node_that_must_not_send_does_not_put_a_saga_down_with_an_intent_open() -> None:
    """Put down it would be looked at by nobody: it stays owned, and is found by whoever looks after this node."""
    store = MemoryStore(shared=True)
    async with Coordinator(ScriptedInvoker(lambda _: None), store=store) as coordinator:
        saga_id = await coordinator.start(seat())
        run = coordinator.worker._runs[saga_id]
        # As when the request was not sent, because the node's lease was over, while a turn was under way.
        run.in_flight, run.inbox = 0, True
        unknown = Message(id="m", kind="command", body=b'{"command":"skip","step":"seat"}', by="x", at=1.0)
        await store.deliver(saga_id, unknown)
        turn = await coordinator.worker.engine.turn(run)

        assert not turn.released
        assert await store.owned(coordinator.worker.node) == [saga_id]
        run.in_flight = 1


class SlowToTell(MemoryStore):
    """A store that takes a time to say which nodes there are."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(shared=True)
        self._clock = clock
        self.seconds = 0.0

    async def nodes(self) -> Sequence[NodeRow]:
        """Say it late."""
        self._clock._now += self.seconds
        return await super().nodes()


async def test_the_time_a_look_takes_is_not_counted_as_silence() -> None:
    """A beat was there when it was read, not when it was asked for."""
    clock = VirtualClock()
    store = SlowToTell(clock)
    membership = Membership(store, clock, node="n", ttl=TTL)
    await store.join("other")
    store.seconds = TTL + 1
    await membership.observe()
    store.seconds = 0.0
    clock._now += TTL / 10
    await membership.observe()
    assert not next(row for row in await store.nodes() if row.id == "other").dead

    clock._now += TTL
    await membership.observe()
    assert next(row for row in await store.nodes() if row.id == "other").dead


async def test_what_was_dropped_while_its_intent_was_written_is_not_sent() -> None:
    """The node may be trusted again by then, under another name; the old fence is not to be seen again."""
    inner = MemoryStore(shared=True)
    clock = VirtualClock()
    store = FaultyStore(inner, delay=1.0, sleep=clock.sleep)
    (step,) = seat()["steps"]
    steps = [{**step, "name": name} for name in ("first", "second")]
    invoker = ScriptedInvoker(lambda _: None)
    async with Coordinator(invoker, store=store, clock=clock) as coordinator:
        saga_id = await coordinator.start({**seat(), "steps": steps})
        store.plan = scripted({"append": [Fault.LATE]})
        invoker.held[f"{saga_id}:first:action"].set_result(said(200, {}))
        await settle_down()
        coordinator.worker.move("node-1.2")
        await clock.advance(2.0)

        assert invoker.calls() == ["first:action"]
        assert coordinator.worker.slots.free == Limits().calls


async def test_a_saga_that_comes_back_unnoticed_takes_the_place_of_what_was_known_of_it() -> None:
    """What is still under way of the old lease is given up."""
    store = MemoryStore(shared=True)
    async with Coordinator(ScriptedInvoker(lambda _: None), store=store) as coordinator:
        saga_id = await coordinator.start(seat())
        old = coordinator.worker._runs[saga_id]
        new = Run(lease=old.lease, definition=old.definition, state=old.state, in_flight=1)
        coordinator.worker.begin(new)

        assert old.gone
        assert coordinator.worker._runs[saga_id] is new


async def test_what_is_pending_is_not_asked_for_while_the_node_may_not_send() -> None:
    """Whoever takes the saga over asks; this one asks again when its beats get through."""
    clock = VirtualClock()
    store = SlowStore(clock)
    answer = said(202, {}, location="/outcome")
    invoker = ScriptedInvoker(lambda _: answer)
    async with Coordinator(invoker, store=store, clock=clock) as coordinator:
        saga_id = await coordinator.start(seat())
        await clock.advance(25)
        asked = len(invoker.polled)
        assert asked > 0
        store.away = True
        await clock.advance(TTL)
        asked = len(invoker.polled)
        await clock.advance(30)
        assert len(invoker.polled) == asked
        assert (await coordinator.state(saga_id)).status == "running"
        store.away = False
        await clock.advance(30)
        assert len(invoker.polled) > asked
