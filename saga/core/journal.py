"""The fold of a journal into a state.

Nothing here knows a definition: an entry carries all that is needed to apply it. An entry that the tables of
:mod:`saga.core.transitions` do not allow raises :class:`~saga.errors.IllegalEntry` and leaves the state as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from saga.core import attempt_changes as attempts
from saga.core import entries as e
from saga.core import step_changes as steps
from saga.core.entries import Entry
from saga.core.state import Failure, SagaState, Signal, StepState, Trace, changed, shifted
from saga.core.statuses import Status
from saga.core.transitions import BY_DIRECTION, SAGA_TRANSITIONS
from saga.errors import IllegalEntry, UnreadableJournal

#: Bytes reckoned for an entry besides its payload.
ENTRY_ALLOWANCE = 200

Changes: TypeAlias = dict[str, Any]

# folding


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
        changes = _unparked(state, entry) | changes
    size = state.size + ENTRY_ALLOWANCE + getattr(entry, "size", 0) + len(getattr(entry, "detail", ""))
    kept: Changes = {"status": to, "seq": state.seq + 1, "size": size, "updated_at": entry.at}
    return changed(state, **(kept | changes))


def replay(entries: Iterable[Entry]) -> SagaState:
    """Return the state a whole journal tells.

    Raises :class:`~saga.errors.UnreadableJournal` when it is empty or an entry is illegal.
    """
    state: SagaState | None = None
    try:
        for entry in entries:
            state = evolve(state, entry)
    except IllegalEntry as error:
        raise UnreadableJournal(f"entry {1 if state is None else state.seq + 1}: {error}") from error
    if state is None:
        raise UnreadableJournal("the journal is empty")
    return state


def _started(entry: e.SagaStarted) -> SagaState:
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
        trace=Trace.begun(entry),
        parent=entry.parent,
        parent_step=entry.parent_step,
        rerun_of=entry.rerun_of,
    )


def _unparked(state: SagaState, entry: Entry) -> Changes:
    return {"deadline": _deadline(state, state.parked_at, entry.at), "parked_at": None, "parking": None}


def _deadline(state: SagaState, stood_since: float | None, now: float) -> float | None:
    """Return the deadline after it stood still; before ``start_at`` it has not begun to run."""
    if state.deadline is None or stood_since is None:
        return state.deadline
    return state.deadline + max(0.0, now - max(stood_since, state.start_at or stood_since))


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
        "deadline": _deadline(state, state.paused_at, entry.at),
        "steps": {name: shifted(step, seconds) for name, step in state.steps.items()},
    }


def _completed(_state: SagaState, entry: e.SagaCompleted) -> Changes:
    failure = Failure(kind="output", detail=", ".join(entry.missing)) if entry.missing else None
    return {"ended_at": entry.at, "output": entry.output, "missing": entry.missing, "failure": failure}


def _ended(_state: SagaState, entry: Entry) -> Changes:
    return {"ended_at": entry.at, "paused_at": None}


def _reopened(_state: SagaState, _entry: Entry) -> Changes:
    return {
        "ended_at": None,
        "direction": "backward",
        "failure": Failure(kind="cancelled", detail="by its parent"),
    }


def _late(_state: SagaState, _entry: Entry) -> Changes:
    return {"late": True}


def _signal(state: SagaState, entry: e.SignalReceived) -> Changes:
    queue = (*state.signals.get(entry.name, ()), Signal(message=entry.message, payload=entry.payload))
    return {"signals": {**state.signals, entry.name: queue}}


def _retried(state: SagaState, entry: e.RetryCommanded) -> Changes:
    after = dict(state.steps)
    for invocation in entry.invocations:
        unit, _, phase = invocation.rpartition(":")
        apply = steps.retry_action if phase == "action" else steps.retry_undo
        after[unit] = apply(after.get(unit) or StepState(name=unit), entry)
    return {"steps": after}


def _step(apply: Callable[[StepState, Any], StepState]) -> Callable[[SagaState, Any], Changes]:
    def change(state: SagaState, entry: Any) -> Changes:
        return {"steps": {**state.steps, entry.step: apply(state.step(entry.step), entry)}}

    return change


def _late_answer(state: SagaState, entry: e.LateAnswer) -> Changes:
    step = state.steps.get(entry.step)
    if step is None or entry.attempt != step.invocation(entry.phase).attempts:
        return {}
    # Only after an end: elsewhere an open attempt is closed by its outcome.
    if step.invocation(entry.phase).open is not None and not state.ended:
        raise IllegalEntry(f"late_answer for {entry.step}:{entry.phase}, which has an open attempt")
    closed = changed(step.invocation(entry.phase), open=None, wire=None)
    after = changed(step, action=closed) if entry.phase == "action" else changed(step, undo=closed)
    return {"steps": {**state.steps, entry.step: after}}


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
    e.SkipCommanded: _step(steps.skip),
    e.ResolveCommanded: _step(steps.resolve),
    e.CommandUnchanged: _nothing,
    e.CommandRefused: _nothing,
    e.Invoked: _step(attempts.invoked),
    e.Withdrawn: _step(attempts.withdrawn),
    e.AttemptNotExecuted: _step(attempts.not_executed),
    e.AttemptUncertain: _step(attempts.uncertain),
    e.AttemptRefused: _step(attempts.refused),
    e.AttemptPending: _step(attempts.promised),
    e.AttemptDeferred: _step(attempts.deferred),
    e.LateAnswer: _late_answer,
    e.StepSkipped: _step(steps.skipped),
    e.StepExpanded: _step(steps.expanded),
    e.StepSucceeded: _consuming(steps.succeeded),
    e.StepRefused: _consuming(steps.refused),
    e.StepUncertain: _step(steps.uncertain),
    e.StepParked: _consuming(steps.parked),
    e.CompensationUndone: _step(steps.undone),
    e.CompensationFailed: _step(steps.undo_failed),
    e.WaitBegan: _step(steps.until),
    e.SignalAwaited: _step(steps.until),
    e.SignalReceived: _signal,
    e.ChildStarted: _step(attempts.child_started),
    e.TaskTaken: _step(attempts.task),
    e.TaskExtended: _step(attempts.task),
}
