"""What people and programs are shown of a saga: JSON-ready values, with what is sensitive masked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from pydantic_core import from_json, to_json

from saga.core.encoding import as_dict
from saga.core.entries import Entry
from saga.core.masking import Veil, masked, sensitive_in, veil
from saga.core.state import Failure, InvocationState, SagaState, StepState, instance_name, step_name
from saga.core.statuses import UNDO_OVER, Status, UndoStatus
from saga.core.timers import pivot_passed
from saga.core.times import timestamp
from saga.language.model import SagaDefinition, Step
from saga.ports.stored import DAMAGED, Summary

#: Members of entries that hold times; shown as RFC 3339.
TIMES = frozenset({"at", "next_at", "until", "start_at", "deadline", "due"})
#: Members of entries that hold what clients, participants and persons wrote.
_TEXTS = frozenset({"labels", "output", "payload", "detail", "reason"})


def when(seconds: float | None) -> str | None:
    """Return the time as RFC 3339, None for none."""
    return None if seconds is None else timestamp(seconds)


# the saga


def progress(definition: SagaDefinition, state: SagaState) -> dict[str, int]:
    """Return how many of the steps are over, going forward; going backward, how many compensations are."""
    if state.direction == "backward":
        owed = [unit for unit in state.steps.values() if _owes(definition, unit)]
        return {"done": sum(unit.undo_status in UNDO_OVER for unit in owed), "total": len(owed)}
    done = sum(state.step(step.name).satisfied for step in definition.steps)
    return {"done": done, "total": len(definition.steps)}


def _owes(definition: SagaDefinition, unit: StepState) -> bool:
    """Return whether the unit has something to undo, should the saga go backward."""
    if not unit.may_have_happened or unit.count is not None:
        return False
    return definition.step(step_name(unit.name)).compensatable


def failure(state: SagaState) -> Failure | None:
    """Return why the saga is where it is: why it is parked, else why it turned, or what its end lacks."""
    return state.parking if state.parking is not None else state.failure


def _error(of: Failure | None) -> dict[str, Any] | None:
    return None if of is None else {"step": of.step, "kind": of.kind, "detail": of.detail}


def _step_error(of: Failure | None) -> dict[str, Any] | None:
    return None if of is None else {"kind": of.kind, "detail": of.detail}


def saga(definition: SagaDefinition, state: SagaState, *, owner: str | None, fence: int) -> dict[str, Any]:
    """Return the whole saga as the API shows it."""
    over = veil(definition, state).over
    return {
        "id": state.id,
        "definition": {"name": state.definition, "version": state.version},
        "status": state.status.value,
        "direction": state.direction,
        "late": state.late,
        "progress": progress(definition, state),
        "input": masked(state.input, definition.sensitive),
        "output": over(state.output),
        "error": over(_error(failure(state))),
        "labels": over(dict(state.labels)),
        "steps": list(_steps(definition, state, over)),
        "started_at": when(state.started_at),
        "updated_at": when(state.updated_at),
        "ended_at": when(state.ended_at),
        "next_attempt_at": when(next_attempt(state)),
        "owner": owner,
        "fence": fence,
        "trace_id": state.trace.trace_id if state.trace is not None else None,
        "parent": state.parent,
    }


Over: TypeAlias = Callable[[Any], Any]


def _steps(definition: SagaDefinition, state: SagaState, over: Over) -> Iterable[dict[str, Any]]:
    # Past the pivot and at a good end nothing is owed any more; an abandoned saga has left undone what it owed.
    passed = state.status is Status.COMPLETED or pivot_passed(definition, state)
    forgiven = state.direction == "forward" and passed
    for step in definition.steps:
        for unit in _with_instances(step, state):
            owed = not forgiven and _owes(definition, unit)
            undoing = owed or unit.undo_status is not UndoStatus.PENDING
            yield _step(step, unit, over, undoing=undoing)


def _with_instances(step: Step, state: SagaState) -> Iterable[StepState]:
    shown = state.step(step.name)
    yield shown
    yield from (state.step(instance_name(step.name, index)) for index in range(shown.count or 0))


def _step(step: Step, unit: StepState, over: Over, *, undoing: bool) -> dict[str, Any]:
    """Return a step, with its compensation if it is owed, under way or over."""
    failed = unit.failure if unit.settled else unit.action.failure
    return {
        "name": unit.name,
        "status": unit.status.value,
        "attempts": unit.action.attempts,
        "output": over(
            masked(unit.output, sensitive_in(step, unit.count)) if step.sensitive else unit.output
        ),
        "error": over(_step_error(failed)),
        "started_at": when(unit.started_at),
        "ended_at": when(unit.ended_at),
        "next_attempt_at": when(_next_attempt(unit)),
        "compensation": _undo(unit, over) if undoing else None,
    }


def next_attempt(state: SagaState) -> float | None:
    """Return when the saga is due next by time alone: a step's next attempt, or its first."""
    if state.ended:
        return None
    if not state.steps:
        return state.start_at
    times = (_next_attempt(unit) for unit in state.steps.values())
    return min((at for at in times if at is not None), default=None)


def _next_attempt(unit: StepState) -> float | None:
    invocation: InvocationState = unit.action if not unit.settled else unit.undo
    return invocation.next_at if invocation.next_at is not None else unit.until


def _undo(unit: StepState, over: Over) -> dict[str, Any]:
    failed = unit.undo_failure if unit.undo_failure is not None else unit.undo.failure
    done = unit.undo_status in (UndoStatus.UNDONE, UndoStatus.RESOLVED)
    return {
        "status": unit.undo_status.value,
        "attempts": unit.undo.attempts,
        "error": None if done else over(_step_error(failed)),
        "started_at": when(unit.undo_started_at),
        "ended_at": when(unit.undo_ended_at),
    }


# lists and journals


def summary(definition: SagaDefinition, state: SagaState) -> Summary:
    """Return what lists show and searches look at."""
    over = veil(definition, state).over
    return Summary(
        status=state.status.value,
        late=state.late,
        definition=state.definition,
        version=state.version,
        started_at=state.started_at,
        updated_at=state.updated_at,
        ended_at=state.ended_at,
        labels=state.labels,
        body=to_json(
            {
                "direction": state.direction,
                "progress": progress(definition, state),
                "error": over(_error(failure(state))),
                "labels": over(dict(state.labels)),
                "parent": state.parent,
                "trace_id": state.trace.trace_id if state.trace is not None else None,
            }
        ),
    )


def listed(known: Summary) -> dict[str, Any]:
    """Return what lists show of a saga beside its columns; an error where that is not what was written."""
    if known.body != DAMAGED:
        shown: dict[str, Any] = from_json(known.body)
        return shown
    back = known.status in (Status.COMPENSATING.value, Status.COMPENSATED.value)
    detail = "what lists show of it is damaged on the disk or in the file; its journal may be whole"
    return {
        "direction": "backward" if back else "forward",
        "progress": {"done": 0, "total": 0},
        "error": {"step": None, "kind": "internal", "detail": detail},
        "labels": {},
        "parent": None,
        "trace_id": None,
    }


def damaged(known: Summary, reason: str, at: float) -> Summary:
    """Return what lists show of a saga that cannot be run: what is known of it, parked for that reason."""
    error = {"step": None, "kind": "internal", "detail": reason}
    body = listed(known) | {"error": error}
    return replace(
        known, status=Status.PARKED.value, late=True, updated_at=at, ended_at=None, body=to_json(body)
    )


def journal(definition: SagaDefinition, state: SagaState, entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return every entry as the API shows it, ``{seq, at, kind, …}``; ``state`` is what they lead to."""
    hides = veil(definition, state)
    return [_entry(definition, hides, seq, entry) for seq, entry in enumerate(entries, start=1)]


def _entry(definition: SagaDefinition, hides: Veil, seq: int, entry: Entry) -> dict[str, Any]:
    shown = as_dict(entry)
    for name in TIMES & shown.keys():
        shown[name] = when(shown[name])
    shown.pop("size", None)
    if "input" in shown:
        shown["input"] = masked(shown["input"], definition.sensitive)
    if "output" in shown and "step" in shown:
        shown["output"] = masked(shown["output"], _sensitive_of(definition, shown["step"], shown["output"]))
    if "payload" in shown:
        shown["payload"] = masked(shown["payload"], _signal_sensitive(definition, shown["name"]))
    for name in _TEXTS & shown.keys():
        shown[name] = hides.over(shown[name])
    head = {"seq": seq, "at": shown.pop("at"), "kind": shown.pop("kind")}
    return head | shown


def _sensitive_of(definition: SagaDefinition, unit: str, output: Any) -> Iterable[str]:
    step = definition.step(step_name(unit))
    gathered = step.for_each is not None and unit == step.name and isinstance(output, list)
    return sensitive_in(step, len(output) if gathered else None)


def _signal_sensitive(definition: SagaDefinition, name: str) -> Iterable[str]:
    waiting: Mapping[str, Step] = {
        step.signal.name: step for step in definition.steps if step.signal is not None
    }
    step = waiting.get(name)
    # Of a signal that a template reshapes, nothing tells which part is sensitive: all of it is.
    if step is None or not step.sensitive:
        return ()
    return ("",) if step.has_output else step.sensitive
