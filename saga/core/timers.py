"""When a saga is due by time alone."""

from __future__ import annotations

from collections.abc import Iterator

from saga.core.state import InvocationState, SagaState, StepState
from saga.core.statuses import Status
from saga.language.model import SagaDefinition


def pivot_passed(definition: SagaDefinition, state: SagaState) -> bool:
    """Return whether the saga only goes forward: its pivot has succeeded or was skipped."""
    if definition.pivot is None:
        return False
    return state.step(definition.pivot).status in ("succeeded", "skipped")


def pivot_invoked(definition: SagaDefinition, state: SagaState) -> bool:
    """Return whether the pivot may be taking effect: an attempt is open, promised, put off or in doubt."""
    if definition.pivot is None:
        return False
    step = state.step(definition.pivot)
    action = step.action
    if step.status in ("succeeded", "skipped", "refused"):
        return False
    on_its_way = action.open is not None or action.pending is not None or action.deferred_until is not None
    return on_its_way or action.doubt or action.child is not None


def deadline(definition: SagaDefinition, state: SagaState) -> float | None:
    """Return when backward recovery starts, None while or since the pivot forbids it."""
    if state.direction == "backward" or state.deadline is None:
        return None
    if pivot_passed(definition, state) or pivot_invoked(definition, state):
        return None
    return state.deadline


def wake_at(definition: SagaDefinition, state: SagaState, now: float) -> float | None:
    """Return when to look at the saga again, None when only a message or an answer moves it.

    What was due by now has been decided by now, so only what is still to come counts.
    """
    return min((at for at in _times(definition, state, now) if at > now), default=None)


def overdue(definition: SagaDefinition, state: SagaState) -> Iterator[tuple[float, str]]:
    """Yield when the saga, or a step that has begun, should have ended, and what is late then."""
    if state.due is not None:
        yield state.due, "it"
    for step in definition.steps:
        if step.due is not None:
            shown = state.step(step.name)
            if shown.started_at is not None and not shown.settled:
                yield shown.started_at + step.due, step.name


def _times(definition: SagaDefinition, state: SagaState, now: float) -> Iterator[float]:
    if not state.late:
        yield from (at for at, _ in overdue(definition, state))
    if state.status in (Status.PAUSED, Status.PARKED):
        return
    if state.direction == "forward":
        if state.start_at is not None and state.start_at > now:
            yield state.start_at
        if (until := deadline(definition, state)) is not None:
            yield until
        if pivot_passed(definition, state) and state.deadline is not None and not state.late:
            yield state.deadline
    for step in state.steps.values():
        yield from _step_times(step, state)


def _step_times(step: StepState, state: SagaState) -> Iterator[float]:
    if step.until is not None:
        yield step.until
    if not step.settled:
        yield from _invocation_times(step.action)
    if state.direction == "backward":
        yield from _invocation_times(step.undo)
        quiet_at = step.action.quiet_at
        if quiet_at is not None and step.may_have_happened and step.undo_status == "pending":
            yield quiet_at


def _invocation_times(invocation: InvocationState) -> Iterator[float]:
    if invocation.pending is not None:
        yield invocation.pending.until
    if invocation.open is not None:
        if invocation.open.lease_until is not None:
            yield invocation.open.lease_until
        return
    if invocation.next_at is not None:
        yield invocation.next_at
    if invocation.deferred_until is not None:
        yield invocation.deferred_until
