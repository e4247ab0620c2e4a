"""Which transitions of the tables an entry takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.state import SagaState
from saga.core.transitions import (
    BY_DIRECTION,
    PARKED_TRANSITIONS,
    SAGA_TRANSITIONS,
    STEP_TRANSITIONS,
    UNDO_TRANSITIONS,
)

#: Table, status before, entry, status after.
Transition: TypeAlias = tuple[str, str, type[Entry], str]

#: Entries about a step that are in neither of its tables.
_ASIDE = (e.LateAnswer, e.SagaParked, e.TurnedBackward)


def transitions(before: SagaState, entry: Entry, after: SagaState) -> Iterator[Transition]:
    """Yield the transitions of saga, action and compensation that an entry takes."""
    yield "saga", before.status, type(entry), after.status
    for unit, phase in _about(entry):
        was, now = before.step(unit), after.step(unit)
        if phase == "compensation":
            yield "compensation", was.undo_status, type(entry), now.undo_status
        else:
            yield "action", "parked" if was.parked else was.status, type(entry), now.status


def _about(entry: Entry) -> Iterator[tuple[str, str]]:
    if isinstance(entry, e.RetryCommanded):
        for invocation in entry.invocations:
            unit, _, phase = invocation.rpartition(":")
            yield unit, phase
    elif (unit := getattr(entry, "step", None)) is not None and not isinstance(entry, _ASIDE):
        undo = isinstance(entry, e.CompensationUndone | e.CompensationFailed)
        yield unit, "compensation" if undo else getattr(entry, "phase", "action")


def all_transitions() -> set[Transition]:
    """Return every transition the tables allow."""
    found: set[Transition] = set()
    for status, saga_row in SAGA_TRANSITIONS.items():
        for kind, to in saga_row.items():
            targets = ("running", "compensating") if to is BY_DIRECTION else (str(to),)
            found |= {("saga", status, kind, target) for target in targets}
    for step_status, row in (*STEP_TRANSITIONS.items(), ("parked", PARKED_TRANSITIONS)):
        found |= {("action", step_status, kind, to) for kind, tos in row.items() for to in tos}
    for undo_status, undo_row in UNDO_TRANSITIONS.items():
        found |= {("compensation", undo_status, kind, to) for kind, tos in undo_row.items() for to in tos}
    return found
