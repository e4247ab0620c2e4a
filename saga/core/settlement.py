"""What an outcome means for an invocation: the entries that record it.

Doubt is never erased by a later, different failure: only a verdict settles it.
"""

from __future__ import annotations

from saga.core import entries as e
from saga.core.backoff import jitter
from saga.core.case import Case, case, pending_policy
from saga.core.conclusions import conclusion, step_output, success
from saga.core.entries import Entry
from saga.core.entries.base import Cause
from saga.core.outcomes import Deferred, NotExecuted, Outcome, Pending, Refused, Succeeded, Uncertain
from saga.core.state import SagaState, StepState
from saga.core.statuses import UndoStatus
from saga.language.fields import Phase
from saga.language.model import SagaDefinition

#: The same request again is put off by up to this part of the interval between polls.
_SPREAD = 0.1


def settle(  # noqa: PLR0911, PLR0917 - one return for each kind of outcome; the first six are the question
    definition: SagaDefinition,
    state: SagaState,
    unit: str,
    phase: Phase,
    outcome: Outcome,
    now: float,
    *,
    attempt: int | None = None,
    callback: str | None = None,
) -> tuple[Entry, ...]:
    """Return the entries that record an outcome.

    ``attempt`` is the attempt that was answered; None for a poll or a callback, whose outcome belongs to the
    invocation as it is. ``callback`` is the callback's hash. An answer that comes too late is recorded as one.
    """
    it = case(definition, state, unit, phase, now)
    if not _awaits(it, outcome, attempt, called_back=callback is not None):
        return _late(it, outcome, now, attempt)
    match outcome:
        case Succeeded():
            return succeeded(it, outcome, now, attempt=attempt, callback=callback)
        case Refused():
            return _refused(it, outcome, now, callback)
        case NotExecuted():
            return _not_executed(it, outcome, now)
        case Uncertain():
            return _uncertain(it, outcome.detail, now, retry_after=outcome.retry_after)
        case Pending():
            return _pending(it, outcome, now)
        case Deferred():
            return _deferred(it, now)


def _awaits(it: Case, outcome: Outcome, attempt: int | None, *, called_back: bool) -> bool:
    """Return whether the outcome still counts: of the open attempt always, a success of any other likewise."""
    invocation = it.invocation
    if it.state.ended or invocation.attempts == 0 or not _unsettled(it, outcome):
        return False
    if invocation.open is not None and invocation.attempts == attempt:
        return True
    if isinstance(outcome, Succeeded):
        return True
    # A refusal that was polled for is about the promise, not about an attempt that was sent since.
    return attempt is None and (called_back or invocation.pending is not None)


def _unsettled(it: Case, outcome: Outcome) -> bool:
    """Return whether the invocation has no outcome; to one that is parked only a success is still of use."""
    unit, success = it.unit_state, isinstance(outcome, Succeeded)
    if it.phase == "compensation":
        return unit.undo_status in _MOVING or (success and unit.undo_status is UndoStatus.FAILED)
    return not unit.settled or (success and unit.parked and it.state.direction == "forward")


_MOVING = frozenset({UndoStatus.INVOKING, UndoStatus.WAITING})


def _late(it: Case, outcome: Outcome, at: float, attempt: int | None) -> tuple[Entry, ...]:
    # A 202 or 425 whose callback came first says nothing new, but that nothing of it is on the wire any more.
    on_wire = it.invocation.open is not None or it.invocation.wire is not None
    if isinstance(outcome, Pending | Deferred) and not (on_wire and attempt == it.invocation.attempts):
        return ()
    detail = "" if isinstance(outcome, Succeeded | Pending | Deferred) else outcome.detail
    return (
        e.LateAnswer(
            at=at, step=it.unit, phase=it.phase, attempt=attempt, outcome=outcome.word, detail=detail
        ),
    )


# yes


def succeeded(
    it: Case, outcome: Succeeded, at: float, *, attempt: int | None = None, callback: str | None = None
) -> tuple[Entry, ...]:
    """Return the entries of a success; an output over the limit has happened all the same."""
    attempt = attempt or it.invocation.attempts
    if it.phase == "compensation":
        return (e.CompensationUndone(at=at, step=it.unit, attempt=attempt, callback=callback),)
    response = {"status": outcome.status, "headers": outcome.headers, "body": outcome.body}
    output, missing = step_output(it, response)
    return success(it, output, missing, at, attempt=attempt, callback=callback)


# no


def _refused(it: Case, outcome: Refused, at: float, callback: str | None) -> tuple[Entry, ...]:
    certain = outcome.declared or not it.invocation.doubt
    next_at = None if _final(it, outcome, certain=certain) else it.next_at(refused=True)
    attempt = e.AttemptRefused(
        at=at, step=it.unit, phase=it.phase, attempt=it.invocation.attempts,
        detail=outcome.detail, next_at=next_at, callback=callback,
    )  # fmt: skip
    if next_at is not None:
        return (attempt,)
    return attempt, conclusion(it, at, outcome.cause, outcome.detail, doubt=not certain)


def _final(it: Case, outcome: Refused, *, certain: bool) -> bool:
    """Return whether a refusal ends the attempts at once."""
    if it.step.kind == "saga":
        return True
    if it.phase == "compensation":
        return outcome.declared
    if it.state.direction == "backward" or not it.persistent(doubt=it.invocation.doubt):
        return True
    if it.position == "pivot":
        return certain
    return outcome.declared or (certain and it.tolerant)


def _not_executed(it: Case, outcome: NotExecuted, at: float) -> tuple[Entry, ...]:
    next_at = it.next_at(refused=False, retry_after=outcome.retry_after)
    attempt = e.AttemptNotExecuted(
        at=at, step=it.unit, phase=it.phase, attempt=it.invocation.attempts,
        detail=outcome.detail, next_at=next_at,
    )  # fmt: skip
    if next_at is not None or it.halted:
        return (attempt,)
    doubt = it.invocation.doubt
    cause: Cause = "uncertain" if doubt else "unreachable"
    return attempt, conclusion(it, at, cause, outcome.detail, doubt=doubt)


# unknown


def _uncertain(
    it: Case, detail: str, at: float, *, retry_after: float | None = None, resend: bool = True
) -> tuple[Entry, ...]:
    resend = resend or it.persistent(doubt=True)
    next_at = it.next_at(refused=False, retry_after=retry_after, doubt=True) if resend else None
    attempt = e.AttemptUncertain(
        at=at, step=it.unit, phase=it.phase, attempt=it.invocation.attempts, detail=detail, next_at=next_at
    )
    if next_at is not None or it.halted:
        return (attempt,)
    return attempt, conclusion(it, at, "uncertain", detail, doubt=True)


def lost(
    definition: SagaDefinition, state: SagaState, unit: str, phase: Phase, now: float
) -> tuple[Entry, ...]:
    """Return the entries for an attempt that was open when its coordinator died.

    It adds doubt, does not count, and may be sent again at once unless its time is over. A worker's task is not
    lost: the worker has it, or none has and it is still offered.
    """
    it = case(definition, state, unit, phase, now)
    if state.ended or it.invocation.open is None or it.invocation.open.via == "worker":
        return ()
    over = it.over(it.now, doubt=True)
    next_at = None if over or it.halted else it.now
    attempt = e.AttemptUncertain(
        at=now, step=unit, phase=phase, attempt=it.invocation.attempts,
        detail="coordinator-lost", next_at=next_at, lost=True,
    )  # fmt: skip
    if next_at is not None or it.halted:
        return (attempt,)
    return attempt, conclusion(it, now, "uncertain", "coordinator-lost", doubt=True)


def expired(
    definition: SagaDefinition, state: SagaState, unit: str, phase: Phase, now: float
) -> tuple[Entry, ...]:
    """Return the entries for an outcome that was promised (202) or put off (425) and did not come in time."""
    it = case(definition, state, unit, phase, now)
    promised = it.invocation.pending is not None
    detail = (
        "no outcome came in time after it was accepted" if promised else "it stayed too early for too long"
    )
    # Up to the pivot it is not sent again: the participant has it, or has had its time.
    return _uncertain(it, detail, now, resend=False)


def timed_out(
    definition: SagaDefinition, state: SagaState, unit: StepState, phase: Phase, now: float
) -> tuple[Entry, ...]:
    """Return the entries for what is over by time alone: a worker's lease, or an outcome that was to come."""
    invocation = unit.invocation(phase)
    if invocation.open is not None:
        leased = invocation.open.lease_until
        if leased is None or leased > now:
            return ()
        return _uncertain(case(definition, state, unit.name, phase, now), "the worker's lease ran out", now)
    promised, put_off = invocation.pending, invocation.deferred_until
    if (promised is not None and promised.until <= now) or (put_off is not None and put_off <= now):
        return expired(definition, state, unit.name, phase, now)
    return ()


def given_up(it: Case, at: float) -> tuple[Entry, ...]:
    """Return the entries for an attempt that was put off (425) and is not sent again."""
    return _uncertain(it, "too early (425), and not sent again", at, resend=False)


def child_started(  # noqa: PLR0917 - an attempt is named by its parts
    state: SagaState, unit: str, phase: Phase, attempt: int, child: str, now: float
) -> tuple[Entry, ...]:
    """Return the entry for a child saga that was made, or asked to undo itself; none when it is known already."""
    invocation = state.step(unit).invocation(phase)
    if state.ended or invocation.open is None or invocation.attempts != attempt:
        return ()
    return (e.ChildStarted(at=now, step=unit, phase=phase, attempt=attempt, child=child),)


def _pending(it: Case, outcome: Pending, at: float) -> tuple[Entry, ...]:
    until = it.now + pending_policy(it).timeout
    return (
        e.AttemptPending(
            at=at, step=it.unit, phase=it.phase, attempt=it.invocation.attempts,
            location=outcome.location, until=until,
        ),
    )  # fmt: skip


def _deferred(it: Case, at: float) -> tuple[Entry, ...]:
    policy = pending_policy(it)
    invocation = it.invocation
    until = invocation.deferred_until if invocation.deferred_until is not None else it.now + policy.timeout
    next_at = it.now + policy.poll * (1 + _SPREAD * jitter(f"{it.state.id}:{it.unit}:{it.state.seq}"))
    if it.halted or next_at > until:
        return given_up(it, at)
    return (
        e.AttemptDeferred(
            at=at, step=it.unit, phase=it.phase, attempt=invocation.attempts, next_at=next_at, until=until
        ),
    )
