"""What a person asks of a saga, judged: whether it fits, is in effect already, or is refused.

Every command becomes exactly one entry with who, when and why, so that its verdict can be found in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic_core import to_json

from saga.core import entries as e
from saga.core.conclusions import OUTPUT_LIMIT
from saga.core.entries import Entry
from saga.core.state import SagaState, StepState, step_name
from saga.core.statuses import Status, StepStatus, UndoStatus
from saga.core.timers import pivot_invoked, pivot_passed
from saga.language.fields import Phase
from saga.language.model import SagaDefinition

Command: TypeAlias = Literal["pause", "resume", "cancel", "retry", "skip", "resolve", "abandon"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One command as it was asked."""

    command: Command
    message: str
    at: float
    by: str = ""
    reason: str = ""
    #: Step or instance, of ``retry``, ``skip`` and ``resolve``.
    step: str | None = None
    outcome: Literal["succeeded", "refused", "undone"] | None = None
    output: Any = None

    @property
    def signed(self) -> dict[str, Any]:
        """Return what every entry of a command carries."""
        return {"at": self.at, "by": self.by, "reason": self.reason, "message": self.message}

    def unchanged(self) -> Entry:
        """Return the entry of a command whose effect is there already."""
        return e.CommandUnchanged(command=self.command, **self.signed)

    def refused(self, kind: str, detail: str) -> Entry:
        """Return the entry of a command that does not fit."""
        return e.CommandRefused(command=self.command, type=kind, detail=detail, **self.signed)


def judge(definition: SagaDefinition, state: SagaState, asked: Asked) -> Entry:
    """Return the one entry a command becomes."""
    return _JUDGES[asked.command](definition, state, asked)


def _ended(state: SagaState, asked: Asked) -> Entry:
    return asked.refused("saga-ended", f"the saga has ended: it is {state.status}")


def _pause(_definition: SagaDefinition, state: SagaState, asked: Asked) -> Entry:
    if state.ended:
        return _ended(state, asked)
    if state.status is Status.PAUSED:
        return asked.unchanged()
    if state.status is Status.PARKED:
        return asked.refused("saga-parked", "a parked saga sends nothing; it waits for a decision")
    return e.SagaPaused(**asked.signed)


def _resume(_definition: SagaDefinition, state: SagaState, asked: Asked) -> Entry:
    if state.ended:
        return _ended(state, asked)
    if state.status is Status.PAUSED:
        return e.SagaResumed(**asked.signed)
    if state.status is Status.PARKED:
        return asked.refused("saga-parked", "a parked saga needs retry, skip, resolve, cancel or abandon")
    return asked.unchanged()


def _cancel(definition: SagaDefinition, state: SagaState, asked: Asked) -> Entry:
    if state.direction == "backward":
        return asked.unchanged()
    if pivot_passed(definition, state):
        return asked.refused("pivot-passed", f"{definition.pivot} is done: the saga only goes forward")
    if state.ended:
        return _ended(state, asked)
    if pivot_invoked(definition, state):
        return asked.refused("pivot-invoked", f"{definition.pivot} may be taking effect right now")
    return e.SagaCancelled(**asked.signed)


def _abandon(_definition: SagaDefinition, state: SagaState, asked: Asked) -> Entry:
    if state.status is Status.ABANDONED:
        return asked.unchanged()
    if state.ended:
        return _ended(state, asked)
    return e.SagaAbandoned(**asked.signed)


# on steps


def _named(definition: SagaDefinition, state: SagaState, asked: Asked) -> StepState | None:
    """Return the step or instance that the command names; None when the saga has none of that name."""
    if asked.step is None or step_name(asked.step) not in definition.graph:
        return None
    step = state.step(step_name(asked.step))
    return next((unit for unit in (step, *state.units(step.name)) if unit.name == asked.step), None)


def _unknown(asked: Asked) -> Entry:
    if asked.step is None:
        return asked.refused("step-missing", f"{asked.command} needs a step")
    return asked.refused("step-unknown", f"the saga has no step {asked.step}")


def _retry(definition: SagaDefinition, state: SagaState, asked: Asked) -> Entry:
    if state.ended:
        return _ended(state, asked)
    if asked.step is not None and _named(definition, state, asked) is None:
        return _unknown(asked)
    if state.status is Status.PAUSED:
        return asked.refused("saga-paused", "nothing is sent while the saga is paused; resume it first")
    if state.status is Status.PARKED and state.parking is not None and state.parking.kind == "internal":
        return e.RetryCommanded(**asked.signed)
    invocations = tuple(_retriable(state, asked.step))
    if not invocations:
        return asked.refused("nothing-to-retry", "nothing is parked or waits for its next attempt there")
    return e.RetryCommanded(invocations=invocations, **asked.signed)


def _retriable(state: SagaState, wanted: str | None) -> Iterator[str]:
    for unit in state.steps.values():
        if wanted is not None and wanted not in (unit.name, step_name(unit.name)):
            continue
        if state.direction == "forward" and _action_retriable(unit):
            yield f"{unit.name}:action"
        if state.direction == "backward" and _undo_retriable(unit):
            yield f"{unit.name}:compensation"


def _action_retriable(unit: StepState) -> bool:
    # A child that has ended does not begin anew, and an effect that is there is not asked for again.
    if unit.action.child is not None or unit.status is StepStatus.SUCCEEDED:
        return False
    waits = unit.status is StepStatus.WAITING and unit.action.next_at is not None
    return unit.parked or waits


def _undo_retriable(unit: StepState) -> bool:
    if unit.undo_status is UndoStatus.FAILED:
        return unit.undo_failure is None or unit.undo_failure.kind != "child"
    return unit.undo_status is UndoStatus.WAITING and unit.undo.next_at is not None


def _skip(definition: SagaDefinition, state: SagaState, asked: Asked) -> Entry:
    unit = _named(definition, state, asked)
    if unit is None:
        return _unknown(asked)
    if StepStatus.SKIPPED is unit.status or UndoStatus.SKIPPED is unit.undo_status:
        return asked.unchanged()
    if state.ended:
        return _ended(state, asked)
    phase = _skippable(definition, state, unit)
    if phase is None:
        return asked.refused(
            "not-skippable", "an action never invoked, a parked compensation or a parked step can be skipped"
        )
    if phase == "action" and step_name(unit.name) == definition.pivot:
        return asked.refused("pivot", "the pivot's action cannot be skipped")
    return e.SkipCommanded(step=unit.name, phase=phase, **asked.signed)


def _skippable(definition: SagaDefinition, state: SagaState, unit: StepState) -> Phase | None:
    if unit.undo_status is UndoStatus.FAILED:
        return "compensation"
    if state.direction == "backward":
        return None
    after = definition.position(step_name(unit.name)) == "after"
    never = unit.status is StepStatus.PENDING and unit.action.attempts == 0
    return "action" if never or (unit.parked and after) else None


def _resolve(definition: SagaDefinition, state: SagaState, asked: Asked) -> Entry:
    unit = _named(definition, state, asked)
    if unit is None:
        return _unknown(asked)
    if asked.outcome is None:
        return asked.refused("outcome-missing", "resolve needs an outcome: succeeded, refused or undone")
    if asked.outcome == "undone":
        return _resolve_undo(state, unit, asked)
    if unit.undo_status is UndoStatus.FAILED and not state.ended:
        return asked.refused(
            "not-parked", f"it is the compensation of {unit.name} that is parked: it takes the outcome undone"
        )
    return _resolve_action(definition, state, unit, asked)


def _resolve_undo(state: SagaState, unit: StepState, asked: Asked) -> Entry:
    if unit.undo_status in (UndoStatus.RESOLVED, UndoStatus.UNDONE):
        return asked.unchanged()
    if state.ended:
        return _ended(state, asked)
    if unit.undo_status is not UndoStatus.FAILED:
        return asked.refused(
            "not-parked", f"the compensation of {unit.name} is {unit.undo_status}, not parked"
        )
    return e.ResolveCommanded(step=unit.name, phase="compensation", outcome="undone", **asked.signed)


def _resolve_action(definition: SagaDefinition, state: SagaState, unit: StepState, asked: Asked) -> Entry:
    if unit.status.value == asked.outcome and (asked.outcome == "refused" or not unit.parked):
        return asked.unchanged()
    if state.ended:
        return _ended(state, asked)
    if not unit.parked or state.direction == "backward":
        return asked.refused("not-parked", f"the action of {unit.name} is {unit.status}, not parked")
    if asked.outcome == "refused" and unit.status is StepStatus.SUCCEEDED:
        return asked.refused("not-refused", f"{unit.name} has succeeded; only its output is missing")
    size = len(to_json(asked.output))
    if size > OUTPUT_LIMIT:
        return asked.refused("size", f"the output has {size} bytes, more than {OUTPUT_LIMIT}")
    return _resolved(definition, unit, asked, size)


def _resolved(definition: SagaDefinition, unit: StepState, asked: Asked, size: int) -> Entry:
    step = definition.step(step_name(unit.name))
    refused = asked.outcome == "refused"
    tolerated = refused and step.on_refused == "continue"
    return e.ResolveCommanded(
        step=unit.name,
        phase="action",
        outcome="refused" if refused else "succeeded",
        output=asked.output if not refused else None,
        tolerated=tolerated,
        # Past the pivot a refusal is in the way until a person skips the step or has it tried again.
        parked=refused and not tolerated and definition.position(step.name) == "after",
        size=0 if refused else size,
        **asked.signed,
    )


_JUDGES: Mapping[Command, Callable[[SagaDefinition, SagaState, Asked], Entry]] = {
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "retry": _retry,
    "skip": _skip,
    "resolve": _resolve,
    "abandon": _abandon,
}
