"""Forward recovery: what follows, step by step, until every step is done or one is not to be had."""

from __future__ import annotations

from collections.abc import Iterator

from saga.core import entries as e
from saga.core.case import case
from saga.core.conclusions import conclusion, refusal, step_output, success
from saga.core.entries import Entry
from saga.core.entries.base import Cause
from saga.core.requests import scope
from saga.core.settlement import timed_out
from saga.core.state import Failure, SagaState, StepState, step_name
from saga.core.statuses import StepStatus
from saga.core.timers import deadline, pivot_passed
from saga.language.durations import parse_duration, parse_time
from saga.language.expressions import NothingFound, evaluate, evaluate_members, truth
from saga.language.fields import Phase
from saga.language.model import SagaDefinition, Signal, Step

#: Instances a ``for_each`` may have.
INSTANCE_LIMIT = 1000


def facts(definition: SagaDefinition, state: SagaState, now: float) -> list[Entry]:
    """Return the next layer of what is true by now in a saga that goes forward; empty when nothing is new."""
    found = _progress(definition, state, now)
    if found:
        return found
    if turned := _turned(definition, state, now):
        return [turned]
    found = _beginnings(definition, state, now)
    if found:
        return found
    return _ending(definition, state, now)


def due(definition: SagaDefinition, state: SagaState, now: float) -> Iterator[tuple[str, Phase]]:
    """Yield every action of which an attempt is due."""
    if state.start_at is not None and now < state.start_at:
        return
    for step in definition.steps:
        if state.step(step.name).settled or step.kind not in _INVOKED:
            continue
        for unit in state.units(step.name):
            if _retry_due(unit, now):
                yield unit.name, "action"
        for name in _beginning(definition, state, step):
            yield name, "action"


#: Kinds of step that send something; the others only wait.
_INVOKED = ("action", "worker", "saga")
_AT_WORK = (StepStatus.INVOKING, StepStatus.WAITING)


def _retry_due(unit: StepState, now: float) -> bool:
    action = unit.action
    return unit.status is StepStatus.WAITING and action.next_at is not None and action.next_at <= now


def _beginning(definition: SagaDefinition, state: SagaState, step: Step) -> list[str]:
    """Return what may begin now: the step itself once it is ready, or as many instances as there is room for."""
    shown = state.step(step.name)
    if shown.status is StepStatus.PENDING:
        return [step.name] if _ready(definition, state, step) else []
    if shown.count is None or shown.settled:
        return []
    units = state.units(step.name)
    if any(unit.settled and not unit.satisfied for unit in units):
        return []
    room = step.max_parallel - sum(unit.status in _AT_WORK for unit in units)
    return [unit.name for unit in units if unit.status is StepStatus.PENDING][: max(0, room)]


def _ready(definition: SagaDefinition, state: SagaState, step: Step) -> bool:
    before = [state.step(name) for name in step.after]
    if not all(shown.satisfied for shown in before):
        return False
    if any(shown.status is StepStatus.SKIPPED for shown in before):
        # A person may skip a step before its turn, so that it alone does not say that its turn has come.
        return all(state.step(name).satisfied for name in definition.graph.upstream(step.name))
    return True


# what is under way


def _progress(definition: SagaDefinition, state: SagaState, now: float) -> list[Entry]:
    found: list[Entry] = []
    for step in definition.steps:
        shown = state.step(step.name)
        if shown.settled or shown.status is StepStatus.PENDING:
            continue
        for unit in state.units(step.name):
            found += progress(definition, state, unit, now)
            if found and step.kind == "signal":
                # One signal for each waiting step: the next one looks at the queue as it is after this.
                return found
        if shown.count is not None:
            found += gathered(definition, state, step, now)
    return found


def progress(definition: SagaDefinition, state: SagaState, unit: StepState, now: float) -> list[Entry]:
    """Return what time or a signal has settled for an action that is under way."""
    over = timed_out(definition, state, unit, "action", now)
    if over or unit.status is not StepStatus.WAITING:
        return list(over)
    step = definition.step(step_name(unit.name))
    if step.signal is not None:
        return _signalled(definition, state, step.signal, unit, now)
    if step.kind == "wait" and unit.until is not None and unit.until <= now:
        return _waited(definition, state, unit.name, now)
    return []


def _waited(definition: SagaDefinition, state: SagaState, unit: str, now: float) -> list[Entry]:
    it = case(definition, state, unit, "action", now)
    output, missing = step_output(it, {"status": None, "headers": {}, "body": None})
    return list(success(it, output, missing, now))


def _signalled(
    definition: SagaDefinition, state: SagaState, signal: Signal, unit: StepState, now: float
) -> list[Entry]:
    it = case(definition, state, unit.name, "action", now)
    queue = state.signals.get(signal.name, ())
    if queue:
        first = queue[0]
        response = {"status": None, "headers": {}, "body": first.payload}
        if signal.refused_when is not None and truth(signal.refused_when, {"response": response}):
            return [refusal(it, now, "refused", "refused_when is true of the signal", signal=first.message)]
        output, missing = step_output(it, response)
        return list(success(it, output, missing, now, signal=first.message))
    if unit.until is not None and unit.until <= now:
        return [refusal(it, now, "signal-timeout", f"no signal {signal.name} came in time")]
    return []


def gathered(definition: SagaDefinition, state: SagaState, step: Step, now: float) -> list[Entry]:
    """Return what follows for a ``for_each`` step once its instances have settled; nothing before."""
    units = state.units(step.name)
    held = state.direction == "forward" and any(unit.parked for unit in units)
    if held or any(unit.status in _AT_WORK for unit in units):
        return []
    it = case(definition, state, step.name, "action", now)
    failed = next((unit for unit in units if unit.settled and not unit.satisfied), None)
    if failed is not None:
        doubt = any(unit.may_have_happened and not unit.satisfied for unit in units)
        failure = failed.failure or Failure(kind="refused")
        return [conclusion(it, now, failure.kind, f"{failed.name}: {failure.detail}", doubt=doubt)]
    if any(unit.status is StepStatus.PENDING for unit in units):
        if state.direction == "forward":
            return []
        return [conclusion(it, now, "cancelled", "not all of its instances were reached", doubt=False)]
    output = [unit.output for unit in units]
    missing = tuple(f"/{index}{pointer}" for index, unit in enumerate(units) for pointer in unit.missing)
    return list(success(it, output, missing, now))


# turning back


def _turned(definition: SagaDefinition, state: SagaState, now: float) -> Entry | None:
    if pivot_passed(definition, state):
        return None
    for shown in state.steps.values():
        if shown.settled and not shown.satisfied and not shown.parked:
            failure = shown.failure or Failure(kind="refused")
            cause: Cause = "size" if shown.oversized else failure.kind
            return e.TurnedBackward(at=now, step=shown.name, cause=cause, detail=failure.detail)
    until = deadline(definition, state)
    if until is not None and now >= until:
        return e.TurnedBackward(at=now, cause="deadline", detail="the deadline has passed")
    return None


# beginnings


def _beginnings(definition: SagaDefinition, state: SagaState, now: float) -> list[Entry]:
    found: list[Entry] = []
    for step in definition.steps:
        if step.kind in _INVOKED and step.when is None and step.for_each is None:
            continue  # it begins with its first attempt
        for unit in _beginning(definition, state, step):
            found += _begin(definition, state, step, unit, now)
    return found


def _begin(definition: SagaDefinition, state: SagaState, step: Step, unit: str, now: float) -> list[Entry]:
    """Return what a unit that has become ready begins with; nothing for one that is to be invoked."""
    if unit == step.name:
        if step.when is not None and not truth(step.when, scope(definition, state, unit)):
            return [e.StepSkipped(at=now, step=unit)]
        if step.for_each is not None:
            return _expand(definition, state, step, now)
    if step.kind == "wait":
        return _begin_wait(definition, state, step, unit, now)
    if step.signal is not None:
        timeout = step.signal.timeout
        return [e.SignalAwaited(at=now, step=unit, until=None if timeout is None else now + timeout)]
    if step.kind == "fail":
        return [refusal(case(definition, state, unit, "action", now), now, "refused", step.fail or "")]
    return []


def _expand(definition: SagaDefinition, state: SagaState, step: Step, now: float) -> list[Entry]:
    it = case(definition, state, step.name, "action", now)
    try:
        items = evaluate(step.for_each, scope(definition, state, step.name))
    except NothingFound as nothing:
        return [refusal(it, now, "template", f"nothing was found for {nothing.expression}")]
    if not isinstance(items, list):
        return [refusal(it, now, "template", "for_each is not an array")]
    if len(items) > INSTANCE_LIMIT:
        return [refusal(it, now, "size", f"for_each has {len(items)} items, more than {INSTANCE_LIMIT}")]
    if not items:
        return list(success(it, [], (), now))
    return [e.StepExpanded(at=now, step=step.name, count=len(items))]


def _begin_wait(
    definition: SagaDefinition, state: SagaState, step: Step, unit: str, now: float
) -> list[Entry]:
    try:
        until = wait_until(evaluate(step.wait, scope(definition, state, unit)), now)
    except (NothingFound, ValueError) as wrong:
        it = case(definition, state, unit, "action", now)
        return [refusal(it, now, "template", f"not a duration or a time: {wrong}")]
    return [e.WaitBegan(at=now, step=unit, until=until)]


def wait_until(value: object, now: float) -> float:
    """Return when a wait ends: after a duration such as ``30m``, or at an RFC 3339 time; raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("text is needed")  # noqa: TRY004 - one error for every wrong value
    try:
        return now + parse_duration(value)
    except ValueError:
        return parse_time(value)


# the end


def _ending(definition: SagaDefinition, state: SagaState, now: float) -> list[Entry]:
    if all(state.step(step.name).satisfied for step in definition.steps):
        return [_completed(definition, state, now)]
    if (
        state.deadline is not None
        and now >= state.deadline
        and pivot_passed(definition, state)
        and not state.late
    ):
        return [e.SagaMarkedLate(at=now, detail="the deadline passed after the pivot")]
    parked = [unit for unit in state.steps.values() if unit.parked]
    if parked and not any(_can_move(definition, state, step) for step in definition.steps):
        failure = parked[0].failure or Failure(kind="internal")
        return [
            e.SagaParked(
                at=now, step=parked[0].name, phase="action", cause=failure.kind, detail=failure.detail
            )
        ]
    return []


def _can_move(definition: SagaDefinition, state: SagaState, step: Step) -> bool:
    if state.step(step.name).settled:
        return False
    # Between two layers of facts a step may be at work whose instances have all settled.
    under_way = any(unit.status in _AT_WORK for unit in state.units(step.name))
    return under_way or bool(_beginning(definition, state, step))


def _completed(definition: SagaDefinition, state: SagaState, now: float) -> Entry:
    if not definition.has_output:
        return e.SagaCompleted(at=now)
    output, missing = evaluate_members(definition.output, scope(definition, state))
    return e.SagaCompleted(at=now, output=output, missing=missing)
