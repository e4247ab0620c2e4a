"""Backward recovery: what is under way settles, then what is owed is undone, in reverse dependency order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compensations.plan import CompensationPlan, Footprint, plan_compensation
from compensations.policy import Effect, Undo, owed, standing
from saga.core import entries as e
from saga.core.case import case
from saga.core.entries import Entry
from saga.core.entries.base import Cause
from saga.core.forward import gathered, progress
from saga.core.settlement import given_up, timed_out
from saga.core.state import InvocationState, SagaState, StepState, step_name
from saga.core.statuses import StepStatus, UndoStatus
from saga.language.fields import Phase
from saga.language.model import SagaDefinition, Step

_EFFECTS = {
    StepStatus.PENDING: Effect.NEVER_INVOKED,
    StepStatus.INVOKING: Effect.OPEN,
    StepStatus.WAITING: Effect.OPEN,
    StepStatus.SUCCEEDED: Effect.SUCCEEDED,
    StepStatus.REFUSED: Effect.REFUSED,
    StepStatus.UNCERTAIN: Effect.UNCERTAIN,
    StepStatus.SKIPPED: Effect.SKIPPED,
}
_UNDOS = {
    UndoStatus.PENDING: Undo.DUE,
    UndoStatus.INVOKING: Undo.MOVING,
    UndoStatus.WAITING: Undo.MOVING,
    UndoStatus.UNDONE: Undo.UNDONE,
    UndoStatus.RESOLVED: Undo.UNDONE,
    UndoStatus.SKIPPED: Undo.SKIPPED,
    UndoStatus.FAILED: Undo.FAILED,
}


def footprints(definition: SagaDefinition, state: SagaState) -> list[Footprint]:
    """Return what each action, and each instance by itself, may have left behind."""
    return [
        Footprint(
            name=unit.name,
            step=step.name,
            after=step.after,
            effect=_effect(step, unit),
            undo=_UNDOS[unit.undo_status],
            compensatable=step.compensatable,
        )
        for step in definition.steps
        for unit in state.units(step.name)
    ]


def _effect(step: Step, unit: StepState) -> Effect:
    # Instances leave effects, never the step they are instances of; an empty array has none.
    if step.for_each is not None and unit.name == step.name:
        return Effect.NEVER_INVOKED
    return _EFFECTS[unit.status]


def undo_plan(definition: SagaDefinition, state: SagaState) -> CompensationPlan:
    """Return what is to be undone if the saga goes backward now, in which waves, and what is not and why."""
    return plan_compensation(footprints(definition, state))


def facts(definition: SagaDefinition, state: SagaState, now: float) -> list[Entry]:
    """Return the next layer of what is true by now in a saga that goes backward; empty when nothing is new."""
    found: list[Entry] = []
    for step in definition.steps:
        shown = state.step(step.name)
        for unit in state.units(step.name):
            found += _settling(definition, state, step, unit, now)
            found += timed_out(definition, state, unit, "compensation", now)
        if shown.count is not None and shown.status is StepStatus.INVOKING and not found:
            found += gathered(definition, state, step, now)
    return found or _ending(definition, state, now)


def _settling(
    definition: SagaDefinition, state: SagaState, step: Step, unit: StepState, now: float
) -> list[Entry]:
    """Return how an action ends that is under way and is not going to be sent again."""
    if unit.status is StepStatus.INVOKING:
        return _withdrawn_task(unit, now) or progress(definition, state, unit, now)
    if unit.status is not StepStatus.WAITING:
        return []
    action = unit.action
    if action.pending is not None:
        return list(timed_out(definition, state, unit, "action", now))
    if step.kind in ("wait", "signal"):
        return [e.StepRefused(at=now, step=unit.name, cause=_because(state), detail="the saga goes backward")]
    if action.deferred_until is not None:
        return list(given_up(case(definition, state, unit.name, "action", now), now))
    return [_last_word(unit, now)]


def _because(state: SagaState) -> Cause:
    return "deadline" if state.failure is not None and state.failure.kind == "deadline" else "cancelled"


def _withdrawn_task(unit: StepState, now: float) -> list[Entry]:
    """Return that a task no worker has taken is withdrawn; a taken one is a call on the wire."""
    offered = unit.action.open
    if offered is None or offered.via != "worker" or offered.lease_until is not None:
        return []
    return [e.Withdrawn(at=now, step=unit.name, phase="action", attempt=unit.action.attempts)]


def _last_word(unit: StepState, now: float) -> Entry:
    action = unit.action
    detail = action.failure.detail if action.failure is not None else "withdrawn"
    if action.doubt or action.child is not None:
        return e.StepUncertain(at=now, step=unit.name, detail=detail)
    return e.StepRefused(at=now, step=unit.name, cause="unreachable", detail=detail)


def due(definition: SagaDefinition, state: SagaState, now: float) -> Iterator[tuple[str, Phase]]:
    """Yield every compensation of which an attempt is due."""
    at_work: dict[str, int] = {}
    for unit in state.steps.values():
        if unit.undo_status in (UndoStatus.INVOKING, UndoStatus.WAITING):
            at_work[step_name(unit.name)] = at_work.get(step_name(unit.name), 0) + 1
            if _retry_due(unit.undo, now) and unit.undo_status is UndoStatus.WAITING:
                yield unit.name, "compensation"
    for name in undo_plan(definition, state).next:
        unit, step = state.step(name), definition.step(step_name(name))
        if unit.undo_status is not UndoStatus.PENDING or not unit.settled or _held(unit, now):
            continue
        if step.for_each is None or at_work.get(step.name, 0) < step.max_parallel:
            at_work[step.name] = at_work.get(step.name, 0) + 1
            yield name, "compensation"


def _retry_due(undo: InvocationState, now: float) -> bool:
    return undo.pending is None and undo.next_at is not None and undo.next_at <= now


def _held(unit: StepState, now: float) -> bool:
    return (unit.action.quiet_at or now) > now


def _ending(definition: SagaDefinition, state: SagaState, now: float) -> list[Entry]:
    left = footprints(definition, state)
    owing = [each for each in left if owed(each.effect, compensatable=each.compensatable)]
    under_way = any(_under_way(unit) for unit in state.steps.values())
    plan = plan_compensation(left)
    startable = any(state.step(name).undo_status is UndoStatus.PENDING for name in plan.next)
    ends: dict[str, Any] = {"compensated": e.SagaCompensated, "abandoned": e.SagaAbandoned}
    stands = standing((footprint.undo for footprint in owing), moving=under_way or startable)
    if stands in ends:
        return [ends[stands](at=now)]
    return [_parked(state, now)] if stands == "parked" else []


def _under_way(unit: StepState) -> bool:
    if unit.status in (StepStatus.INVOKING, StepStatus.WAITING):
        return True
    return unit.undo_status in (UndoStatus.INVOKING, UndoStatus.WAITING)


def _parked(state: SagaState, now: float) -> Entry:
    failed = [unit for unit in state.steps.values() if unit.undo_status is UndoStatus.FAILED]
    failure = failed[0].undo_failure
    names = ", ".join(unit.name for unit in failed)
    return e.SagaParked(
        at=now,
        step=failed[0].name,
        phase="compensation",
        cause=failure.kind if failure is not None else "internal",
        detail=f"undoing is exhausted for {names}" + (f": {failure.detail}" if failure is not None else ""),
    )
