"""How an entry about an attempt changes its step.

Each function takes the step and the entry and returns the step after it, or raises
:class:`~saga.errors.IllegalEntry`. Which statuses may follow stands in :mod:`saga.core.transitions`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.entries.base import OfAttempt
from saga.core.state import Failure, InvocationState, Open, Pending, StepState, changed
from saga.core.transitions import action_status, undo_status
from saga.errors import IllegalEntry
from saga.language.fields import Phase

#: An answer that settles the invocation, whichever attempt it comes from.
Answer: TypeAlias = e.StepSucceeded | e.CompensationUndone


def on_wire(
    step: StepState, phase: Phase, entry: OfAttempt | Answer, *, or_not: bool = False
) -> InvocationState:
    """Return the invocation, which has an open attempt, unless ``or_not`` allows that none is open."""
    invocation = step.invocation(phase)
    if invocation.open is None and not or_not:
        raise IllegalEntry(f"{entry.kind} for {step.name}:{phase}, which has no open attempt")
    if entry.attempt not in (None, invocation.attempts) and not _earlier(entry, invocation):
        raise IllegalEntry(f"{entry.kind} {entry.attempt} for {step.name}:{phase} at {invocation.attempts}")
    return invocation


def _earlier(entry: OfAttempt | Answer, invocation: InvocationState) -> bool:
    """Return whether it is a success of an earlier attempt: that counts whichever it comes from."""
    return isinstance(entry, Answer) and 0 < (entry.attempt or 0) < invocation.attempts


def left_on_wire(invocation: InvocationState, entry: e.AttemptRefused | Answer) -> Open | None:
    """Return the attempt whose own answer is still to come although the outcome is here."""
    answered = entry.callback is None and entry.attempt == invocation.attempts
    return invocation.wire if answered or invocation.open is None else invocation.open


def off_wire(step: StepState, phase: Phase, entry: Entry) -> InvocationState:
    """Return the invocation, which must have no open attempt: none is forgotten on the wire."""
    invocation = step.invocation(phase)
    if invocation.open is not None:
        raise IllegalEntry(f"{entry.kind} for {step.name}:{phase}, which has an open attempt")
    return invocation


def _after_attempt(step: StepState, entry: OfAttempt, invocation: InvocationState) -> StepState:
    """Return the step with the invocation of the entry's phase, its status by the table."""
    if entry.phase == "action":
        return changed(step, status=action_status(step, entry), action=invocation)
    return changed(step, undo_status=undo_status(step, entry), undo=invocation)


def invoked(step: StepState, entry: e.Invoked) -> StepState:
    """Record that an attempt is about to be sent; after a 425 under the number it had."""
    before = off_wire(step, entry.phase, entry)
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
    before = on_wire(step, entry.phase, entry)
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
    before = on_wire(step, entry.phase, entry)
    failure = Failure(step=step.name, kind="unreachable", detail=entry.detail)
    return _after_attempt(step, entry, _counted(before, next_at=entry.next_at, failure=failure))


def uncertain(step: StepState, entry: e.AttemptUncertain) -> StepState:
    """Record that the attempt may have happened; that stays so whatever later attempts say."""
    promised = step.invocation(entry.phase)
    open_or_not = promised.pending is not None or promised.deferred_until is not None
    before = on_wire(step, entry.phase, entry, or_not=open_or_not)
    failure = Failure(step=step.name, kind="uncertain", detail=entry.detail)
    changes: dict[str, Any] = {"next_at": entry.next_at, "failure": failure, "doubt": True}
    if not entry.lost:
        return _after_attempt(step, entry, _counted(before, **changes))
    timeout = 0.0 if before.open is None else before.open.timeout
    lost = changed(before, open=None, deferred_until=None, hold_until=entry.at + timeout, **changes)
    return _after_attempt(step, entry, lost)


def refused(step: StepState, entry: e.AttemptRefused) -> StepState:
    """Record that the attempt was answered with a no."""
    # A refusal may come by callback or poll while none is open: after a 202, or between two attempts.
    before = on_wire(step, entry.phase, entry, or_not=True)
    failure = Failure(step=step.name, kind="refused", detail=entry.detail)
    counted = _counted(
        before,
        refusals=before.refusals + 1,
        next_at=entry.next_at,
        failure=failure,
        callback=entry.callback,
        wire=left_on_wire(before, entry),
    )
    return _after_attempt(step, entry, counted)


def promised(step: StepState, entry: e.AttemptPending) -> StepState:
    """Record that the outcome is to come; the attempt itself is over."""
    before = on_wire(step, entry.phase, entry)
    pending = Pending(since=entry.at, until=entry.until, location=entry.location)
    invocation = changed(before, open=None, pending=pending, deferred_until=None, next_at=None)
    return _after_attempt(step, entry, invocation)


def deferred(step: StepState, entry: e.AttemptDeferred) -> StepState:
    """Record that the same attempt is to be sent again."""
    before = on_wire(step, entry.phase, entry)
    invocation = changed(before, open=None, next_at=entry.next_at, deferred_until=entry.until)
    return _after_attempt(step, entry, invocation)


def child_started(step: StepState, entry: e.ChildStarted) -> StepState:
    """Record that the child saga stands for the attempt from here on."""
    before = on_wire(step, entry.phase, entry)
    return _after_attempt(step, entry, changed(before, open=None, child=entry.child))


def task(step: StepState, entry: e.TaskTaken | e.TaskExtended) -> StepState:
    """Record that a worker has the attempt until its lease runs out."""
    before = on_wire(step, entry.phase, entry)
    return _after_attempt(step, entry, changed(before, open=changed(before.open, lease_until=entry.until)))
