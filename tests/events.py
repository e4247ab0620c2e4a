"""Everything that may happen to a world next: what a generated world draws from.

Participants and people are truthful here: they say that something took effect only when it did. They may be slow,
say it twice, say nothing, or say it when nobody listens any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from saga.core import entries as e
from saga.core.case import executor
from saga.core.outcomes import NotExecuted, Pending, Refused, Succeeded, Uncertain
from saga.core.state import SagaState, StepState, step_name
from saga.core.statuses import Status, StepStatus, UndoStatus
from saga.language.model import Call
from tests.driver import Wire, World
from tests.faults import of_coordinator, of_promise, of_request

Event: TypeAlias = tuple[str, Callable[[World], Any]]


def events(world: World) -> list[Event]:
    """Return what may happen now; the first is what happens when all goes well."""
    found = [("goes on", carry_on)]
    for wire in world.wires:
        found += _of_wire(world, wire)
    for unit, phase in world.promises():
        found += of_promise(world, unit, phase)
        found.append(("polled", lambda world, unit=unit, phase=phase: _polled(world, unit, phase)))
    for unit in world.state.steps.values():
        found += _of_unit(world, unit)
    return found + list(_of_world(world))


def _of_wire(world: World, wire: Wire) -> Iterator[Event]:
    if wire.via == "http":
        yield "succeeds", lambda world: world.succeed(wire)
        yield from of_request(world, wire)
        yield "withdrawn", lambda world: _withdraw(world, wire)
    elif wire.via == "child":
        yield "child begins", lambda world: world.begin_child(wire)
        yield "child cannot be had", lambda world: _no_child(world, wire)
        yield "child ends before it is said to begin", lambda world: _hasty_child(world, wire)
    else:
        yield from _of_task(wire)


def _of_task(wire: Wire) -> Iterator[Event]:
    for what in ("take", "take", "extend"):
        yield f"task: {what}", lambda world, what=what: task(world, wire, what)
    yield "task done", lambda world: finish_task(world, wire, done=True)
    yield "task refused", lambda world: finish_task(world, wire, done=False)


def task(world: World, wire: Wire, what: str, **members: Any) -> tuple[e.Entry, ...]:
    """Say something about a task."""
    named = {"step": wire.unit, "phase": wire.phase, "attempt": wire.attempt}
    return world.message("task", named | {"what": what, "worker": "w", "until": world.now + 5.0} | members)


def finish_task(world: World, wire: Wire, *, done: bool) -> None:
    """Do a task or refuse it, if a worker has it; it is not on offer after that."""
    done = done and not world.keeps_to_its_no(wire.unit, wire.phase)
    held = world.state.step(wire.unit).invocation(wire.phase)
    leased = held.attempts == wire.attempt and held.open is not None and held.open.lease_until is not None
    if done and leased:
        world.ledger.take(wire.unit, wire.phase)
    said = done or (wire.phase == "action" and wire.unit in world.ledger.effects)
    if leased:
        world.wires.remove(wire)
    task(world, wire, "complete" if said else "refuse", output={"of": wire.unit}, error="no")


def _no_child(world: World, wire: Wire) -> None:
    """Find that the id is another saga's, or that the child was abandoned and cannot be undone."""
    world.answer(wire, Refused(detail="not our child", declared=True, status=None, cause="child"))


def _hasty_child(world: World, wire: Wire) -> None:
    world.end_child(wire.unit, "completed" if wire.phase == "action" else "compensated")
    world.begin_child(wire)


def _polled(world: World, unit: str, phase: Any) -> None:
    if world.keeps_to_its_no(unit, phase):
        world.poll(unit, phase, Refused(detail="answered 400", declared=False, status=400))
        return
    world.ledger.take(unit, phase)
    world.poll(unit, phase, Succeeded(body={"of": unit}, status=200))


def _of_unit(world: World, unit: StepState) -> Iterator[Event]:
    step = world.definition.step(step_name(unit.name))
    if step.kind == "signal" and unit.status is StepStatus.WAITING:
        yield "signal", lambda world: world.signal("approval", {})
        yield "signal says no", lambda world: world.signal("approval", {"no": True})
    if unit.action.child is not None:
        yield from _of_child(unit)
    called = step.kind == "action" and unit.action.attempts > 0
    if called and unit.name in world.ledger.effects:
        yield "says yes again", lambda world: world.callback(unit.name, "action", "succeeded")
    if called and isinstance(executor(step, "compensation"), Call) and unit.undo.attempts > 0:
        yield "says it could not undo", lambda world: world.callback(unit.name, "compensation", "refused")
    if unit.parked or unit.undo_status is UndoStatus.FAILED:
        yield "resolved", lambda world: resolve(world, unit)
        yield "skipped", lambda world: world.command("skip", unit.name)


def _of_child(unit: StepState) -> Iterator[Event]:
    if unit.status is StepStatus.WAITING:
        for status in ("completed", "compensated", "abandoned"):
            yield f"child {status}", lambda world, status=status: world.end_child(unit.name, status)
    if unit.undo.child is not None and unit.undo_status is UndoStatus.WAITING:
        for status in ("compensated", "abandoned"):
            yield f"child {status}", lambda world, status=status: world.end_child(unit.name, status)


def resolve(world: World, unit: StepState) -> None:
    """Find out what happened, or undo it by hand, and say so."""
    if unit.undo_status is UndoStatus.FAILED:
        world.ledger.take(unit.name, "compensation")
        world.command("resolve", unit.name, "undone")
    elif unit.name in world.ledger.effects:
        world.command("resolve", unit.name, "succeeded")
    else:
        world.ledger.refuse(unit.name)
        world.command("resolve", unit.name, "refused")


def _of_world(world: World) -> Iterator[Event]:
    yield "signal", lambda world: world.signal("approval")
    for command in ("pause", "resume", "cancel", "retry"):
        yield command, lambda world, command=command: world.command(command)
    for step in world.definition.steps:
        yield f"skip {step.name}", lambda world, step=step: world.command("skip", step.name)
    # Rarely: what is ended has not much to tell.
    if world.state.status is Status.PARKED or len(world.journal) % 11 == 0:
        yield "abandoned", lambda world: world.command("abandon")
    if world.state.status in (Status.RUNNING, Status.COMPENSATING, Status.PAUSED):
        yield "the coordinator cannot decide", _fail
    if world.state.status is Status.COMPLETED and world.definition.pivot is None:
        yield "reopened by its parent", _reopen
    yield "a moment passes", lambda world: world.advance(world.now + 0.05)
    yield "seconds pass", lambda world: world.advance(world.now + 4.0)
    yield from of_coordinator()


def _fail(world: World) -> None:
    world.apply(e.SagaParked(at=world.now, cause="internal", detail="an exception"))
    world.turn()


def _reopen(world: World) -> None:
    world.apply(e.SagaReopened(at=world.now, by="parent"))
    world.turn()


def _withdraw(world: World, wire: Wire) -> None:
    """Find no way to send it; the intent is taken back."""
    invocation = world.state.step(wire.unit).invocation(wire.phase)
    if not world.state.ended and invocation.open is not None and invocation.attempts == wire.attempt:
        world.wires.remove(wire)
        world.apply(e.Withdrawn(at=world.now, step=wire.unit, phase=wire.phase, attempt=wire.attempt))
        world.turn()


def _failed(world: World) -> bool:
    parking = world.state.parking
    return parking is not None and parking.kind == "internal"


def carry_on(world: World) -> bool:
    """Let the next thing happen as it should, by whoever it is up to; return False when nothing does."""
    calls = [wire for wire in world.wires if wire.via == "http"]
    others = [wire for wire in world.wires if wire.via != "http"]
    if calls:
        world.succeed(calls[0])
    elif world.state.status is Status.PAUSED:
        world.advance(world.now + 1000)
        world.command("resume")
    elif _failed(world):
        world.command("retry")
    elif others and world.state.ended:
        world.wires.remove(others[0])
    elif others:
        _serve(world, others[0])
    elif (unit := _awaited(world)) is not None:
        _provide(world, unit)
    else:
        return world.go_on()
    return True


def _serve(world: World, wire: Wire) -> None:
    if wire.via == "child":
        world.begin_child(wire)
        return
    current = world.state.step(wire.unit).invocation(wire.phase)
    if current.open is None or current.attempts != wire.attempt:
        world.wires.remove(wire)
    elif current.open.lease_until is None:
        task(world, wire, "take")
    else:
        finish_task(world, wire, done=True)


def _awaited(world: World) -> StepState | None:
    """Return a step that waits for a child, or for a signal."""
    if world.state.ended or world.state.status in (Status.PAUSED, Status.PARKED) or world.wires:
        return None
    for unit in world.state.steps.values():
        kind = world.definition.step(step_name(unit.name)).kind
        forward = kind in ("signal", "saga") and unit.status is StepStatus.WAITING
        if forward and (kind == "signal" or unit.action.child is not None):
            return unit
        if kind == "saga" and unit.undo_status is UndoStatus.WAITING and unit.undo.child is not None:
            return unit
    return None


def _provide(world: World, unit: StepState) -> None:
    if world.definition.step(step_name(unit.name)).kind == "signal":
        world.signal("approval", {})
    else:
        undo = unit.undo_status is UndoStatus.WAITING
        world.end_child(unit.name, "compensated" if undo else "completed")


def finish(world: World, limit: int = 600) -> None:
    """Let everybody answer in the end, and assert that the saga ends or is parked."""
    for _ in range(limit):
        if not carry_on(world):
            world.judge()
            return
    raise AssertionError(f"10: still {world.state.status} after {limit} events: {_story(world.state)}")


def _story(state: SagaState) -> str:
    return ", ".join(f"{unit.name} {unit.status}/{unit.undo_status}" for unit in state.steps.values())


__all__ = ["Event", "NotExecuted", "Pending", "Uncertain", "carry_on", "events", "finish", "task"]
