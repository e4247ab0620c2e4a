"""What can go wrong at any moment of a world: every fault as a function that makes it happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any, TypeAlias

from saga.core.outcomes import Deferred, NotExecuted, Pending, Refused, Uncertain
from saga.core.state import InvocationState, StepState
from saga.core.statuses import Status
from tests.driver import Ghost, Wire, World

Fault: TypeAlias = Callable[[World], Any]

_NO = Refused(detail="answered 400 Bad Request", declared=False, status=400)
_VERDICT = Refused(detail="answered 402, which on_status takes as refused", declared=True, status=402)
_DOUBT = Uncertain(detail="answered 500", status=500)


def faults(world: World) -> Iterator[tuple[str, Fault]]:
    """Yield every fault that can befall the world now, by name."""
    if world.state.ended or world.state.status is Status.PARKED:
        # Only a request that is still on the wire can go wrong, and it changes nothing any more.
        return
    if world.wires:
        yield from of_request(world, world.wires[0])
        yield from of_coordinator()
    else:
        if promises := world.promises():
            yield from of_promise(world, *promises[0])
        yield "taken over", lambda world: world.take_over()
    yield "cancelled", lambda world: world.command("cancel")
    if world.state.status is not Status.PAUSED:
        yield "paused", lambda world: world.command("pause")
    if world.state.deadline is not None and world.now < world.state.deadline:
        yield "deadline passes", lambda world: world.advance((world.state.deadline or 0.0) + 1)


def of_request(world: World, wire: Wire) -> Iterator[tuple[str, Fault]]:
    """Yield every answer to a request but the one it should have."""
    yield "refused", lambda world: world.answer(wire, _NO)
    if wire.phase == "compensation" or wire.unit not in world.ledger.effects:
        yield "declared refused", lambda world: _verdict(world, wire)
    yield "5xx, done", lambda world: world.answer(wire, _DOUBT, effect=True)
    yield "5xx, not done", lambda world: world.answer(wire, _DOUBT)
    yield "5xx, done far too late", lambda world: _limbo(world, wire)
    yield "not executed", lambda world: world.answer(wire, NotExecuted(detail="connection refused"))
    yield "202", lambda world: world.answer(wire, Pending())
    yield "425", lambda world: world.answer(wire, Deferred())
    yield (
        "called back before it is answered",
        lambda world: world.callback(wire.unit, wire.phase, "succeeded", effect=True),
    )
    yield "called back with a no before it is answered", lambda world: _early_no(world, wire)


def _verdict(world: World, wire: Wire) -> None:
    if wire.phase == "action":
        world.ledger.refuse(wire.unit)
    world.answer(wire, _VERDICT)


def _early_no(world: World, wire: Wire) -> None:
    """Say no by callback, and then the 202 it belongs to."""
    world.callback(wire.unit, wire.phase, "refused")
    world.answer(wire, Pending())


def _limbo(world: World, wire: Wire) -> None:
    world.ghosts.append(Ghost(inf, wire.unit, wire.phase, guarded=True))
    world.answer(wire, _DOUBT)


def of_promise(world: World, unit: str, phase: Any) -> Iterator[tuple[str, Fault]]:
    """Yield what may become of an outcome that was promised; nobody denies what took effect."""
    if phase == "compensation" or unit not in world.ledger.effects:
        yield "called back with a no", lambda world: world.callback(unit, phase, "refused")
    yield "never called back, done", lambda world: _silence(world, unit, phase, effect=True)
    yield "never called back, not done", lambda world: _silence(world, unit, phase, effect=False)


def _silence(world: World, unit: str, phase: Any, *, effect: bool) -> None:
    pending = world.state.step(unit).invocation(phase).pending
    if effect:
        world.ledger.take(unit, phase)
    world.advance(world.now if pending is None else pending.until)


def of_coordinator() -> Iterator[tuple[str, Fault]]:
    """Yield how a coordinator may die, and what becomes of its requests."""
    yield "coordinator lost, requests arrive", lambda world: _lose(world, "now")
    yield "coordinator lost, requests too", lambda world: _lose(world, "never")
    yield "coordinator lost, requests arrive late", lambda world: _lose(world, "late")


def _lose(world: World, arrival: str) -> None:
    for wire in world.wires:
        if wire.via != "http":
            continue
        if arrival == "now":
            world.ledger.take(wire.unit, wire.phase)
        elif arrival == "late":
            # Just within the time its attempt had: nobody may have relied on its being over.
            world.ghosts.append(Ghost(wire.until - 0.001, wire.unit, wire.phase, guarded=False))
    world.take_over()


# --------------------------------------------------------------------------- the same future


def future(world: World) -> tuple[Any, ...]:
    """Return what the future of a world depends on: two worlds that agree in it go on alike.

    Times count by their distance from now, to a tenth of a second, for jitter differs between equal futures.
    """
    state, now = world.state, world.now
    return (
        state.status,
        state.direction,
        _away(state.deadline, now),
        tuple(_unit(unit, now) for unit in sorted(state.steps.values(), key=lambda unit: unit.name)),
        tuple((wire.unit, wire.phase) for wire in world.wires),
        tuple((_away(ghost.at, now), *ghost[1:]) for ghost in sorted(world.ghosts)),
        world.ledger.effects,
        world.ledger.undone,
        world.ledger.refused,
    )


def _unit(unit: StepState, now: float) -> tuple[Any, ...]:
    return (
        unit.name, unit.status, unit.undo_status, unit.parked, unit.tolerated, _away(unit.until, now),
        _invocation(unit.action, now), _invocation(unit.undo, now),
    )  # fmt: skip


def _invocation(invocation: InvocationState, now: float) -> tuple[Any, ...] | None:
    if invocation.attempts == 0 and invocation.next_at is None:
        return None
    return (
        invocation.open is not None,
        None if invocation.pending is None else _away(invocation.pending.until, now),
        invocation.doubt,
        invocation.tries,
        invocation.refusals,
        invocation.callback,
        *(
            _away(at, now)
            for at in (
                invocation.next_at, invocation.deferred_until, invocation.quiet_at, invocation.budget_at,
            )
        ),
    )  # fmt: skip


def _away(at: float | None, now: float) -> float | None:
    return None if at is None else round(at - now, 1)
