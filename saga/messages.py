"""Folding: what a message from outside becomes in the journal.

Whoever receives a message puts it into the saga's inbox; only the saga's owner folds it. What a message means is a
pure function of the state it is folded into, so any node can tell its verdict from the journal and the inbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

from pydantic_core import from_json, to_json

from saga import entries as e
from saga.commands import Asked, judge
from saga.definition import SagaDefinition
from saga.entries import Entry
from saga.journal import evolve
from saga.outcomes import Refused, Succeeded, callback_outcome
from saga.ports import Message, Phase
from saga.requests import call_of
from saga.settlement import case, conclusion, settle, success
from saga.state import InvocationState, SagaState, StepState, StepStatus, UndoStatus

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


# --------------------------------------------------------------------------- callbacks


def hear(
    definition: SagaDefinition, state: SagaState, callback: Callback, now: float, *, message: str | None = None
) -> tuple[Told, tuple[Entry, ...]]:
    """Return what the sender of a callback is told, and the entries the callback becomes.

    The first outcome that settles the invocation stands. A refusal that only failed an attempt settles nothing:
    once a later attempt is open or due, the next outcome is taken as a first one.
    """
    unit = state.step(callback.step)
    invocation = unit.invocation(callback.phase)
    if invocation.attempts == 0:
        return "unknown", ()
    before = _said_before(unit, callback, now)
    if before is not None:
        return before, _noted(callback, now, message) if before == "gone" else ()
    if state.ended:
        return "gone", _noted(callback, now, message)
    call = call_of(definition, callback.step, callback.phase)
    outcome = callback_outcome(call, callback.phase, callback.outcome, callback.output, callback.error)
    if _parked(unit, callback.phase):
        return _heard_parked(definition, state, callback, outcome, now, message)
    found = settle(
        definition, state, callback.step, callback.phase, outcome, now, callback=callback.fingerprint
    )
    return "taken", found


def _noted(callback: Callback, now: float, message: str | None) -> tuple[Entry, ...]:
    return (
        e.LateAnswer(
            at=now, step=callback.step, phase=callback.phase, outcome=callback.outcome,
            detail="a callback that came too late", message=message,
        ),
    )  # fmt: skip


def _parked(unit: StepState, phase: Phase) -> bool:
    return unit.parked if phase == "action" else unit.undo_status is UndoStatus.FAILED


def _said_before(unit: StepState, callback: Callback, now: float) -> Told | None:
    """Return what is told when the invocation has its outcome already, None when it has not."""
    invocation = unit.invocation(callback.phase)
    stands = _standing(unit, callback.phase)
    if stands == "gone":
        return "gone"
    if stands is not None:
        same = invocation.callback == callback.fingerprint if invocation.callback else callback.outcome == stands
        return "taken" if same else "conflict"
    if invocation.callback is not None and not _later_attempt(invocation, now):
        return "taken" if invocation.callback == callback.fingerprint else "conflict"
    return None


def _standing(unit: StepState, phase: Phase) -> Literal["succeeded", "refused", "gone"] | None:
    """Return the outcome that stands for a settled invocation, None for one that is not settled."""
    if phase == "compensation":
        if unit.undo_status is UndoStatus.UNDONE:
            return "succeeded"
        return "gone" if unit.undo_status in (UndoStatus.SKIPPED, UndoStatus.RESOLVED) else None
    if unit.parked or not unit.settled:
        return None
    if unit.status is StepStatus.SUCCEEDED:
        return "succeeded"
    return "refused" if unit.status is StepStatus.REFUSED and not _given_up(unit) else "gone"


def _given_up(unit: StepState) -> bool:
    """A refusal that no participant spoke: the coordinator stopped asking."""
    return unit.failure is not None and unit.failure.kind != "refused"


def _later_attempt(invocation: InvocationState, now: float) -> bool:
    return invocation.open is not None or (invocation.next_at is not None and invocation.next_at <= now)


def _heard_parked(
    definition: SagaDefinition,
    state: SagaState,
    callback: Callback,
    outcome: Succeeded | Refused,
    now: float,
    message: str | None,
) -> tuple[Told, tuple[Entry, ...]]:
    """A parked invocation has no outcome: a late success settles it after all; a refusal changes nothing."""
    if isinstance(outcome, Succeeded):
        found = settle(
            definition, state, callback.step, callback.phase, outcome, now, callback=callback.fingerprint
        )
        return "taken", found
    return "gone", _noted(callback, now, message)


# --------------------------------------------------------------------------- signals, children, workers


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


def _child(definition: SagaDefinition, state: SagaState, body: dict[str, Any], now: float) -> tuple[Entry, ...]:
    """A child saga has ended: ``{step, child, status, output}``."""
    unit = state.step(body["step"])
    if state.ended or unit.status not in (StepStatus.WAITING, StepStatus.UNCERTAIN, StepStatus.SUCCEEDED):
        return ()
    if unit.undo_status is UndoStatus.WAITING and unit.undo.child is not None:
        return _child_undone(unit, body["status"], now)
    if unit.status is not StepStatus.WAITING or unit.action.child is None:
        return ()
    it = case(definition, state, unit.name, "action", now)
    if body["status"] == "completed":
        return success(it, body.get("output"), (), now)
    if body["status"] == "compensated":
        return (conclusion(it, now, "child", "the child saga was compensated", doubt=False),)
    detail = "the child saga was abandoned"
    return (e.StepParked(at=now, step=unit.name, status="uncertain", cause="child", detail=detail),)


def _child_undone(unit: StepState, status: str, now: float) -> tuple[Entry, ...]:
    if status == "compensated":
        return (e.CompensationUndone(at=now, step=unit.name),)
    if status == "abandoned":
        detail = "the child saga was abandoned and cannot be undone"
        return (e.CompensationFailed(at=now, step=unit.name, cause="child", detail=detail),)
    return ()


def _task(definition: SagaDefinition, state: SagaState, body: dict[str, Any], now: float) -> tuple[Entry, ...]:
    """A worker took, extended, completed or refused a task: ``{step, phase, attempt, what, …}``."""
    step, phase, attempt = body["step"], body["phase"], body["attempt"]
    invocation = state.step(step).invocation(phase)
    if state.ended or invocation.open is None or invocation.attempts != attempt:
        said = body["what"]
        return (e.LateAnswer(at=now, step=step, phase=phase, outcome=said, detail="after the lease ran out"),)
    named: dict[str, Any] = {"at": now, "step": step, "phase": phase, "attempt": attempt}
    if body["what"] == "take":
        return (e.TaskTaken(worker=body["worker"], until=body["until"], **named),)
    if body["what"] == "extend":
        return (e.TaskExtended(until=body["until"], **named),)
    outcome: Succeeded | Refused
    if body["what"] == "complete":
        outcome = Succeeded(body=body.get("output"), status=None)
    else:
        outcome = Refused(detail=str(body.get("error", "refused by the worker")), declared=False, status=None)
    return settle(definition, state, step, phase, outcome, now, attempt=attempt)
