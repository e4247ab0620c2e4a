"""What people and programs are shown of a saga: JSON-ready values, with what is sensitive masked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import to_json

from saga.definition import SagaDefinition, Step
from saga.entries import Entry, as_dict
from saga.ports import Summary
from saga.requests import timestamp
from saga.state import (
    Failure,
    InvocationState,
    SagaState,
    Status,
    StepState,
    UndoStatus,
    instance_name,
    step_name,
)

MASK = "•••"

#: Members of entries that hold times; shown as RFC 3339.
_TIMES = frozenset({"at", "next_at", "until", "start_at", "deadline", "due"})


def when(seconds: float | None) -> str | None:
    """Return the time as RFC 3339, None for none."""
    return None if seconds is None else timestamp(seconds)


# --------------------------------------------------------------------------- masking


def masked(value: Any, pointers: Iterable[str]) -> Any:
    """Return the value with what the JSON pointers (RFC 6901) name replaced by a mask; a copy where needed."""
    for pointer in pointers:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        value = _masked(value, parts)
    return value


def _masked(value: Any, parts: list[str]) -> Any:
    if not parts:
        return MASK
    head, rest = parts[0], parts[1:]
    if isinstance(value, dict) and head in value:
        return {**value, head: _masked(value[head], rest)}
    if isinstance(value, list) and head.isascii() and head.isdigit() and int(head) < len(value):
        return [_masked(item, rest) if index == int(head) else item for index, item in enumerate(value)]
    return value


# --------------------------------------------------------------------------- the saga


def progress(definition: SagaDefinition, state: SagaState) -> dict[str, int]:
    """Return how many of the steps are over, going forward; going backward, how many compensations are."""
    shown = [state.step(step.name) for step in definition.steps]
    if state.direction == "backward":
        owed = [unit for unit in state.steps.values() if unit.may_have_happened and unit.count is None]
        over = (UndoStatus.UNDONE, UndoStatus.SKIPPED, UndoStatus.RESOLVED)
        return {"done": sum(unit.undo_status in over for unit in owed), "total": len(owed)}
    return {"done": sum(step.satisfied for step in shown), "total": len(shown)}


def failure(state: SagaState) -> Failure | None:
    """Return why the saga is where it is: why it is parked, else why it turned, or what its end lacks."""
    return state.parking if state.parking is not None else state.failure


def _error(of: Failure | None) -> dict[str, Any] | None:
    return None if of is None else {"step": of.step, "kind": of.kind, "detail": of.detail}


def _step_error(of: Failure | None) -> dict[str, Any] | None:
    return None if of is None else {"kind": of.kind, "detail": of.detail}


def saga(definition: SagaDefinition, state: SagaState, *, owner: str | None, fence: int) -> dict[str, Any]:
    """Return the whole saga as the API shows it."""
    error = failure(state)
    return {
        "id": state.id,
        "definition": {"name": state.definition, "version": state.version},
        "status": state.status.value,
        "direction": state.direction,
        "late": state.late,
        "progress": progress(definition, state),
        "input": masked(state.input, definition.sensitive),
        "output": state.output,
        "error": _error(error),
        "labels": dict(state.labels),
        "steps": [view for step in definition.steps for view in _steps(step, state)],
        "started_at": when(state.started_at),
        "updated_at": when(state.updated_at),
        "ended_at": when(state.ended_at),
        "next_attempt_at": when(next_attempt(state)),
        "owner": owner,
        "fence": fence,
        "trace_id": state.trace.trace_id if state.trace is not None else None,
        "parent": state.parent,
    }


def _steps(step: Step, state: SagaState) -> Iterable[dict[str, Any]]:
    shown = state.step(step.name)
    yield _step(step, shown)
    for index in range(shown.count or 0):
        yield _step(step, state.step(instance_name(step.name, index)))


def _step(step: Step, unit: StepState) -> dict[str, Any]:
    failed = unit.failure if unit.settled else unit.action.failure
    return {
        "name": unit.name,
        "status": unit.status.value,
        "attempts": unit.action.attempts,
        "output": masked(unit.output, _sensitive(step, unit)),
        "error": _step_error(failed),
        "started_at": when(unit.started_at),
        "ended_at": when(unit.ended_at),
        "next_attempt_at": when(_next_attempt(unit)),
        "compensation": _compensation(step, unit),
    }


def _sensitive(step: Step, unit: StepState) -> Iterable[str]:
    if unit.count is None:
        return step.sensitive
    return [f"/{index}{pointer}" for index in range(unit.count) for pointer in step.sensitive]


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


def _compensation(step: Step, unit: StepState) -> dict[str, Any] | None:
    if step.compensation is None or step.compensation == "none" or unit.count is not None:
        return None if step.kind != "saga" or step.compensation == "none" else _undo(unit)
    return _undo(unit)


def _undo(unit: StepState) -> dict[str, Any]:
    failed = unit.undo_failure if unit.undo_failure is not None else unit.undo.failure
    over = unit.undo_status in (UndoStatus.UNDONE, UndoStatus.RESOLVED)
    return {
        "status": unit.undo_status.value,
        "attempts": unit.undo.attempts,
        "error": None if over else _step_error(failed),
        "started_at": when(unit.undo_started_at),
        "ended_at": when(unit.undo_ended_at),
    }


# --------------------------------------------------------------------------- lists and journals


def summary(definition: SagaDefinition, state: SagaState) -> Summary:
    """Return what lists show and searches look at."""
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
                "error": _error(failure(state)),
                "labels": state.labels,
                "parent": state.parent,
                "trace_id": state.trace.trace_id if state.trace is not None else None,
            }
        ),
    )


def damaged(state: SagaState | None, reason: str, at: float) -> Summary:
    """Return what lists show of a saga whose journal cannot be read to its end by this release."""
    error = {"step": None, "kind": "internal", "detail": reason}
    return Summary(
        status=Status.PARKED.value,
        late=True,
        definition=state.definition if state is not None else "unknown",
        version=state.version if state is not None else 0,
        started_at=state.started_at if state is not None else at,
        updated_at=at,
        ended_at=None,
        labels=state.labels if state is not None else {},
        body=to_json({"direction": "forward", "progress": {"done": 0, "total": 0}, "error": error}),
    )


def journal(definition: SagaDefinition, entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return every entry as the API shows it: ``{seq, at, kind, …}``."""
    return [_entry(definition, seq, entry) for seq, entry in enumerate(entries, start=1)]


def _entry(definition: SagaDefinition, seq: int, entry: Entry) -> dict[str, Any]:
    shown = as_dict(entry)
    for name in _TIMES & shown.keys():
        shown[name] = when(shown[name])
    shown.pop("size", None)
    if "input" in shown:
        shown["input"] = masked(shown["input"], definition.sensitive)
    if "output" in shown and "step" in shown:
        shown["output"] = masked(shown["output"], _sensitive_of(definition, shown["step"], shown["output"]))
    if "payload" in shown:
        shown["payload"] = masked(shown["payload"], _signal_sensitive(definition, shown["name"]))
    head = {"seq": seq, "at": shown.pop("at"), "kind": shown.pop("kind")}
    return head | shown


def _sensitive_of(definition: SagaDefinition, unit: str, output: Any) -> Iterable[str]:
    step = definition.step(step_name(unit))
    if step.for_each is not None and "[" not in unit and isinstance(output, list):
        return [f"/{index}{pointer}" for index in range(len(output)) for pointer in step.sensitive]
    return step.sensitive


def _signal_sensitive(definition: SagaDefinition, name: str) -> Iterable[str]:
    waiting: Mapping[str, Step] = {step.signal.name: step for step in definition.steps if step.signal is not None}
    step = waiting.get(name)
    # Of a signal that a template reshapes, nothing tells which part is sensitive: all of it is.
    if step is None or not step.sensitive:
        return ()
    return ("",) if step.has_output else step.sensitive
