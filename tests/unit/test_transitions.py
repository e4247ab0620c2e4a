"""The tables: every entry is tried in every status, and every transition is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from saga.core import entries as e
from saga.core.entries import KINDS, Entry
from saga.core.journal import evolve
from saga.core.state import InvocationState, Open, Pending, SagaState, StepState, changed
from saga.core.statuses import Status, StepStatus, UndoStatus
from saga.core.transitions import (
    BY_DIRECTION,
    PARKED_TRANSITIONS,
    SAGA_TRANSITIONS,
    STEP_TRANSITIONS,
    UNDO_TRANSITIONS,
)
from saga.errors import IllegalEntry
from saga.language.fields import Phase
from tests.visits import Transition, all_transitions, transitions

_OPEN = InvocationState(attempts=1, open=Open(since=0.0, timeout=10.0, via="http"))
_DUE = InvocationState(attempts=1, next_at=5.0)
_PROMISED = InvocationState(attempts=1, pending=Pending(since=0.0, until=9.0, location=None))

#: One step in every status its action can be in; ``at_work`` has instances and nothing on the wire.
ACTIONS = {
    "pending": StepState(name="pending"),
    "invoking": StepState(name="invoking", status=StepStatus.INVOKING, action=_OPEN),
    "at_work": StepState(name="at_work", status=StepStatus.INVOKING, count=2),
    "waiting": StepState(name="waiting", status=StepStatus.WAITING, action=_DUE),
    "promised": StepState(name="promised", status=StepStatus.WAITING, action=_PROMISED),
    "succeeded": StepState(name="succeeded", status=StepStatus.SUCCEEDED, action=InvocationState(attempts=1)),
    "refused": StepState(name="refused", status=StepStatus.REFUSED),
    "uncertain": StepState(name="uncertain", status=StepStatus.UNCERTAIN, action=InvocationState(attempts=1)),
    "skipped": StepState(name="skipped", status=StepStatus.SKIPPED),
    "parked": StepState(
        name="parked",
        status=StepStatus.UNCERTAIN,
        parked=True,
        action=InvocationState(attempts=1, doubt=True),
    ),
    "never_sent": StepState(name="never_sent", status=StepStatus.REFUSED, parked=True),
}
#: And in every status its compensation can be in.
UNDOS = {
    "undo_pending": StepState(name="undo_pending", status=StepStatus.SUCCEEDED),
    "undo_invoking": StepState(
        name="undo_invoking", status=StepStatus.SUCCEEDED, undo_status=UndoStatus.INVOKING, undo=_OPEN
    ),
    "undo_waiting": StepState(
        name="undo_waiting", status=StepStatus.SUCCEEDED, undo_status=UndoStatus.WAITING, undo=_DUE
    ),
    "undo_promised": StepState(
        name="undo_promised", status=StepStatus.SUCCEEDED, undo_status=UndoStatus.WAITING, undo=_PROMISED
    ),
    **{
        f"undo_{status}": StepState(
            name=f"undo_{status}", status=StepStatus.SUCCEEDED, undo_status=UndoStatus(status),
            undo=InvocationState(attempts=1),
        )
        for status in ("failed", "undone", "skipped", "resolved")
    },
}  # fmt: skip

_ENDED = (Status.COMPLETED, Status.COMPENSATED, Status.ABANDONED)


def saga(status: Status, *, backward: bool = False) -> SagaState:
    """Return a saga in a status, with a step of every kind."""
    return SagaState(
        id="s1",
        definition="d",
        version=1,
        status=status,
        direction="backward" if backward or status is Status.COMPENSATING else "forward",
        input=None,
        seq=9,
        size=0,
        started_at=0.0,
        updated_at=1.0,
        ended_at=1.0 if status in _ENDED else None,
        paused_at=1.0 if status is Status.PAUSED else None,
        parked_at=1.0 if status is Status.PARKED else None,
        steps=ACTIONS | UNDOS,
    )


_ATTEMPTS: dict[type[Entry], dict[str, Any]] = {
    e.Withdrawn: {},
    e.AttemptNotExecuted: {},
    e.AttemptUncertain: {},
    e.AttemptRefused: {},
    e.AttemptPending: {"until": 9.0},
    e.AttemptDeferred: {"next_at": 3.0, "until": 9.0},
    e.ChildStarted: {"child": "s1.x"},
    e.TaskTaken: {"worker": "w", "until": 9.0},
    e.TaskExtended: {"until": 9.0},
}
_ABOUT_STEP: dict[type[Entry], dict[str, Any]] = {
    e.StepSkipped: {},
    e.StepExpanded: {"count": 2},
    e.StepSucceeded: {},
    e.StepRefused: {"cause": "refused"},
    e.StepUncertain: {},
    e.StepParked: {"cause": "refused", "status": "refused"},
    e.CompensationUndone: {},
    e.CompensationFailed: {"cause": "refused"},
    e.WaitBegan: {"until": 9.0},
    e.SignalAwaited: {},
}
_ABOUT_SAGA: dict[type[Entry], dict[str, Any]] = {
    e.SagaStarted: {"saga": "s1", "definition": "d", "version": 1},
    e.TurnedBackward: {"cause": "deadline"},
    e.SagaParked: {"cause": "internal"},
    e.CommandUnchanged: {"command": "pause"},
    e.CommandRefused: {"command": "pause", "type": "x"},
    e.SignalReceived: {"name": "go", "message": "m"},
    e.LateAnswer: {"step": "refused", "phase": "action", "outcome": "succeeded"},
}


def samples(kind: type[Entry]) -> Iterator[Entry]:
    """Yield an entry of a kind for every step and phase it could be about."""
    if kind in _ABOUT_STEP:
        for step in ACTIONS | UNDOS:
            yield from _about_step(kind, step)
    elif kind in _ATTEMPTS or kind in _PHASED:
        for step, phase in product(ACTIONS | UNDOS, _PHASES):
            yield from _about_phase(kind, step, phase)
    else:
        yield kind(at=2.0, **_ABOUT_SAGA.get(kind, {}))


_PHASES: tuple[Phase, Phase] = ("action", "compensation")
_PHASED = (e.Invoked, e.RetryCommanded, e.SkipCommanded, e.ResolveCommanded)


def _about_step(kind: type[Entry], step: str) -> Iterator[Entry]:
    named: dict[str, Any] = {"at": 2.0, "step": step, **_ABOUT_STEP[kind]}
    if kind is e.StepParked:
        yield from (
            e.StepParked(**named | {"status": status}) for status in ("refused", "uncertain", "succeeded")
        )
    else:
        yield kind(**named)


def _about_phase(kind: type[Entry], step: str, phase: Phase) -> Iterator[Entry]:
    named: dict[str, Any] = {"at": 2.0, "step": step, "phase": phase}
    if kind in _ATTEMPTS:
        yield kind(**named, attempt=1, **_ATTEMPTS[kind])
    elif kind is e.Invoked:
        yield e.Invoked(**named, attempt=(ACTIONS | UNDOS)[step].invocation(phase).attempts + 1, timeout=1.0)
    elif kind is e.RetryCommanded:
        yield e.RetryCommanded(at=2.0, invocations=(f"{step}:{phase}",))
    elif kind is e.SkipCommanded:
        yield e.SkipCommanded(**named)
    else:
        outcomes = ("undone",) if phase == "compensation" else ("succeeded", "refused")
        yield from (e.ResolveCommanded(**named, outcome=outcome) for outcome in outcomes)


def _is_legal(state: SagaState, entry: Entry) -> SagaState | None:
    try:
        return evolve(state, entry)
    except IllegalEntry:
        return None


def test_every_kind_of_entry_is_tried() -> None:
    """A kind without a sample would be legal nowhere."""
    assert all(list(samples(kind)) for kind in KINDS.values())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("status", list(Status))
def test_in_each_status_an_entry_leads_where_the_table_says_or_nowhere(
    status: Status, kind: type[Entry]
) -> None:
    """What the table lacks raises, whatever step it is about; the state is the same after that."""
    for backward in (False, True):
        state = saga(status, backward=backward)
        before = replace(state)
        found = [after for entry in samples(kind) if (after := _is_legal(state, entry)) is not None]
        assert state == before
        if kind not in SAGA_TRANSITIONS[status]:
            assert found == []
            continue
        to = SAGA_TRANSITIONS[status][kind]
        if to is BY_DIRECTION:
            to = Status.COMPENSATING if state.direction == "backward" else Status.RUNNING
        assert found, f"{kind.kind} is in the table for {status}, and is legal nowhere"
        assert {after.status for after in found} == {to}
        assert {after.seq for after in found} == {10}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_step_goes_where_its_table_says_or_nowhere(kind: type[Entry]) -> None:
    """So does its compensation; what is parked has a row of its own."""
    for status, entry in product((Status.RUNNING, Status.COMPENSATING), samples(kind)):
        state = saga(status)
        after = _is_legal(state, entry)
        if after is None:
            continue
        for table, was, _, now in transitions(state, entry, after):
            if table == "action":
                row = PARKED_TRANSITIONS if was == "parked" else STEP_TRANSITIONS[StepStatus(was)]
                assert now in row[kind]
            elif table == "compensation":
                assert now in UNDO_TRANSITIONS[UndoStatus(was)][kind]


def test_every_transition_of_the_tables_can_be_taken() -> None:
    """None is there that nothing can reach, and none is taken that is not there."""
    taken: set[Transition] = set()
    for status, backward, kind in product(Status, (False, True), KINDS.values()):
        state = saga(status, backward=backward)
        for entry in samples(kind):
            after = _is_legal(state, entry)
            if after is not None:
                taken.update(transitions(state, entry, after))

    assert taken == all_transitions()


# --------------------------------------------------------------------------- what is on the wire


@pytest.mark.parametrize(
    "kind", [e.StepRefused, e.StepUncertain, e.StepParked, e.CompensationFailed, e.Invoked]
)
def test_nothing_concludes_or_sends_while_an_attempt_is_open(kind: type[Entry]) -> None:
    """An open attempt leaves the state by its own outcome only."""
    for entry in samples(kind):
        if getattr(entry, "step", "") in ("invoking", "undo_invoking"):
            about = "compensation" if kind is e.CompensationFailed else getattr(entry, "phase", "action")
            if (about == "action") == (getattr(entry, "step", "") == "invoking"):
                assert _is_legal(saga(Status.COMPENSATING), entry) is None
                assert _is_legal(saga(Status.RUNNING), entry) is None


@pytest.mark.parametrize("kind", [*_ATTEMPTS, e.Invoked])
def test_an_attempt_is_answered_under_its_own_number(kind: type[Entry]) -> None:
    """Of another attempt, nothing closes this one; and numbers rise by one."""
    for entry in samples(kind):
        other = replace(entry, attempt=entry.attempt + 1)  # type: ignore[attr-defined, call-arg]
        assert _is_legal(saga(Status.COMPENSATING), other) is None


def test_a_late_answer_closes_its_attempt_only_after_the_end() -> None:
    """Before that it would forget what is on the wire; and never another attempt."""
    late = e.LateAnswer(at=2.0, step="invoking", phase="action", attempt=1, outcome="succeeded")
    assert _is_legal(saga(Status.RUNNING), late) is None
    ended = _is_legal(saga(Status.ABANDONED), late)
    assert ended is not None
    assert ended.step("invoking").action.open is None
    newer = changed(ACTIONS["invoking"], action=changed(_OPEN, attempts=2))
    state = changed(saga(Status.RUNNING), steps={"invoking": newer})
    assert evolve(state, late).step("invoking") == newer
