"""At which kinds of point a journal can stop: what is to be seen of it there, and what has happened on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from saga.core.entries import Entry
from saga.core.journal import evolve
from saga.core.state import InvocationState, SagaState, StepState
from saga.core.statuses import UndoStatus
from tests.visits import transitions

#: Words with dashes between, fit for the name of a file.
Point: TypeAlias = str


def points(entries: Sequence[Entry]) -> set[Point]:
    """Return every point that a journal is an example of."""
    state, found = None, set[Point]()
    for entry in entries:
        before, state = state, evolve(state, entry)
        if before is None:
            found.add("begun")
        else:
            found.update(
                f"{table}-{was}-{kind.kind}-{now}"
                for table, was, kind, now in transitions(before, entry, state)
            )
    if state is not None:
        found.update(_stopped(state))
    return found


def _stopped(state: SagaState) -> Iterator[Point]:
    where = f"{state.status}-{state.direction}" if state.status in ("paused", "parked") else str(state.status)
    yield f"{where}-late" if state.late else where
    if any(state.signals.values()):
        yield f"{where}-signal-queued"
    for unit in state.steps.values():
        yield from (f"{where}-{word}" for word in _words(unit))
        if not state.ended:
            yield from (f"{where}-{word}" for word in _moves(unit))


def _words(unit: StepState) -> Iterator[str]:
    yield f"one-{unit.status}"
    if unit.parked:
        yield f"one-parked-{unit.status}"
    if unit.tolerated:
        yield "one-tolerated"
    if unit.count is not None:
        yield "one-expanded"
    if unit.undo_status is not UndoStatus.PENDING:
        yield f"one-undo-{unit.undo_status}"


def _moves(unit: StepState) -> Iterator[str]:
    if not unit.settled:
        yield from (f"action-{word}" for word in _attempts(unit.action))
    if unit.undo_status in (UndoStatus.INVOKING, UndoStatus.WAITING):
        yield from (f"undo-{word}" for word in _attempts(unit.undo))


def _attempts(invocation: InvocationState) -> Iterator[str]:
    """Return how it stands with an invocation that is not over."""
    attempt = invocation.open
    if attempt is not None:
        yield f"open-{attempt.via}" if attempt.lease_until is None else "leased"
    elif invocation.pending is not None:
        yield "promised"
    elif invocation.deferred_until is not None:
        yield "deferred"
    elif invocation.child is not None:
        yield "child"
    elif invocation.next_at is not None:
        yield "again"
    if invocation.doubt:
        yield "in-doubt"
