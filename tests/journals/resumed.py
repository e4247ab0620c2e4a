"""Going on from where a kept journal stopped: by the core alone, and by a whole coordinator."""

from __future__ import annotations

from pydantic_core import to_json

from saga.core import entries as e
from saga.core import views
from saga.core.encoding import read
from saga.core.journal import replay
from saga.core.messages import Callback
from saga.core.state import SagaState, StepState
from saga.core.statuses import Status, UndoStatus
from saga.core.tokens import Addressed
from saga.language.fields import Phase
from saga.ports.stored import Message, NewSaga
from saga.stores.memory import MemoryStore
from tests.doubles import Coordinator, ScriptedInvoker, VirtualClock, said, settle_down
from tests.driver import Ledger, Wire, World
from tests.events import finish, resolve
from tests.journals.kept import Kept

#: Decisions of persons until a saga has to have ended.
DECISIONS = 12
PHASES: tuple[Phase, Phase] = ("action", "compensation")


# --------------------------------------------------------------------------- by the core


def resumed(one: Kept) -> World:
    """Return the world of a saga that another coordinator has just taken over."""
    entries, state = one.entries, replay(one.entries)
    world = World(one.definition, state, state.updated_at, journal=list(entries), messages=1_000)
    world.sent = [(entry.step, entry.phase) for entry in entries if isinstance(entry, e.Invoked)]
    world.ledger = _ledger(entries, world)
    world.wires = [_task(unit, phase) for unit, phase in state.open_invocations() if _is_task(unit, phase)]
    world.take_over()
    return world


def _ledger(entries: tuple[e.Entry, ...], world: World) -> Ledger:
    """Return what took effect, as far as the journal knows; what is in doubt did not."""
    effects: set[str] = set()
    for entry in entries:
        if isinstance(entry, e.StepSucceeded):
            effects.add(entry.step)
        elif isinstance(entry, e.CompensationUndone):
            effects.discard(entry.step)
        elif isinstance(entry, e.ResolveCommanded):
            (effects.add if entry.outcome == "succeeded" else effects.discard)(entry.step)
    invoked = {unit for unit, phase in world.sent if phase == "action"}
    return Ledger(effects=frozenset(effects & invoked))


def _is_task(unit: StepState, phase: Phase) -> bool:
    attempt = unit.invocation(phase).open
    return attempt is not None and attempt.via == "worker"


def _task(unit: StepState, phase: Phase) -> Wire:
    return Wire(unit.name, phase, unit.invocation(phase).attempts, float("inf"), "worker")


def decided(world: World) -> None:
    """Let a person decide, as often as the saga is parked, and assert that it ends."""
    for _ in range(DECISIONS):
        if world.state.status is not Status.PARKED:
            break
        if isinstance(world.command("retry"), e.CommandRefused):
            for unit in tuple(world.state.steps.values()):
                if unit.parked or unit.undo_status is UndoStatus.FAILED:
                    resolve(world, unit)
        finish(world)
    if not world.state.ended:
        world.command("abandon")
        finish(world)
    assert world.state.ended, world.state.status


# --------------------------------------------------------------------------- by a coordinator


async def kept_alive(one: Kept) -> None:
    """Assert that a coordinator which finds the saga in its store brings it to an end."""
    store, before = MemoryStore(), replay(one.entries)
    name = one.definition.name
    stored, _ = await store.put_definition(name, to_json(one.document), before.started_at)
    assert (before.definition, before.version) == (stored.name, stored.version)
    await store.start(_stored(one, before))
    clock = VirtualClock(before.updated_at)
    async with Coordinator(
        ScriptedInvoker(lambda sent: said(200, {"of": sent.step})), store=store, clock=clock
    ) as it:
        for turn in range(100):
            state = await it.state("s1")
            if state.ended:
                break
            await _help(it, state, f"help-{turn}")
            await clock.advance(20.0)
    await _check(store, one)


def _stored(one: Kept, state: SagaState) -> NewSaga:
    return NewSaga(
        id="s1", start_key=None, fingerprint="", entries=one.bodies, summary=views.summary(one.definition, state),
        format=one.format, owner=None, wake_at=None if state.ended else state.updated_at,
    )  # fmt: skip


async def _help(it: Coordinator, state: SagaState, message_id: str) -> None:
    """Do what somebody else has to: call back, resume, decide."""
    if state.status is Status.PAUSED:
        await _command(it, message_id, command="resume")
    elif state.status is Status.PARKED:
        await _decide(it, state, message_id)
    for unit in state.steps.values():
        for phase in PHASES:
            if unit.invocation(phase).pending is not None:
                said_so = Callback(step=unit.name, phase=phase, outcome="succeeded", output={"of": unit.name})
                await it.post.callback(
                    Addressed(saga_id="s1", step=unit.name, phase=phase), said_so, by="callback"
                )
    await settle_down()


async def _decide(it: Coordinator, state: SagaState, message_id: str) -> None:
    """Try again what may be tried again; find out about the rest, or do it by hand."""
    failed = next((unit for unit in state.steps.values() if unit.undo_status is UndoStatus.FAILED), None)
    expired = next((unit for unit in state.steps.values() if _is_expired(unit)), None)
    if failed is not None:
        await _command(it, message_id, command="resolve", step=failed.name, outcome="undone")
    elif expired is not None:
        await _command(it, message_id, command="resolve", step=expired.name, outcome="succeeded")
    else:
        await _command(it, message_id, command="retry")


def _is_expired(unit: StepState) -> bool:
    return unit.parked and unit.failure is not None and unit.failure.kind == "key-expired"


async def _command(it: Coordinator, message_id: str, **body: str) -> None:
    message = Message(id=message_id, kind="command", body=to_json(body), by="kim", at=it.clock.now())
    assert await it.post.deliver("s1", message)


async def _check(store: MemoryStore, one: Kept) -> None:
    record = await store.load("s1")
    assert record is not None
    assert record.entries[: len(one.bodies)] == one.bodies, "what was written is rewritten"
    added = read(record.format, record.entries[len(one.bodies) :])
    state = replay((*one.entries, *added))
    assert state.ended, f"it does not end: {state.status}, {state.parking}"
    assert record.summary == views.summary(one.definition, state)
    failed = [entry for entry in added if isinstance(entry, e.SagaParked) and entry.cause == "internal"]
    assert not failed, f"it could not be decided: {failed}"
