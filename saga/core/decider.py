"""What to do next: a pure function of the definition, the state and the time.

:func:`decide` returns facts and invocations. Facts are entries that are true as they stand (a timer is over, a
branch has failed, everything is undone); an invocation is an intent together with the request it stands for.
The engine makes them durable in one append, and only then sends. Nothing is decided from anything else, so the
same journal at the same time leads to the same decision on every coordinator.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from saga.core import backward, forward
from saga.core import entries as e
from saga.core.case import Case, case, executor
from saga.core.conclusions import conclusion, refusal
from saga.core.entries import Entry, Invoked
from saga.core.entries.base import Cause, Via
from saga.core.journal import evolve
from saga.core.requests import REQUEST_LIMIT, Request, RequestTooLarge, render, scope
from saga.core.state import SagaState
from saga.core.statuses import Status
from saga.core.timers import overdue, wake_at
from saga.errors import RequestChanged
from saga.language.expressions import NothingFound, evaluate
from saga.language.model import Call, SagaDefinition, Worker

#: A step tried so often has made its saga late.
LATE_TRIES = 12

#: Bytes a journal may have; the last quarter is kept for compensation and parking.
ROOM = 8 * 1024 * 1024
ACTION_ROOM = ROOM * 3 // 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoke:
    """One attempt to be made once its intent is durable."""

    intent: Invoked
    #: What is sent; None for a worker's task and a child saga.
    request: Request | None
    #: Input of the task or the child.
    payload: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be recorded and sent now, and when to look again."""

    #: Entries, in order; ``state`` is the state after them.
    facts: tuple[Entry, ...]
    #: Each may be held back by whoever sends; its intent is then not recorded.
    invocations: tuple[Invoke, ...]
    #: When something is due by time alone, epoch seconds; None when only a message or an answer moves it.
    #: An invocation that is held back is due already and does not count.
    wake_at: float | None
    state: SagaState = field(compare=False)


def decide(definition: SagaDefinition, state: SagaState, now: float) -> Decision:
    """Return what to do next.

    Raises :class:`~saga.errors.RequestChanged` when an attempt would not repeat the one before it byte for byte.
    """
    facts: list[Entry] = []
    while True:
        found = _facts(definition, state, now)
        invocations: list[Invoke] = []
        if not found:
            invocations, found = _invocations(definition, state, now)
        if not found:
            break
        for fact in found:
            state = evolve(state, fact)
        facts += found
    return Decision(
        facts=tuple(facts),
        invocations=tuple(invocations),
        wake_at=None if state.ended else wake_at(definition, state, now),
        state=state,
    )


def _facts(definition: SagaDefinition, state: SagaState, now: float) -> list[Entry]:
    """Return what is true by now and not recorded; each call returns one layer, and an empty one at the end."""
    if state.ended:
        return []
    if not state.late and (late := _late(definition, state, now)):
        return [late]
    if state.status in (Status.PAUSED, Status.PARKED):
        return []
    if state.start_at is not None and now < state.start_at and state.direction == "forward":
        return []
    if state.direction == "forward":
        return forward.facts(definition, state, now)
    return backward.facts(definition, state, now)


def _late(definition: SagaDefinition, state: SagaState, now: float) -> Entry | None:
    for due, name in overdue(definition, state):
        if now >= due:
            return e.SagaMarkedLate(at=now, detail=f"{name} has not ended by the time it was due")
    for step in state.steps.values():
        if step.action.tries_ever >= LATE_TRIES or step.undo.tries_ever >= LATE_TRIES:
            return e.SagaMarkedLate(at=now, detail=f"{step.name} has been tried {LATE_TRIES} times")
    return None


# invocations


def _invocations(
    definition: SagaDefinition, state: SagaState, now: float
) -> tuple[list[Invoke], list[Entry]]:
    """Return the attempts that are due; or, where one cannot be made, the facts that say so instead."""
    invocations: list[Invoke] = []
    facts: list[Entry] = []
    if state.ended or state.status in (Status.PAUSED, Status.PARKED):
        return invocations, facts
    due = forward.due if state.direction == "forward" else backward.due
    for unit, phase in due(definition, state, now):
        made = _attempt(case(definition, state, unit, phase, now), now)
        if isinstance(made, Invoke):
            invocations.append(made)
        else:
            facts.append(made)
    return invocations, facts


def _attempt(it: Case, now: float) -> Invoke | Entry:
    """Return the attempt, or the fact that it cannot be made; nothing is sent then."""
    if _key_expired(it, now):
        return _expired_key(it, now)
    if it.state.size > (ACTION_ROOM if it.phase == "action" else ROOM):
        return _unmade(it, now, "size", "the journal has no room for another attempt")
    try:
        return _made(it, now)
    except NothingFound as nothing:
        return _unmade(it, now, "template", f"nothing was found for {nothing.expression}")
    except RequestTooLarge:
        return _unmade(it, now, "size", f"the request has more than {REQUEST_LIMIT} bytes")


def _unmade(it: Case, now: float, cause: Cause, detail: str) -> Entry:
    if it.phase == "compensation" or it.invocation.doubt:
        return conclusion(it, now, cause, detail, doubt=it.invocation.doubt)
    return refusal(it, now, cause, detail)


def _made(it: Case, now: float) -> Invoke:
    runs = executor(it.step, it.phase)
    if runs is None:
        return _made_for_child(it, now)
    if isinstance(runs, Worker):
        payload = _payload(it, runs.input)
        intent = _intent(it, now, timeout=runs.timeout, via="worker", digest="")
        return Invoke(intent=intent, request=None, payload=payload)
    request = render(it.definition, it.state, it.unit, it.phase)
    before = it.invocation.digest
    if before and before != request.digest:
        raise RequestChanged(f"{it.unit}:{it.phase} would not repeat the bytes of its first attempt")
    intent = _intent(it, now, timeout=runs.timeout, via="http", digest=request.digest)
    return Invoke(intent=intent, request=request)


def _made_for_child(it: Case, now: float) -> Invoke:
    """Return the start of a child saga, or that its undoing is asked for, which needs no input."""
    child = it.step.saga if it.phase == "action" else None
    payload = _payload(it, child.input) if child is not None else None
    return Invoke(intent=_intent(it, now, timeout=0.0, via="child", digest=""), request=None, payload=payload)


def _payload(it: Case, template: Any) -> Any:
    payload = evaluate(template, scope(it.definition, it.state, it.unit))
    if len(to_json(payload)) > REQUEST_LIMIT:
        raise RequestTooLarge
    return payload


def _intent(it: Case, now: float, *, timeout: float, via: Via, digest: str) -> Invoked:
    invocation = it.invocation
    again = invocation.deferred_until is not None
    return Invoked(
        at=now,
        step=it.unit,
        phase=it.phase,
        attempt=invocation.attempts + (0 if again else 1),
        timeout=timeout,
        via=via,
        # The first attempt's digest is the one that counts; repeating it would only make journals longer.
        digest="" if invocation.digest else digest,
    )


def _key_expired(it: Case, now: float) -> bool:
    """Return whether the participant may have forgotten the key of a call that is in doubt."""
    invocation = it.invocation
    if not invocation.doubt or invocation.first_at is None:
        return False
    runs = executor(it.step, it.phase)
    if not isinstance(runs, Call) or runs.service not in it.definition.services:
        return False
    lifetime = it.definition.services[runs.service].key_lifetime
    return lifetime is not None and now > invocation.first_at + lifetime


def _expired_key(it: Case, now: float) -> Entry:
    detail = "the participant may have forgotten the key; sending again could act twice"
    if it.phase == "compensation":
        return e.CompensationFailed(at=now, step=it.unit, cause="key-expired", detail=detail)
    return e.StepParked(at=now, step=it.unit, status="uncertain", cause="key-expired", detail=detail)
