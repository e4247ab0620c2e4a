"""Folding: what a message from outside becomes in the journal.

Whoever receives a message puts it into the saga's inbox; only the saga's owner folds it. What a message means is a
pure function of the state it is folded into, so any node can tell its verdict from the journal and the inbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

from pydantic_core import from_json, to_json

from saga.core import entries as e
from saga.core.case import Case, case, executor
from saga.core.commands import Asked, judge
from saga.core.conclusions import conclusion, step_output, success
from saga.core.entries import Entry
from saga.core.journal import evolve
from saga.core.outcomes import Refused, Succeeded, callback_outcome
from saga.core.settlement import settle
from saga.core.state import InvocationState, SagaState, StepState, step_name
from saga.core.statuses import Status, StepStatus, UndoStatus
from saga.language.fields import Phase
from saga.language.model import Call, SagaDefinition
from saga.ports.stored import Message

#: Signals of one name that may wait.
SIGNAL_LIMIT = 100

#: What the sender of a callback is told: taken, a different one stands, the saga went another way, not ours.
Told: TypeAlias = Literal["taken", "conflict", "gone", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """The outcome of a pending invocation, as its participant reports it."""

    step: str
    phase: Phase
    outcome: Literal["succeeded", "refused"]
    output: Any = None
    error: str | None = None

    @property
    def fingerprint(self) -> str:
        """Return a hash of what it says, to tell the same again from a different one."""
        said = to_json([self.outcome, self.output])
        return blake2b(said, digest_size=12).hexdigest()

    @property
    def about(self) -> str:
        """Return the invocation it is about, ``<step>:<phase>``."""
        return f"{self.step}:{self.phase}"


def fold(definition: SagaDefinition, state: SagaState, message: Message, now: float) -> tuple[Entry, ...]:
    """Return the entries a message becomes in that state; none when it changes nothing and needs no verdict."""
    body = from_json(message.body)
    if message.kind == "command":
        return (judge(definition, state, Asked(message=message.id, at=now, by=message.by, **body)),)
    if message.kind == "callback":
        return hear(definition, state, Callback(**body), now, message=message.id)[1]
    if message.kind == "signal":
        return _signal(definition, state, message, body, now)
    if message.kind == "child":
        return _child(definition, state, body, now)
    if message.kind == "task":
        return _task(definition, state, body, now)
    return ()


def fold_all(
    definition: SagaDefinition, state: SagaState, messages: tuple[Message, ...], now: float
) -> tuple[SagaState, tuple[Entry, ...]]:
    """Fold several messages in order; return the state after them and the entries they became."""
    found: list[Entry] = []
    for message in messages:
        for entry in fold(definition, state, message, now):
            state = evolve(state, entry)
            found.append(entry)
    return state, tuple(found)


# callbacks


def hear(
    definition: SagaDefinition,
    state: SagaState,
    callback: Callback,
    now: float,
    *,
    message: str | None = None,
) -> tuple[Told, tuple[Entry, ...]]:
    """Return what the sender of a callback is told, and the entries the callback becomes.

    The first outcome that settles the invocation stands. A refusal that only failed an attempt settles nothing:
    once a later attempt is open or due, the next outcome is taken as a first one.
    """
    unit = state.step(callback.step)
    invocation = unit.invocation(callback.phase)
    if invocation.attempts == 0:
        return "unknown", ()
    call = executor(definition.step(step_name(callback.step)), callback.phase)
    if not isinstance(call, Call):
        return "unknown", ()
    before = _said_before(state, unit, callback, now)
    if before is not None:
        return before, _noted(callback, now, message) if before == "gone" else ()
    outcome = callback_outcome(call, callback.phase, callback.outcome, callback.output, callback.error)
    # What is parked has no outcome: a late success settles it after all; a refusal changes nothing.
    if state.ended or (_parked(unit, callback.phase) and isinstance(outcome, Refused)):
        return "gone", _noted(callback, now, message)
    return "taken", settle(
        definition, state, callback.step, callback.phase, outcome, now, callback=callback.fingerprint
    )


def _noted(callback: Callback, now: float, message: str | None) -> tuple[Entry, ...]:
    return (
        e.LateAnswer(
            at=now, step=callback.step, phase=callback.phase, outcome=callback.outcome,
            detail="a callback that came too late", message=message,
        ),
    )  # fmt: skip


def _parked(unit: StepState, phase: Phase) -> bool:
    return unit.parked if phase == "action" else unit.undo_status is UndoStatus.FAILED


def _said_before(state: SagaState, unit: StepState, callback: Callback, now: float) -> Told | None:
    """Return what is told when the invocation has its outcome already, None when it has not."""
    invocation = unit.invocation(callback.phase)
    if invocation.callback == callback.fingerprint and not _later_attempt(invocation, now):
        return "taken"
    stands = _standing(state, unit, callback.phase)
    if stands == "gone":
        return "gone"
    if stands is not None:
        return "taken" if invocation.callback is None and callback.outcome == stands else "conflict"
    return "conflict" if invocation.callback is not None and not _later_attempt(invocation, now) else None


def _standing(
    state: SagaState, unit: StepState, phase: Phase
) -> Literal["succeeded", "refused", "gone"] | None:
    """Return the outcome that stands for a settled invocation, None for one that is not settled."""
    if phase == "compensation":
        if unit.undo_status is UndoStatus.UNDONE:
            return "succeeded"
        return "gone" if unit.undo_status in (UndoStatus.SKIPPED, UndoStatus.RESOLVED) else None
    if unit.status is StepStatus.SUCCEEDED:
        # It stands although the step may be parked for the size of its output.
        return "succeeded"
    if not unit.settled or (unit.parked and state.direction == "forward"):
        return None
    return "refused" if unit.status is StepStatus.REFUSED and not _given_up(unit) else "gone"


def _given_up(unit: StepState) -> bool:
    """Return whether no participant spoke the refusal: the coordinator stopped asking."""
    return unit.failure is not None and unit.failure.kind != "refused"


def _later_attempt(invocation: InvocationState, now: float) -> bool:
    return invocation.open is not None or (invocation.next_at is not None and invocation.next_at <= now)


# signals, children, workers


def _signal(
    definition: SagaDefinition, state: SagaState, message: Message, body: dict[str, Any], now: float
) -> tuple[Entry, ...]:
    known = any(step.signal is not None and step.signal.name == body["name"] for step in definition.steps)
    if state.ended or not known or len(state.signals.get(body["name"], ())) >= SIGNAL_LIMIT:
        return ()
    payload = body.get("payload")
    size = len(to_json(payload))
    return (
        e.SignalReceived(
            at=now, name=body["name"], message=message.id, payload=payload, by=message.by, size=size
        ),
    )


def _child(
    definition: SagaDefinition, state: SagaState, body: dict[str, Any], now: float
) -> tuple[Entry, ...]:
    """Fold that a child saga has ended: ``{step, child, status, output}``."""
    unit = state.step(body["step"])
    if state.ended:
        return ()
    if _stands_for(unit.undo):
        found = _child_undone(unit, body["status"], now)
        return (*_began(unit, "compensation", body, now), *found) if found else ()
    if not _stands_for(unit.action) or unit.settled:
        return ()
    it = case(definition, state, unit.name, "action", now)
    return (*_began(unit, "action", body, now), *_child_ended(it, body, now))


def _stands_for(invocation: InvocationState) -> bool:
    """Return whether a child saga stands for the invocation, or is just being made."""
    return invocation.child is not None or (invocation.open is not None and invocation.open.via == "child")


def _began(unit: StepState, phase: Phase, body: dict[str, Any], now: float) -> tuple[Entry, ...]:
    """Return that the child was made, when its end is heard of before that is recorded."""
    invocation = unit.invocation(phase)
    if invocation.open is None:
        return ()
    attempt = invocation.attempts
    return (e.ChildStarted(at=now, step=unit.name, phase=phase, attempt=attempt, child=body["child"]),)


def _child_ended(it: Case, body: dict[str, Any], now: float) -> tuple[Entry, ...]:
    if body["status"] == "completed":
        output, missing = step_output(it, {"status": None, "headers": {}, "body": body.get("output")})
        return success(it, output, missing, now)
    if body["status"] == "compensated":
        return (conclusion(it, now, "child", "the child saga was compensated", doubt=False),)
    detail = "the child saga was abandoned"
    return (e.StepParked(at=now, step=it.unit, status="uncertain", cause="child", detail=detail),)


def _child_undone(unit: StepState, status: str, now: float) -> tuple[Entry, ...]:
    if unit.undo_status not in (UndoStatus.INVOKING, UndoStatus.WAITING):
        return ()
    if status == "compensated":
        return (e.CompensationUndone(at=now, step=unit.name),)
    if status == "abandoned":
        detail = "the child saga was abandoned and cannot be undone"
        return (e.CompensationFailed(at=now, step=unit.name, cause="child", detail=detail),)
    return ()


def _task(
    definition: SagaDefinition, state: SagaState, body: dict[str, Any], now: float
) -> tuple[Entry, ...]:
    """Fold that a worker took, extended, completed or refused a task: ``{step, phase, attempt, what, …}``."""
    step, phase, attempt = body["step"], body["phase"], body["attempt"]
    invocation = state.step(step).invocation(phase)
    named: dict[str, Any] = {"at": now, "step": step, "phase": phase, "attempt": attempt}
    offered = invocation.open if not state.ended and invocation.attempts == attempt else None
    if body["what"] == "take":
        # Only one worker has it, and while the saga is paused or parked nothing is given out.
        goes_on = state.status in (Status.RUNNING, Status.COMPENSATING)
        free = goes_on and offered is not None and offered.lease_until is None
        return (e.TaskTaken(worker=body["worker"], until=body["until"], **named),) if free else ()
    if offered is None or offered.lease_until is None or offered.lease_until <= now:
        said = body["what"]
        return (e.LateAnswer(at=now, step=step, phase=phase, outcome=said, detail="after the lease ran out"),)
    if body["what"] == "extend":
        return (e.TaskExtended(until=body["until"], **named),)
    outcome: Succeeded | Refused
    if body["what"] == "complete":
        outcome = Succeeded(body=body.get("output"), status=None)
    else:
        outcome = Refused(detail=str(body.get("error", "refused by the worker")), declared=False, status=None)
    return settle(definition, state, step, phase, outcome, now, attempt=attempt)
