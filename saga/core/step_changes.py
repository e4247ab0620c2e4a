"""How an entry about a step, or a command, changes the step: its action or its compensation.

Each function takes the step and the entry and returns the step after it, or raises
:class:`~saga.errors.IllegalEntry`.
"""

from __future__ import annotations

from typing import Any

from saga.core import entries as e
from saga.core.attempt_changes import left_on_wire, off_wire, on_wire
from saga.core.entries import Entry
from saga.core.state import Failure, InvocationState, StepState, changed
from saga.core.statuses import StepStatus
from saga.core.transitions import action_status, undo_status


def _settled(step: StepState, entry: Entry, status: StepStatus, **changes: Any) -> StepState:
    action = changed(step.action, open=None, pending=None, next_at=None, deferred_until=None)
    started = step.started_at if step.started_at is not None else entry.at
    kept: dict[str, Any] = {
        "status": status,
        "action": action,
        "until": None,
        "started_at": started,
        "ended_at": entry.at,
    }
    return changed(step, **kept | changes)


def skipped(step: StepState, entry: e.StepSkipped) -> StepState:
    """Record that its condition does not hold."""
    return changed(step, status=action_status(step, entry), ended_at=entry.at)


def expanded(step: StepState, entry: e.StepExpanded) -> StepState:
    """Record that its instances follow."""
    return changed(step, status=action_status(step, entry), count=entry.count, started_at=entry.at)


def succeeded(step: StepState, entry: e.StepSucceeded) -> StepState:
    """Record that the action took effect."""
    before = on_wire(step, "action", entry, or_not=True)
    failure = (
        Failure(step=step.name, kind="output", detail=", ".join(entry.missing)) if entry.missing else None
    )
    if entry.oversized:
        failure = Failure(step=step.name, kind="size", detail="its output is over the limit")
    done = _settled(
        step, entry, action_status(step, entry),
        output=entry.output, missing=entry.missing, oversized=entry.oversized, failure=failure, parked=False,
    )  # fmt: skip
    wire = left_on_wire(before, entry)
    return changed(done, action=changed(done.action, callback=entry.callback, wire=wire))


def refused(step: StepState, entry: e.StepRefused) -> StepState:
    """Record that the action certainly did not."""
    off_wire(step, "action", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    status = action_status(step, entry)
    return _settled(step, entry, status, tolerated=entry.tolerated, failure=failure, parked=False)


def uncertain(step: StepState, entry: e.StepUncertain) -> StepState:
    """Record that nobody knows, and nobody asks any more."""
    off_wire(step, "action", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    return _settled(step, entry, action_status(step, entry), failure=failure)


def parked(step: StepState, entry: e.StepParked) -> StepState:
    """Record that the action waits for a person."""
    off_wire(step, "action", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    status = action_status(step, entry, StepStatus(entry.status))
    return _settled(step, entry, status, parked=True, failure=failure)


def undone(step: StepState, entry: e.CompensationUndone) -> StepState:
    """Record that amends are made."""
    before = on_wire(step, "compensation", entry, or_not=True)
    undo = changed(
        before, open=None, pending=None, next_at=None, deferred_until=None, callback=entry.callback
    )
    started = step.undo_started_at if step.undo_started_at is not None else entry.at
    return changed(
        step,
        undo_status=undo_status(step, entry),
        undo=undo,
        undo_started_at=started,
        undo_ended_at=entry.at,
        undo_failure=None,
    )


def undo_failed(step: StepState, entry: e.CompensationFailed) -> StepState:
    """Record that the compensation waits for a person."""
    before = off_wire(step, "compensation", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    undo = changed(before, pending=None, next_at=None, deferred_until=None)
    return changed(step, undo_status=undo_status(step, entry), undo=undo, undo_failure=failure)


def until(step: StepState, entry: e.WaitBegan | e.SignalAwaited) -> StepState:
    """Record that it waits for a time or a signal."""
    return changed(step, status=action_status(step, entry), until=entry.until, started_at=entry.at)


# commands on steps


def _budget(invocation: InvocationState, at: float) -> InvocationState:
    return changed(invocation, tries=0, refusals=0, budget_at=None, next_at=at)


def retry_action(step: StepState, entry: e.RetryCommanded) -> StepState:
    """Record that a person has the action tried again."""
    before = off_wire(step, "action", entry)
    # What was never sent is evaluated anew; what was sent keeps its key, its bytes and its doubt.
    wanted = StepStatus.WAITING if before.attempts else StepStatus.PENDING
    status = action_status(step, entry, wanted)
    action = _budget(before, entry.at) if before.attempts else before
    return changed(step, status=status, action=action, parked=False, ended_at=None, failure=None)


def retry_undo(step: StepState, entry: e.RetryCommanded) -> StepState:
    """Record that a person has the compensation tried again."""
    before = off_wire(step, "compensation", entry)
    return changed(
        step, undo_status=undo_status(step, entry), undo=_budget(before, entry.at), undo_failure=None
    )


def skip(step: StepState, entry: e.SkipCommanded) -> StepState:
    """Record that a person leaves it."""
    off_wire(step, entry.phase, entry)
    if entry.phase == "compensation":
        return changed(step, undo_status=undo_status(step, entry), undo_ended_at=entry.at)
    return _settled(step, entry, action_status(step, entry), parked=False)


def resolve(step: StepState, entry: e.ResolveCommanded) -> StepState:
    """Record that a person says what happened."""
    off_wire(step, entry.phase, entry)
    if entry.phase == "compensation":
        return changed(step, undo_status=undo_status(step, entry), undo_ended_at=entry.at, undo_failure=None)
    status = action_status(step, entry, StepStatus(entry.outcome))
    failure = None
    if status is StepStatus.REFUSED:
        failure = Failure(step=step.name, kind="refused", detail=entry.reason or "resolved by a person")
    done = _settled(
        step, entry, status,
        output=entry.output, oversized=False, tolerated=entry.tolerated, parked=entry.parked, failure=failure,
    )  # fmt: skip
    return changed(done, action=changed(done.action, doubt=False))
