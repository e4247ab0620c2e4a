"""The engine and the worker on the memory store, with scripted participants and a clock that is moved."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import to_json

from saga.ports.invoker import Answer, Invocation, NoAnswer, NotSent
from saga.ports.stored import Message
from saga.stores.memory import MemoryStore
from saga.worker import Limits
from tests.doubles import Coordinator, ScriptedInvoker, said, settle_down


def trip(*, pivot: bool = True, **top: Any) -> dict[str, Any]:
    """Return a definition of a flight beside a hotel, then a payment, then a ticket."""
    undo = {"path": "/undo/${key}"}
    return {
        "name": "trip",
        "services": {"any": {"url": "http://127.0.0.1:1"}},
        "steps": [
            {
                "name": "flight",
                "action": {"service": "any", "path": "/flight", "body": {"id": "${key}"}},
                "compensation": undo,
            },
            {
                "name": "hotel",
                "after": [],
                "action": {"service": "any", "path": "/hotel"},
                "compensation": undo,
            },
            {
                "name": "pay",
                "after": ["flight", "hotel"],
                "pivot": pivot,
                "action": {"service": "any", "path": "/pay"},
                "compensation": undo,
            },
            {"name": "ticket", "action": {"service": "any", "path": "/ticket"}}
            | ({} if pivot else {"compensation": undo}),
        ],
    } | top


def answering(**answers: Answer | None) -> ScriptedInvoker:
    """Return an invoker that answers these steps so (by ``step`` or ``step_compensation``), and 200 otherwise."""

    def script(invocation: Invocation) -> Answer | None:
        name = invocation.step if invocation.phase == "action" else f"{invocation.step}_compensation"
        return answers.get(name, said(200, {"of": invocation.step}))

    return ScriptedInvoker(script)


async def test_a_saga_whose_steps_all_succeed_completes_with_one_append_a_step() -> None:
    """A saga of three steps in a row costs four durable writes."""
    document = trip()
    document["steps"] = document["steps"][:3]
    document["steps"][1].pop("after")
    async with Coordinator(answering()) as coordinator:
        saga_id = await coordinator.start(document)

        assert (await coordinator.state(saga_id)).status == "completed"
        counters = coordinator.store.counters
        assert (counters.starts, counters.appends) == (1, 3)
        assert coordinator.worker.running == 0


async def test_a_refused_payment_is_undone_in_reverse() -> None:
    """Both branches are undone after the payment is refused; the payment is not."""
    async with Coordinator(answering(pay=said(402))) as coordinator:
        saga_id = await coordinator.start(trip())

        assert (await coordinator.state(saga_id)).status == "compensated"
        calls = coordinator.invoker.calls()
        assert calls[:3] == ["flight:action", "hotel:action", "pay:action"]
        assert sorted(calls[3:]) == ["flight:compensation", "hotel:compensation"]


async def test_a_retry_is_sent_when_it_is_due_with_the_same_key_and_bytes() -> None:
    """An attempt that was not executed is made again under the next number."""
    invoker = answering(flight=NotSent(detail="refused"))
    async with Coordinator(invoker) as coordinator:
        saga_id = await coordinator.start(trip())
        invoker.script = answering().script
        await coordinator.clock.advance(1.0)

        assert (await coordinator.state(saga_id)).status == "completed"
        first, second = [sent for sent in invoker.sent if sent.step == "flight"]
        assert (first.attempt, second.attempt) == (1, 2)
        assert (first.key, first.method, first.url, first.body) == (
            second.key,
            second.method,
            second.url,
            second.body,
        )


async def test_a_pending_outcome_is_polled_until_it_is_there() -> None:
    """A 202 with a Location is asked for every poll interval."""
    invoker = answering(flight=said(202, None, location="/status/1"))
    async with Coordinator(invoker) as coordinator:
        saga_id = await coordinator.start(trip())
        invoker.polls = [said(202), said(200, {"id": 7})]
        await coordinator.clock.advance(25.0)

        state = await coordinator.state(saga_id)
        assert [poll.url for poll in invoker.polled] == ["http://127.0.0.1:1/status/1"] * 2
        assert state.status == "completed"
        assert state.step("flight").output == {"id": 7}


async def test_a_saga_that_waits_for_long_is_put_down_and_picked_up_when_due() -> None:
    """A waiting saga costs storage, not memory."""
    invoker = answering(flight=said(202))
    async with Coordinator(invoker) as coordinator:
        saga_id = await coordinator.start(trip())
        record = await coordinator.store.load(saga_id)

        assert record is not None
        assert (record.owner, coordinator.worker.running) == (None, 0)
        await coordinator.clock.advance(16 * 60.0)
        assert (await coordinator.state(saga_id)).status == "compensated"


async def test_what_a_dead_coordinator_left_open_is_sent_again_by_the_next() -> None:
    """The attempt of the dead node is in doubt; the next takes the next number and a higher fence."""
    store = MemoryStore()
    first = answering(flight=None)
    dead = Coordinator(first, store=store, node="dead")
    await dead.worker.start()
    saga_id = await dead.start(trip())
    for task in (*dead.worker._tasks, *dead.worker._loops):
        task.cancel()
    await settle_down()
    await store.leave("dead")
    async with Coordinator(answering(), store=store, clock=dead.clock, node="next") as coordinator:
        await coordinator.clock.advance(5.0)

        assert (await coordinator.state(saga_id)).status == "completed"
        again = next(sent for sent in coordinator.invoker.sent if sent.step == "flight")
        assert (again.attempt, again.fence) == (2, 2)
        journal = [type(entry).kind for entry in (await coordinator.post.load(saga_id)).entries]  # type: ignore[union-attr]
        assert journal[3:5] == ["attempt_uncertain", "attempt_uncertain"] or "attempt_uncertain" in journal


async def test_calls_in_flight_are_bounded_and_everyone_gets_a_turn() -> None:
    """With two places for calls, ten sagas still all complete, never more than two calls at once."""
    invoker = answering(flight=None, hotel=None)
    async with Coordinator(invoker, limits=Limits(calls=2)) as coordinator:
        ids = [await coordinator.start(trip()) for _ in range(10)]

        seen = 0
        while invoker.held:
            assert len(invoker.held) <= 2
            key, future = next(iter(invoker.held.items()))
            del invoker.held[key]
            future.set_result(said(200, {}))
            seen += 1
            await settle_down()
        assert seen == 20
        assert {(await coordinator.state(one)).status for one in ids} == {"completed"}


async def test_more_sagas_than_fit_into_memory_wait_in_the_store() -> None:
    """An accepted saga over the bound is durable and has its turn when there is room."""
    invoker = answering(flight=None)
    async with Coordinator(invoker, limits=Limits(running=2)) as coordinator:
        ids = [await coordinator.start(trip()) for _ in range(5)]
        assert coordinator.worker.running == 2
        while invoker.held:
            for key in tuple(invoker.held):
                invoker.held.pop(key).set_result(said(200, {}))
            await coordinator.clock.advance(2.0)

        assert {(await coordinator.state(one)).status for one in ids} == {"completed"}


async def command(coordinator: Coordinator, saga_id: str, name: str, **body: Any) -> Any:
    """Send a command and return the entry it became."""
    message = Message(
        id=f"{name}-{coordinator.clock.now()}", kind="command", body=to_json({"command": name} | body),
        by="test", at=coordinator.clock.now(),
    )  # fmt: skip
    await coordinator.post.deliver(saga_id, message)
    await settle_down()
    verdict = await coordinator.post.verdict(saga_id, message.id, seconds=0)
    return None if verdict is None else verdict.entry


async def test_a_cancel_waits_for_the_call_on_the_wire_and_undoes_it() -> None:
    """Cancelling while a call is open awaits it, then compensates it."""
    invoker = answering(flight=None)
    async with Coordinator(invoker) as coordinator:
        saga_id = await coordinator.start(trip())
        verdict = await command(coordinator, saga_id, "cancel", reason="changed my mind")
        assert type(verdict).kind == "saga_cancelled"
        assert "flight:compensation" not in invoker.calls()
        invoker.held.popitem()[1].set_result(said(200, {}))
        await settle_down()

        assert (await coordinator.state(saga_id)).status == "compensated"
        assert "flight:compensation" in invoker.calls()


async def test_a_paused_saga_sends_nothing_and_goes_on_when_resumed() -> None:
    """The answer of a call that was open is recorded while paused."""
    invoker = answering(flight=None, hotel=None)
    async with Coordinator(invoker) as coordinator:
        saga_id = await coordinator.start(trip())
        await command(coordinator, saga_id, "pause")
        while invoker.held:
            invoker.held.popitem()[1].set_result(said(200, {}))
        await coordinator.clock.advance(60.0)
        assert invoker.calls() == ["flight:action", "hotel:action"]
        await command(coordinator, saga_id, "resume")

        assert (await coordinator.state(saga_id)).status == "completed"


async def test_an_undo_that_is_exhausted_parks_the_saga_until_a_person_resolves_it() -> None:
    """A compensation that is refused for good waits for a person; resolved, the saga ends compensated."""
    document = trip()
    document["steps"][0]["compensation"] = {"path": "/undo/${key}", "on_status": {"418": "refused"}}
    invoker = answering(pay=said(402), flight_compensation=said(418))
    async with Coordinator(invoker) as coordinator:
        saga_id = await coordinator.start(document)
        state = await coordinator.state(saga_id)
        assert (state.status, state.parking.step) == ("parked", "flight")
        assert state.step("hotel").undo_status == "undone"
        await command(coordinator, saga_id, "resolve", step="flight", outcome="undone")

        assert (await coordinator.state(saga_id)).status == "compensated"


@pytest.mark.parametrize("answer", [NoAnswer(detail="reset"), said(503)])
async def test_doubt_about_an_action_is_undone(answer: Answer) -> None:
    """An action whose outcome stays unknown is compensated with the rest."""
    invoker = answering(hotel=answer)
    async with Coordinator(invoker) as coordinator:
        saga_id = await coordinator.start(trip())
        await coordinator.clock.advance(60.0)

        state = await coordinator.state(saga_id)
        assert state.status == "compensated"
        assert state.step("hotel").status == "uncertain"
        assert invoker.calls().count("hotel:action") == 4
        assert "hotel:compensation" in invoker.calls()


async def test_abandoning_raises_the_fence_and_records_what_comes_late() -> None:
    """After abandon nothing is sent; the answer of the open call is noted."""
    invoker = answering(flight=None)
    async with Coordinator(invoker) as coordinator:
        saga_id = await coordinator.start(trip())
        await command(coordinator, saga_id, "abandon", reason="by hand")
        invoker.held.popitem()[1].set_result(said(200, {}))
        await settle_down()

        loaded = await coordinator.post.load(saga_id)
        assert loaded is not None
        assert (loaded.state.status, loaded.record.fence, loaded.record.owner) == ("abandoned", 2, None)
        assert type(loaded.entries[-1]).kind == "late_answer"


async def test_a_saga_that_leaves_its_place_unused_passes_it_on() -> None:
    """A saga paused while it waited for a place does not keep the next one from it."""
    invoker = answering(flight=None, hotel=None)
    async with Coordinator(invoker, limits=Limits(calls=1)) as coordinator:
        ids = [await coordinator.start(trip()) for _ in range(3)]
        await command(coordinator, ids[1], "pause")
        while invoker.held:
            invoker.held.popitem()[1].set_result(said(200, {}))
            await settle_down()

        assert (await coordinator.state(ids[2])).status == "completed"
        assert (await coordinator.state(ids[1])).status == "paused"


async def test_a_message_for_a_saga_that_is_just_being_started_is_not_missed() -> None:
    """A cancel that comes between the insert and the first turn is folded at once."""
    invoker = answering(flight=None)
    async with Coordinator(invoker) as coordinator:
        insert = coordinator.store.start

        async def start_and_cancel(saga: Any) -> Any:
            answer = await insert(saga)
            message = Message(id="early", kind="command", body=b'{"command":"cancel"}', by="test", at=0.0)
            await coordinator.post.deliver(saga.id, message)
            return answer

        coordinator.store.start = start_and_cancel  # type: ignore[method-assign]
        saga_id = await coordinator.start(trip())

        assert (await coordinator.state(saga_id)).direction == "backward"


async def test_a_deadline_is_noticed_while_a_call_is_on_the_wire() -> None:
    """The saga turns at its deadline, and what is on the wire is awaited before anything is undone."""
    invoker = answering(flight=None)
    async with Coordinator(invoker) as coordinator:
        saga_id = await coordinator.start(trip(timeout="300ms"))
        await coordinator.clock.advance(0.4)
        assert (await coordinator.state(saga_id)).status == "compensating"
        assert "flight:compensation" not in invoker.calls()
        invoker.held.popitem()[1].set_result(said(200, {}))
        await settle_down()

        assert (await coordinator.state(saga_id)).status == "compensated"
