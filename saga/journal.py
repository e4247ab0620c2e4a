"""The fold of a journal into a state.

Nothing here knows a definition: an entry carries all that is needed to apply it. An entry that the tables of
:mod:`saga.transitions` do not allow raises :class:`~saga.errors.IllegalEntry` and leaves the state as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from saga import entries as e
from saga.entries import Entry
from saga.errors import IllegalEntry, UnreadableJournal
from saga.ports import Phase
from saga.state import (
    Failure,
    InvocationState,
    Open,
    Pending,
    SagaState,
    Signal,
    Status,
    StepState,
    StepStatus,
    Trace,
    UndoStatus,
    shifted,
)
from saga.transitions import BY_DIRECTION, SAGA_TRANSITIONS, STEP_TRANSITIONS, UNDO_TRANSITIONS

#: Bytes reckoned for an entry besides its payload.
ENTRY_ALLOWANCE = 200

# --------------------------------------------------------------------------- folding


def evolve(state: SagaState | None, entry: Entry) -> SagaState:
    """Return the state after the entry; ``None`` is the state before the first one.

    Raises :class:`~saga.errors.IllegalEntry` when the tables do not allow it there.
    """
    if state is None:
        if not isinstance(entry, e.SagaStarted):
            raise IllegalEntry(f"{entry.kind} before saga_started")
        return _started(entry)
    try:
        to = SAGA_TRANSITIONS[state.status][type(entry)]
    except KeyError:
        raise IllegalEntry(f"{entry.kind} in a saga that is {state.status}") from None
    changes = _APPLY[type(entry)](state, entry)
    if to is BY_DIRECTION:
        to = Status.RUNNING if state.direction == "forward" else Status.COMPENSATING
    if state.parked_at is not None and to is not Status.PARKED:
        changes = {"deadline": _unparked_deadline(state, entry)} | changes | {"parked_at": None, "parking": None}
    size = state.size + ENTRY_ALLOWANCE + getattr(entry, "size", 0) + len(getattr(entry, "detail", ""))
    return replace(state, **{"status": to, "seq": state.seq + 1, "size": size, "updated_at": entry.at} | changes)


def replay(entries: Iterable[Entry]) -> SagaState:
    """Return the state a whole journal tells.

    Raises :class:`~saga.errors.UnreadableJournal` when it is empty or an entry is illegal.
    """
    state: SagaState | None = None
    try:
        for entry in entries:
            state = evolve(state, entry)
    except IllegalEntry as error:
        raise UnreadableJournal(f"entry {0 if state is None else state.seq + 1}: {error}") from error
    if state is None:
        raise UnreadableJournal("the journal is empty")
    return state


def _started(entry: e.SagaStarted) -> SagaState:
    trace = None
    if entry.trace_id is not None and entry.span_id is not None:
        trace = Trace(
            trace_id=entry.trace_id,
            span_id=entry.span_id,
            parent_span_id=entry.parent_span_id,
            sampled=entry.sampled,
            tracestate=entry.tracestate,
        )
    return SagaState(
        id=entry.saga,
        definition=entry.definition,
        version=entry.version,
        status=Status.RUNNING,
        direction="forward",
        input=entry.input,
        labels=entry.labels,
        seq=1,
        size=ENTRY_ALLOWANCE + entry.size,
        started_at=entry.at,
        updated_at=entry.at,
        start_at=entry.start_at,
        deadline=entry.deadline,
        due=entry.due,
        trace=trace,
        parent=entry.parent,
        parent_step=entry.parent_step,
        rerun_of=entry.rerun_of,
    )


def _unparked_deadline(state: SagaState, entry: Entry) -> float | None:
    if state.deadline is None or state.parked_at is None:
        return state.deadline
    return state.deadline + max(0.0, entry.at - state.parked_at)


Changes: TypeAlias = dict[str, Any]


def _nothing(_state: SagaState, _entry: Any) -> Changes:
    return {}


def _turned(_state: SagaState, entry: e.TurnedBackward) -> Changes:
    failure = Failure(step=entry.step, kind=entry.cause, detail=entry.detail)
    return {"direction": "backward", "failure": failure}


def _cancelled(state: SagaState, entry: e.SagaCancelled) -> Changes:
    failure = Failure(kind="cancelled", detail=entry.reason)
    return {"direction": "backward", "failure": failure} | _unpaused(state, entry)


def _parked(state: SagaState, entry: e.SagaParked) -> Changes:
    failure = Failure(step=entry.step, kind=entry.cause, detail=entry.detail)
    return {"parked_at": entry.at, "parking": failure} | _unpaused(state, entry)


def _paused(_state: SagaState, entry: e.SagaPaused) -> Changes:
    return {"paused_at": entry.at}


def _unpaused(state: SagaState, entry: Entry) -> Changes:
    if state.paused_at is None:
        return {}
    seconds = max(0.0, entry.at - state.paused_at)
    return {
        "paused_at": None,
        "deadline": None if state.deadline is None else state.deadline + seconds,
        "steps": {name: shifted(step, seconds) for name, step in state.steps.items()},
    }


def _completed(_state: SagaState, entry: e.SagaCompleted) -> Changes:
    failure = Failure(kind="output", detail=", ".join(entry.missing)) if entry.missing else None
    return {"ended_at": entry.at, "output": entry.output, "missing": entry.missing, "failure": failure}


def _ended(_state: SagaState, entry: Entry) -> Changes:
    return {"ended_at": entry.at, "paused_at": None}


def _reopened(_state: SagaState, _entry: Entry) -> Changes:
    return {"ended_at": None, "direction": "backward", "failure": Failure(kind="cancelled", detail="by its parent")}


def _late(_state: SagaState, _entry: Entry) -> Changes:
    return {"late": True}


def _signal(state: SagaState, entry: e.SignalReceived) -> Changes:
    queue = (*state.signals.get(entry.name, ()), Signal(message=entry.message, payload=entry.payload))
    return {"signals": {**state.signals, entry.name: queue}}


def _retried(state: SagaState, entry: e.RetryCommanded) -> Changes:
    steps = dict(state.steps)
    for invocation in entry.invocations:
        unit, _, phase = invocation.rpartition(":")
        step = steps.get(unit) or StepState(name=unit)
        apply = _retry_action if phase == "action" else _retry_undo
        steps[unit] = apply(step, entry)
    return {"steps": steps}


# --------------------------------------------------------------------------- steps


def _step(apply: Callable[[StepState, Any], StepState]) -> Callable[[SagaState, Any], Changes]:
    def change(state: SagaState, entry: Any) -> Changes:
        return {"steps": {**state.steps, entry.step: apply(state.step(entry.step), entry)}}

    return change


def _action_status(step: StepState, entry: Entry, wanted: StepStatus | None = None) -> StepStatus:
    allowed = STEP_TRANSITIONS[step.status].get(type(entry), ())
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
    if entry.attempt is not None and entry.attempt != invocation.attempts:
        raise IllegalEntry(f"{entry.kind} {entry.attempt} for {step.name}:{phase} at {invocation.attempts}")
    return invocation


def _off_wire(step: StepState, phase: Phase, entry: Entry) -> InvocationState:
    """Return the invocation, which must have no open attempt: none is forgotten on the wire."""
    invocation = step.invocation(phase)
    if invocation.open is not None:
        raise IllegalEntry(f"{entry.kind} for {step.name}:{phase}, which has an open attempt")
    return invocation


def _after_attempt(step: StepState, entry: Any, invocation: InvocationState) -> StepState:
    """Return the step with the invocation of the entry's phase, its status by the table."""
    if entry.phase == "action":
        return replace(step, status=_action_status(step, entry), action=invocation)
    return replace(step, undo_status=_undo_status(step, entry), undo=invocation)


def _invoked(step: StepState, entry: e.Invoked) -> StepState:
    before = _off_wire(step, entry.phase, entry)
    again = before.deferred_until is not None and entry.attempt == before.attempts
    if entry.attempt != before.attempts + (0 if again else 1):
        raise IllegalEntry(f"attempt {entry.attempt} of {step.name}:{entry.phase} after {before.attempts}")
    invocation = replace(
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
        return replace(step, started_at=step.started_at if step.started_at is not None else entry.at)
    return replace(step, undo_started_at=step.undo_started_at if step.undo_started_at is not None else entry.at)


def _withdrawn(step: StepState, entry: e.Withdrawn) -> StepState:
    before = _on_wire(step, entry.phase, entry)
    return _after_attempt(step, entry, replace(before, open=None, next_at=entry.at))


def _counted(invocation: InvocationState, **changes: Any) -> InvocationState:
    return replace(
        invocation,
        open=None,
        pending=None,
        deferred_until=None,
        tries=invocation.tries + 1,
        tries_ever=invocation.tries_ever + 1,
        **changes,
    )


def _not_executed(step: StepState, entry: e.AttemptNotExecuted) -> StepState:
    before = _on_wire(step, entry.phase, entry)
    failure = Failure(step=step.name, kind="unreachable", detail=entry.detail)
    return _after_attempt(step, entry, _counted(before, next_at=entry.next_at, failure=failure))


def _uncertain_attempt(step: StepState, entry: e.AttemptUncertain) -> StepState:
    promised = step.invocation(entry.phase)
    also = promised.pending is not None or promised.deferred_until is not None
    before = _on_wire(step, entry.phase, entry, also=also)
    failure = Failure(step=step.name, kind="uncertain", detail=entry.detail)
    changes = {"next_at": entry.next_at, "failure": failure, "doubt": True}
    if not entry.lost:
        return _after_attempt(step, entry, _counted(before, **changes))
    timeout = 0.0 if before.open is None else before.open.timeout
    lost = replace(before, open=None, deferred_until=None, hold_until=entry.at + timeout, **changes)
    return _after_attempt(step, entry, lost)


def _refused_attempt(step: StepState, entry: e.AttemptRefused) -> StepState:
    # A refusal may come by callback or poll while none is open: after a 202, or between two attempts.
    before = _on_wire(step, entry.phase, entry, also=True)
    failure = Failure(step=step.name, kind="refused", detail=entry.detail)
    changes = {"next_at": entry.next_at, "failure": failure, "callback": entry.callback}
    return _after_attempt(step, entry, _counted(before, refusals=before.refusals + 1, **changes))


def _promised(step: StepState, entry: e.AttemptPending) -> StepState:
    before = _on_wire(step, entry.phase, entry)
    pending = Pending(since=entry.at, until=entry.until, location=entry.location)
    invocation = replace(before, open=None, pending=pending, deferred_until=None, next_at=None)
    return _after_attempt(step, entry, invocation)


def _deferred(step: StepState, entry: e.AttemptDeferred) -> StepState:
    before = _on_wire(step, entry.phase, entry)
    invocation = replace(before, open=None, next_at=entry.next_at, deferred_until=entry.until)
    return _after_attempt(step, entry, invocation)


def _child_started(step: StepState, entry: e.ChildStarted) -> StepState:
    before = _on_wire(step, entry.phase, entry)
    return _after_attempt(step, entry, replace(before, open=None, child=entry.child))


def _task(step: StepState, entry: e.TaskTaken | e.TaskExtended) -> StepState:
    before = _on_wire(step, entry.phase, entry)
    assert before.open is not None  # noqa: S101 - _on_wire has raised otherwise
    return _after_attempt(step, entry, replace(before, open=replace(before.open, lease_until=entry.until)))


def _settled(step: StepState, entry: Entry, status: StepStatus, **changes: Any) -> StepState:
    action = replace(step.action, open=None, pending=None, next_at=None, deferred_until=None)
    started = step.started_at if step.started_at is not None else entry.at
    kept: Changes = {"status": status, "action": action, "until": None, "started_at": started, "ended_at": entry.at}
    return replace(step, **kept | changes)


def _skipped(step: StepState, entry: e.StepSkipped) -> StepState:
    return replace(step, status=_action_status(step, entry), ended_at=entry.at)


def _expanded(step: StepState, entry: e.StepExpanded) -> StepState:
    return replace(step, status=_action_status(step, entry), count=entry.count, started_at=entry.at)


def _succeeded(step: StepState, entry: e.StepSucceeded) -> StepState:
    _on_wire(step, "action", entry, also=True)
    failure = Failure(step=step.name, kind="output", detail=", ".join(entry.missing)) if entry.missing else None
    if entry.oversized:
        failure = Failure(step=step.name, kind="size", detail="its output is over the limit")
    done = _settled(
        step, entry, _action_status(step, entry),
        output=entry.output, missing=entry.missing, oversized=entry.oversized, failure=failure, parked=False,
    )  # fmt: skip
    return replace(done, action=replace(done.action, callback=entry.callback))


def _refused(step: StepState, entry: e.StepRefused) -> StepState:
    _off_wire(step, "action", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    status = _action_status(step, entry)
    return _settled(step, entry, status, tolerated=entry.tolerated, failure=failure, parked=False)


def _uncertain(step: StepState, entry: e.StepUncertain) -> StepState:
    _off_wire(step, "action", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    return _settled(step, entry, _action_status(step, entry), failure=failure)


def _parked_step(step: StepState, entry: e.StepParked) -> StepState:
    _off_wire(step, "action", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    status = _action_status(step, entry, StepStatus(entry.status))
    return _settled(step, entry, status, parked=True, failure=failure)


def _undone(step: StepState, entry: e.CompensationUndone) -> StepState:
    before = _on_wire(step, "compensation", entry, also=True)
    undo = replace(before, open=None, pending=None, next_at=None, deferred_until=None, callback=entry.callback)
    started = step.undo_started_at if step.undo_started_at is not None else entry.at
    return replace(
        step,
        undo_status=_undo_status(step, entry),
        undo=undo,
        undo_started_at=started,
        undo_ended_at=entry.at,
        undo_failure=None,
    )


def _undo_failed(step: StepState, entry: e.CompensationFailed) -> StepState:
    before = _off_wire(step, "compensation", entry)
    failure = Failure(step=step.name, kind=entry.cause, detail=entry.detail)
    undo = replace(before, pending=None, next_at=None, deferred_until=None)
    return replace(step, undo_status=_undo_status(step, entry), undo=undo, undo_failure=failure)


def _until(step: StepState, entry: e.WaitBegan | e.SignalAwaited) -> StepState:
    return replace(step, status=_action_status(step, entry), until=entry.until, started_at=entry.at)


# --------------------------------------------------------------------------- commands on steps


def _budget(invocation: InvocationState, at: float) -> InvocationState:
    return replace(invocation, tries=0, refusals=0, budget_at=None, next_at=at)


def _retry_action(step: StepState, entry: e.RetryCommanded) -> StepState:
    before = _off_wire(step, "action", entry)
    # What was never sent is evaluated anew; what was sent keeps its key, its bytes and its doubt.
    wanted = StepStatus.WAITING if before.attempts else StepStatus.PENDING
    status = _action_status(step, entry, wanted)
    action = _budget(before, entry.at) if before.attempts else before
    return replace(step, status=status, action=action, parked=False, ended_at=None, failure=None)


def _retry_undo(step: StepState, entry: e.RetryCommanded) -> StepState:
    before = _off_wire(step, "compensation", entry)
    return replace(step, undo_status=_undo_status(step, entry), undo=_budget(before, entry.at), undo_failure=None)


def _skip(step: StepState, entry: e.SkipCommanded) -> StepState:
    _off_wire(step, entry.phase, entry)
    if entry.phase == "compensation":
        return replace(step, undo_status=_undo_status(step, entry), undo_ended_at=entry.at)
    return _settled(step, entry, _action_status(step, entry), parked=False)


def _resolve(step: StepState, entry: e.ResolveCommanded) -> StepState:
    _off_wire(step, entry.phase, entry)
    if entry.phase == "compensation":
        return replace(step, undo_status=_undo_status(step, entry), undo_ended_at=entry.at, undo_failure=None)
    status = _action_status(step, entry, StepStatus(entry.outcome))
    failure = None
    if status is StepStatus.REFUSED:
        failure = Failure(step=step.name, kind="refused", detail=entry.reason or "resolved by a person")
    done = _settled(
        step, entry, status,
        output=entry.output, oversized=False, tolerated=entry.tolerated, parked=entry.parked, failure=failure,
    )  # fmt: skip
    return replace(done, action=replace(done.action, doubt=False))


def _late_answer(state: SagaState, entry: e.LateAnswer) -> Changes:
    step = state.steps.get(entry.step)
    if step is None or entry.attempt is None or step.invocation(entry.phase).open is None:
        return {}
    # Only after an end: elsewhere an open attempt is closed by its outcome.
    if not state.ended:
        raise IllegalEntry(f"late_answer for {entry.step}:{entry.phase}, which has an open attempt")
    closed = replace(step.invocation(entry.phase), open=None)
    changed = replace(step, action=closed) if entry.phase == "action" else replace(step, undo=closed)
    return {"steps": {**state.steps, entry.step: changed}}


def _consuming(apply: Callable[[StepState, Any], StepState]) -> Callable[[SagaState, Any], Changes]:
    """Apply to the step, and take the signal it consumed out of its queue."""
    change = _step(apply)

    def consume(state: SagaState, entry: Any) -> Changes:
        changes = change(state, entry)
        if entry.signal is not None:
            kept = {
                name: tuple(signal for signal in queue if signal.message != entry.signal)
                for name, queue in state.signals.items()
            }
            changes["signals"] = kept
        return changes

    return consume


_APPLY: Mapping[type[Entry], Callable[[SagaState, Any], Changes]] = {
    e.TurnedBackward: _turned,
    e.SagaParked: _parked,
    e.SagaMarkedLate: _late,
    e.SagaCompleted: _completed,
    e.SagaCompensated: _ended,
    e.SagaAbandoned: _ended,
    e.SagaReopened: _reopened,
    e.SagaPaused: _paused,
    e.SagaResumed: _unpaused,
    e.SagaCancelled: _cancelled,
    e.RetryCommanded: _retried,
    e.SkipCommanded: _step(_skip),
    e.ResolveCommanded: _step(_resolve),
    e.CommandUnchanged: _nothing,
    e.CommandRefused: _nothing,
    e.Invoked: _step(_invoked),
    e.Withdrawn: _step(_withdrawn),
    e.AttemptNotExecuted: _step(_not_executed),
    e.AttemptUncertain: _step(_uncertain_attempt),
    e.AttemptRefused: _step(_refused_attempt),
    e.AttemptPending: _step(_promised),
    e.AttemptDeferred: _step(_deferred),
    e.LateAnswer: _late_answer,
    e.StepSkipped: _step(_skipped),
    e.StepExpanded: _step(_expanded),
    e.StepSucceeded: _consuming(_succeeded),
    e.StepRefused: _consuming(_refused),
    e.StepUncertain: _step(_uncertain),
    e.StepParked: _consuming(_parked_step),
    e.CompensationUndone: _step(_undone),
    e.CompensationFailed: _step(_undo_failed),
    e.WaitBegan: _step(_until),
    e.SignalAwaited: _step(_until),
    e.SignalReceived: _signal,
    e.ChildStarted: _step(_child_started),
    e.TaskTaken: _step(_task),
    e.TaskExtended: _step(_task),
}
