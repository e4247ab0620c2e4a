"""What an outcome means for an invocation: the entries that record it, and whether another attempt is due.

Up to the pivot an action has so many attempts. A compensation, a step after the pivot, and a pivot in doubt are
persistent: refusals are bounded by ``attempts``, everything else by ``within``.
Doubt is never erased by a later, different failure: only a verdict settles it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import to_json

from saga.core import entries as e
from saga.core.backoff import delay, jitter
from saga.core.entries import Entry
from saga.core.entries.base import Cause
from saga.core.outcomes import Deferred, NotExecuted, Outcome, Pending, Refused, Succeeded, Uncertain
from saga.core.requests import call_of, scope
from saga.core.state import InvocationState, SagaState, StepState, UndoStatus, step_name
from saga.language.expressions import evaluate_members
from saga.language.fields import Phase, Position
from saga.language.model import Call, Retry, SagaDefinition, Step, Worker
from saga.language.model import Pending as PendingPolicy

#: Bytes the stored output of a step may have, as JSON.
OUTPUT_LIMIT = 256 * 1024

#: A poll, or the same request again, is put off by up to this part of its interval.
POLL_SPREAD = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One invocation of one saga at one moment: what every rule here looks at."""

    definition: SagaDefinition
    state: SagaState
    unit: str
    phase: Phase
    #: Epoch seconds; while the saga is paused, the time at which its timers stand still.
    now: float

    @property
    def step(self) -> Step:
        """Return the step of the definition."""
        return self.definition.step(step_name(self.unit))

    @property
    def unit_state(self) -> StepState:
        """Return what is known of the step or instance."""
        return self.state.step(self.unit)

    @property
    def invocation(self) -> InvocationState:
        """Return its attempts."""
        return self.unit_state.invocation(self.phase)

    @property
    def position(self) -> Position:
        """Return where the step stands to the pivot."""
        return self.definition.position(step_name(self.unit))

    @property
    def tolerant(self) -> bool:
        """True when a certain refusal does not stop the saga."""
        return self.step.on_refused == "continue"

    def persistent(self, *, doubt: bool) -> bool:
        """Return whether the invocation is retried by the policy of what must be done in the end."""
        if self.phase == "compensation" or self.position == "after":
            return True
        return self.position == "pivot" and doubt

    def retry(self, *, doubt: bool) -> Retry:
        """Return the policy that governs the next attempt."""
        if self.phase == "action" and self.position == "pivot" and doubt:
            return self.definition.defaults.compensation.retry
        runs = executor(self.step, self.phase)
        if runs is not None:
            return runs.retry
        # A child saga has no policy of its own.
        persistent = self.persistent(doubt=doubt)
        return (
            self.definition.defaults.compensation if persistent else self.definition.defaults.action
        ).retry


def executor(step: Step, phase: Phase) -> Call | Worker | None:
    """Return the call or the worker's task that the step has for the phase; None for a child saga."""
    if phase == "compensation":
        return step.compensation if isinstance(step.compensation, Call | Worker) else None
    return step.action if step.action is not None else step.worker


def case(definition: SagaDefinition, state: SagaState, unit: str, phase: Phase, now: float) -> Case:
    """Return the case, its time standing still while the saga is paused."""
    still = state.paused_at if state.paused_at is not None else now
    return Case(definition=definition, state=state, unit=unit, phase=phase, now=still)


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
    at = now
    match outcome:
        case Succeeded():
            return succeeded(it, outcome, at, attempt=attempt, callback=callback)
        case Refused():
            return _refused(it, outcome, at, callback)
        case NotExecuted():
            return _not_executed(it, outcome, at)
        case Uncertain():
            return _uncertain(it, outcome.detail, at, retry_after=outcome.retry_after)
        case Pending():
            return _pending(it, outcome, at)
        case Deferred():
            return _deferred(it, at)


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
    unit, late = it.unit_state, isinstance(outcome, Succeeded)
    if it.phase == "compensation":
        return unit.undo_status in _MOVING or (late and unit.undo_status is UndoStatus.FAILED)
    return not unit.settled or (late and unit.parked and it.state.direction == "forward")


_MOVING = frozenset({UndoStatus.INVOKING, UndoStatus.WAITING})


def _late(it: Case, outcome: Outcome, at: float, attempt: int | None) -> tuple[Entry, ...]:
    # A 202 or 425 whose callback came first says nothing new, but that nothing of it is on the wire any more.
    on_wire = it.invocation.open is not None or it.invocation.wire is not None
    if isinstance(outcome, Pending | Deferred) and not (on_wire and attempt == it.invocation.attempts):
        return ()
    said = type(outcome).__name__.lower()
    detail = getattr(outcome, "detail", "")
    return (e.LateAnswer(at=at, step=it.unit, phase=it.phase, attempt=attempt, outcome=said, detail=detail),)


# --------------------------------------------------------------------------- yes


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


def step_output(it: Case, response: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Return the step's output by its template (absent: the whole body) and the pointers of what was missing."""
    if not it.step.has_output:
        return response["body"], ()
    roots = scope(it.definition, it.state, it.unit) | {"response": response}
    return evaluate_members(it.step.output, roots)


def success(
    it: Case,
    output: Any,
    missing: tuple[str, ...],
    at: float,
    *,
    attempt: int | None = None,
    callback: str | None = None,
    signal: str | None = None,
) -> tuple[Entry, ...]:
    """Return the entries of a step that succeeded with that output."""
    size = len(to_json(output))
    oversized = size > OUTPUT_LIMIT
    done = e.StepSucceeded(
        at=at,
        step=it.unit,
        attempt=attempt,
        output=None if oversized else output,
        missing=() if oversized else missing,
        oversized=oversized,
        callback=callback,
        signal=signal,
        size=0 if oversized else size,
    )
    if not oversized or it.position == "before" or it.state.direction == "backward":
        return (done,)
    detail = f"its output has {size} bytes, more than {OUTPUT_LIMIT}"
    return done, e.StepParked(at=at, step=it.unit, status="succeeded", cause="size", detail=detail)


# --------------------------------------------------------------------------- no


def _refused(it: Case, outcome: Refused, at: float, callback: str | None) -> tuple[Entry, ...]:
    certain = outcome.declared or not it.invocation.doubt
    next_at = None if _final(it, outcome, certain=certain) else _next_at(it, refused=True)
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
    next_at = _next_at(it, refused=False, retry_after=outcome.retry_after)
    attempt = e.AttemptNotExecuted(
        at=at, step=it.unit, phase=it.phase, attempt=it.invocation.attempts,
        detail=outcome.detail, next_at=next_at,
    )  # fmt: skip
    if next_at is not None or _left_to_backward(it):
        return (attempt,)
    doubt = it.invocation.doubt
    cause: Cause = "uncertain" if doubt else "unreachable"
    return attempt, conclusion(it, at, cause, outcome.detail, doubt=doubt)


# --------------------------------------------------------------------------- unknown


def _uncertain(
    it: Case, detail: str, at: float, *, retry_after: float | None = None, resend: bool = True
) -> tuple[Entry, ...]:
    resend = resend or it.persistent(doubt=True)
    next_at = _next_at(it, refused=False, retry_after=retry_after, doubt=True) if resend else None
    attempt = e.AttemptUncertain(
        at=at, step=it.unit, phase=it.phase, attempt=it.invocation.attempts, detail=detail, next_at=next_at
    )
    if next_at is not None or _left_to_backward(it):
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
    over = _over(it, it.now, doubt=True)
    next_at = None if over or _left_to_backward(it) else it.now
    attempt = e.AttemptUncertain(
        at=now, step=unit, phase=phase, attempt=it.invocation.attempts,
        detail="coordinator-lost", next_at=next_at, lost=True,
    )  # fmt: skip
    if next_at is not None or _left_to_backward(it):
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


def lease_over(
    definition: SagaDefinition, state: SagaState, unit: str, phase: Phase, now: float
) -> tuple[Entry, ...]:
    """Return the entries for a worker's lease that ran out: an uncertain attempt."""
    return _uncertain(case(definition, state, unit, phase, now), "the worker's lease ran out", now)


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
    next_at = it.now + policy.poll * (1 + POLL_SPREAD * jitter(f"{it.state.id}:{it.unit}:{it.state.seq}"))
    if _left_to_backward(it) or next_at > until:
        return _uncertain(it, "too early (425), and not sent again", at, resend=False)
    return (
        e.AttemptDeferred(
            at=at, step=it.unit, phase=it.phase, attempt=invocation.attempts, next_at=next_at, until=until
        ),
    )


def pending_policy(it: Case) -> PendingPolicy:
    """Return how long an outcome that was promised is waited for, and how often it is asked for."""
    return call_of(it.definition, it.unit, it.phase).pending


# --------------------------------------------------------------------------- another attempt, or the end of it


def _left_to_backward(it: Case) -> bool:
    """Return whether the saga goes backward: no further action is sent, and the decider concludes."""
    return it.phase == "action" and it.state.direction == "backward"


def _next_at(
    it: Case, *, refused: bool, retry_after: float | None = None, doubt: bool | None = None
) -> float | None:
    """Return when the next attempt is due, None when the policy allows none."""
    if _left_to_backward(it):
        return None
    invocation = it.invocation
    doubt = invocation.doubt if doubt is None else doubt
    retry = it.retry(doubt=doubt)
    tries = invocation.tries + 1
    counted = invocation.refusals + 1 if it.persistent(doubt=doubt) else tries
    bounded = refused or not it.persistent(doubt=doubt)
    if bounded and retry.attempts is not None and counted >= retry.attempts:
        return None
    seed = f"{it.state.id}:{it.unit}:{it.phase}:{invocation.attempts}"
    next_at = it.now + delay(retry, tries, seed=seed, retry_after=retry_after)
    if refused and it.persistent(doubt=doubt):
        return next_at
    return None if _over(it, next_at, doubt=doubt) else next_at


def _over(it: Case, at: float, *, doubt: bool) -> bool:
    within = it.retry(doubt=doubt).within
    begun = it.invocation.budget_at
    return within is not None and begun is not None and at > begun + within


def conclusion(it: Case, at: float, cause: Cause, detail: str, *, doubt: bool) -> Entry:
    """Return the entry that ends an invocation without success."""
    if it.phase == "compensation":
        return e.CompensationFailed(at=at, step=it.unit, cause=cause, detail=detail)
    if doubt and cause in ("refused", "unreachable"):
        cause = "uncertain"
    if not doubt and (it.position != "after" or it.tolerant):
        return e.StepRefused(at=at, step=it.unit, cause=cause, detail=detail, tolerated=it.tolerant)
    undoable = it.step.compensation is not None and it.step.compensation != "none"
    if it.position == "before" or (it.position == "pivot" and undoable) or it.state.direction == "backward":
        return e.StepUncertain(at=at, step=it.unit, cause=cause, detail=detail)
    status: Literal["refused", "uncertain"] = "uncertain" if doubt else "refused"
    return e.StepParked(at=at, step=it.unit, status=status, cause=cause, detail=detail)


def refusal(it: Case, at: float, cause: Cause, detail: str, *, signal: str | None = None) -> Entry:
    """Return the entry for a step that is refused without having been sent: after the pivot it is parked."""
    if it.position == "after" and not (it.tolerant and cause in _TOLERABLE):
        return e.StepParked(at=at, step=it.unit, status="refused", cause=cause, detail=detail, signal=signal)
    return e.StepRefused(
        at=at, step=it.unit, cause=cause, detail=detail, tolerated=it.tolerant, signal=signal
    )


#: Refusals that ``on_refused: continue`` tolerates: all that are certain.
_TOLERABLE: frozenset[Cause] = frozenset(
    {"refused", "unreachable", "template", "size", "child", "signal-timeout"}
)
