"""How an entry changes one step: its action, its compensation, and the attempts of either.

Each function takes the step and the entry and returns the step after it, or raises
:class:`~saga.errors.IllegalEntry`. Which statuses may follow stands in :mod:`saga.core.transitions`.
"""

from __future__ import annotations

from typing import Any

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.state import (
    Failure,
    InvocationState,
    Open,
    Pending,
    StepState,
    StepStatus,
    UndoStatus,
    changed,
)
from saga.core.transitions import PARKED_TRANSITIONS, STEP_TRANSITIONS, UNDO_TRANSITIONS
from saga.errors import IllegalEntry
from saga.language.fields import Phase


def _action_status(step: StepState, entry: Entry, wanted: StepStatus | None = None) -> StepStatus:
    row = PARKED_TRANSITIONS if step.parked else STEP_TRANSITIONS[step.status]
    allowed = row.get(type(entry), ())
    to = wanted if wanted is not None else (allowed[0] if allowed else None)
    if to is None or to not in allowed:
        raise IllegalEntry(f"{entry.kind} for step {step.name}, whose action is {step.status}")
    return to


def _undo_status(step: StepState, entry: Entry) -> UndoStatus:
    allowed = UNDO_TRANSITIONS[step.undo_status].get(type(entry), ())
    if not allowed:
        raise IllegalEntry(f"{entry.kind} for step {step.name}, whose compensation is {step.undo_status}")
    return allowed[0]


def _on_wire(step: StepState, phase: Phase, entry: Any, *, also: bool = False) -> InvocationState:
    """Return the invocation, with its open attempt closed; ``also`` allows that none is open."""
    invocation = step.invocation(phase)
    if invocation.open is None and not also:
        raise IllegalEntry(f"{entry.kind} for {step.name}:{phase}, which has no open attempt")
    if entry.attempt not in (None, invocation.attempts) and not _earlier(entry, invocation):
        raise IllegalEntry(f"{entry.kind} {entry.attempt} for {step.name}:{phase} at {invocation.attempts}")
    return invocation


def _earlier(entry: Any, invocation: InvocationState) -> bool:
    """Return whether it is a success of an earlier attempt: that counts whichever it comes from."""
    success = isinstance(entry, e.StepSucceeded | e.CompensationUndone)
    return success and 0 < entry.attempt < invocation.attempts


def _left_on_wire(invocation: InvocationState, entry: Any) -> Open | None:
    """Return the attempt whose own answer is still to come although the outcome is here."""
    answered = entry.callback is None and entry.attempt == invocation.attempts
    return invocation.wire if answered or invocation.open is None else invocation.open


def _off_wire(step: StepState, phase: Phase, entry: Entry) -> InvocationState:
    """Return the invocation, which must have no open attempt: none is forgotten on the wire."""
    invocation = step.invocation(phase)
    if invocation.open is not None:
        raise IllegalEntry(f"{entry.kind} for {step.name}:{phase}, which has an open attempt")
    return invocation


def _after_attempt(step: StepState, entry: Any, invocation: InvocationState) -> StepState:
    """Return the step with the invocation of the entry's phase, its status by the table."""
    if entry.phase == "action":
        return changed(step, status=_action_status(step, entry), action=invocation)
    return changed(step, undo_status=_undo_status(step, entry), undo=invocation)


def invoked(step: StepState, entry: e.Invoked) -> StepState:
    """Record that an attempt is about to be sent; after a 425 under the number it had."""
    before = _off_wire(step, entry.phase, entry)
    again = before.deferred_until is not None and entry.attempt == before.attempts
    if entry.attempt != before.attempts + (0 if again else 1):
        raise IllegalEntry(f"attempt {entry.attempt} of {step.name}:{entry.phase} after {before.attempts}")
    invocation = changed(
        before,
        attempts=entry.attempt,
        open=Open(since=entry.at, timeout=entry.timeout, via=entry.via),
        pending=None,
        next_at=None,
        deferred_until=before.deferred_until if again else None,
        first_at=before.first_at if before.first_at is not None else entry.at,
        budget_at=before.budget_at if before.budget_at is not None else entry.at,
        digest=before.digest or entry.digest,
        callback=None,
    )
    step = _after_attempt(step, entry, invocation)
    if entry.phase == "action":
        return changed(step, started_at=step.started_at if step.started_at is not None else entry.at)
    return changed(
        step, undo_started_at=step.undo_started_at if step.undo_started_at is not None else entry.at
    )


def withdrawn(step: StepState, entry: e.Withdrawn) -> StepState:
    """Record that the attempt was not sent after all."""
    before = _on_wire(step, entry.phase, entry)
    return _after_attempt(step, entry, changed(before, open=None, next_at=entry.at))


def _counted(invocation: InvocationState, **changes: Any) -> InvocationState:
    return changed(
        invocation,
        open=None,
        pending=None,
        deferred_until=None,
        tries=invocation.tries + 1,
        tries_ever=invocation.tries_ever + 1,
        **changes,
    )


def not_executed(step: StepState, entry: e.AttemptNotExecuted) -> StepState:
    """Record that the attempt certainly did nothing."""
    before = _on_wire(step, entry.phase, entry)
    failure = Failure(step=step.name, kind="unreachable", detail=entry.detail)
    return _after_attempt(step, entry, _counted(before, next_at=entry.next_at, failure=failure))


def uncertain_attempt(step: StepState, entry: e.AttemptUncertain) -> StepState:
    """Record that the attempt may have happened; that stays so whatever later attempts say."""
    promised = step.invocation(entry.phase)
    also = promised.pending is not None or promised.deferred_until is not None
    before = _on_wire(step, entry.phase, entry, also=also)
    failure = Failure(step=step.name, kind="uncertain", detail=entry.detail)
    changes: dict[str, Any] = {"next_at": entry.next_at, "failure": failure, "doubt": True}
    if not entry.lost:
        return _after_attempt(step, entry, _counted(before, **changes))
    timeout = 0.0 if before.open is None else before.open.timeout
    lost = changed(before, open=None, deferred_until=None, hold_until=entry.at + timeout, **changes)
    return _after_attempt(step, entry, lost)


def refused_attempt(step: StepState, entry: e.AttemptRefused) -> StepState:
    """Record that the attempt was answered with a no."""
    # A refusal may come by callback or poll while none is open: after a 202, or between two attempts.
    before = _on_wire(step, entry.phase, entry, also=True)
    failure = Failure(step=step.name, kind="refused", detail=entry.detail)
    refused = _counted(
        before,
        refusals=before.refusals + 1,
        next_at=entry.next_at,
        failure=failure,
        callback=entry.callback,
        wire=_left_on_wire(before, entry),
    )
    return _after_attempt(step, entry, refused)


def promised(step: StepState, entry: e.AttemptPending) -> StepState:
    """Record that the outcome is to come; the attempt itself is over."""
    before = _on_wire(step, entry.phase, entry)
    pending = Pending(since=entry.at, until=entry.until, location=entry.location)
    invocation = changed(before, open=None, pending=pending, deferred_until=None, next_at=None)
    return _after_attempt(step, entry, invocation)


def deferred(step: StepState, entry: e.AttemptDeferred) -> StepState:
    """Record that the same attempt is to be sent again."""
    before = _on_wire(step, entry.phase, entry)
    invocation = changed(before, open=None, next_at=entry.next_at, deferred_until=entry.until)
    return _after_attempt(step, entry, invocation)


def child_started(step: StepState, entry: e.ChildStarted) -> StepState:
    """Record that the child saga stands for the attempt from here on."""
    before = _on_wire(step, entry.phase, entry)
    return _after_attempt(step, entry, changed(before, open=None, child=entry.child))


def task(step: StepState, entry: e.TaskTaken | e.TaskExtended) -> StepState:
    """Record that a worker has the attempt until its lease runs out."""
    before = _on_wire(step, entry.phase, entry)
    assert before.open is not None  # noqa: S101 - _on_wire has raised otherwise
    return _after_attempt(step, entry, changed(before, open=changed(before.open, lease_until=entry.until)))


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
    return changed(step, status=_action_status(step, entry), ended_at=entry.at)


def expanded(step: StepState, entry: e.StepExpanded) -> StepState:
    """Record that its instances follow."""
    return changed(step, status=_action_status(step, entry), count=entry.count, started_at=entry.at)


def succeeded(step: StepState, entry: e.StepSucceeded) -> StepState:
    """Record that the action took effect."""
    before = _on_wire(step, "action", entry, also=True)
    failure = (
        Failure(step=step.name, kind="output", detail=", ".join(entry.missing)) if entry.missing else None
    )
    if entry.oversized:
        failure = Failure(step=step.name, kind="size", detail="its output is over the limit")
    done = _settled(
        step, entry, _action_status(step, entry),
        output=entry.output, missing=entry.missing, oversized=entry.oversized, failure=failure, parked=False,
    )  # fmt: skip
    wire = _left_on_wire(before, entry)
    return changed(done, action=changed(done.action, callback=entry.callback, wire=wire))


def refused(step: StepState, entry: e.StepRefused) -> StepState:
    """Record that the action certainly did not."""
    _off_wire(step, "action", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    status = _action_status(step, entry)
    return _settled(step, entry, status, tolerated=entry.tolerated, failure=failure, parked=False)


def uncertain(step: StepState, entry: e.StepUncertain) -> StepState:
    """Record that nobody knows, and nobody asks any more."""
    _off_wire(step, "action", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    return _settled(step, entry, _action_status(step, entry), failure=failure)


def parked(step: StepState, entry: e.StepParked) -> StepState:
    """Record that the action waits for a person."""
    _off_wire(step, "action", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    status = _action_status(step, entry, StepStatus(entry.status))
    return _settled(step, entry, status, parked=True, failure=failure)


def undone(step: StepState, entry: e.CompensationUndone) -> StepState:
    """Record that amends are made."""
    before = _on_wire(step, "compensation", entry, also=True)
    undo = changed(
        before, open=None, pending=None, next_at=None, deferred_until=None, callback=entry.callback
    )
    started = step.undo_started_at if step.undo_started_at is not None else entry.at
    return changed(
        step,
        undo_status=_undo_status(step, entry),
        undo=undo,
        undo_started_at=started,
        undo_ended_at=entry.at,
        undo_failure=None,
    )


def undo_failed(step: StepState, entry: e.CompensationFailed) -> StepState:
    """Record that the compensation waits for a person."""
    before = _off_wire(step, "compensation", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    undo = changed(before, pending=None, next_at=None, deferred_until=None)
    return changed(step, undo_status=_undo_status(step, entry), undo=undo, undo_failure=failure)


def until(step: StepState, entry: e.WaitBegan | e.SignalAwaited) -> StepState:
    """Record that it waits for a time or a signal."""
    return changed(step, status=_action_status(step, entry), until=entry.until, started_at=entry.at)


# --------------------------------------------------------------------------- commands on steps


def _budget(invocation: InvocationState, at: float) -> InvocationState:
    return changed(invocation, tries=0, refusals=0, budget_at=None, next_at=at)


def retry_action(step: StepState, entry: e.RetryCommanded) -> StepState:
    """Record that a person has the action tried again."""
    before = _off_wire(step, "action", entry)
    # What was never sent is evaluated anew; what was sent keeps its key, its bytes and its doubt.
    wanted = StepStatus.WAITING if before.attempts else StepStatus.PENDING
    status = _action_status(step, entry, wanted)
    action = _budget(before, entry.at) if before.attempts else before
    return changed(step, status=status, action=action, parked=False, ended_at=None, failure=None)


def retry_undo(step: StepState, entry: e.RetryCommanded) -> StepState:
    """Record that a person has the compensation tried again."""
    before = _off_wire(step, "compensation", entry)
    return changed(
        step, undo_status=_undo_status(step, entry), undo=_budget(before, entry.at), undo_failure=None
    )


def skip(step: StepState, entry: e.SkipCommanded) -> StepState:
    """Record that a person leaves it."""
    _off_wire(step, entry.phase, entry)
    if entry.phase == "compensation":
        return changed(step, undo_status=_undo_status(step, entry), undo_ended_at=entry.at)
    return _settled(step, entry, _action_status(step, entry), parked=False)


def resolve(step: StepState, entry: e.ResolveCommanded) -> StepState:
    """Record that a person says what happened."""
    _off_wire(step, entry.phase, entry)
    if entry.phase == "compensation":
        return changed(step, undo_status=_undo_status(step, entry), undo_ended_at=entry.at, undo_failure=None)
    status = _action_status(step, entry, StepStatus(entry.outcome))
    failure = None
    if status is StepStatus.REFUSED:
        failure = Failure(step=step.name, kind="refused", detail=entry.reason or "resolved by a person")
    done = _settled(
        step, entry, status,
        output=entry.output, oversized=False, tolerated=entry.tolerated, parked=entry.parked, failure=failure,
    )  # fmt: skip
    return changed(done, action=changed(done.action, doubt=False))
