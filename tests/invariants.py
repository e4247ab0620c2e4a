"""What must hold at every state of every saga, whatever happened: checked for each entry of a journal.

1.  Nothing is compensated that was never invoked.
2.  An action is sent when everything upstream of it is done. Compensations respect the reverse of that order:
    one starts when everything downstream has settled and what was owed there is undone.
3.  What may have happened is compensated, or the saga does not end as compensated or completed.
4.  No compensation once the pivot has succeeded or was skipped; nothing else is in flight while the pivot is.
5.  One end; after it only entries that change no status, or a reopening. After the first compensation no action
    is sent.
5a. An open attempt leaves the state only by an entry of its own.
6.  Every entry survives being written and read; a replayed journal is the live state; every prefix is legal.
7.  All attempts of an invocation carry the same bytes, and their numbers rise by one.
10. A saga that is neither ended, parked nor paused has something on its way, or a time at which it goes on.
"""

from __future__ import annotations

from saga.core import entries as e
from saga.core.encoding import decode, encode
from saga.core.entries import Entry
from saga.core.journal import evolve
from saga.core.state import SagaState, StepState, step_name
from saga.core.statuses import Status, StepStatus, UndoStatus
from saga.language.model import SagaDefinition

#: Entries that may follow an end.
_AFTERMATH = (e.LateAnswer, e.CommandUnchanged, e.CommandRefused, e.SagaReopened)
_ENDS = (e.SagaCompleted, e.SagaCompensated, e.SagaAbandoned)
#: A compensation in these is over.
_OVER = (UndoStatus.UNDONE, UndoStatus.SKIPPED, UndoStatus.RESOLVED)
#: Of a compensation in these, amends were made.
_AMENDED = (UndoStatus.UNDONE, UndoStatus.RESOLVED)
_UNDER_WAY = (StepStatus.INVOKING, StepStatus.WAITING)


def check_entry(definition: SagaDefinition, before: SagaState, entry: Entry, after: SagaState) -> None:
    """Assert what must hold of one entry between two states."""
    _check_open(before, entry, after)
    if before.ended:
        assert isinstance(entry, _AFTERMATH), f"5: {entry.kind} after the end"
        assert after.ended or isinstance(entry, e.SagaReopened), "5: an end was taken back"
    if isinstance(entry, e.Invoked):
        _check_invoked(definition, before, entry)
    elif isinstance(entry, e.SagaCompensated):
        _check_compensated(definition, before)
    elif isinstance(entry, e.SagaCompleted):
        _check_completed(definition, before)


def _check_open(before: SagaState, entry: Entry, after: SagaState) -> None:
    for unit, phase in before.open_invocations():
        if after.step(unit.name).invocation(phase).open is None:
            about = (getattr(entry, "step", None), getattr(entry, "phase", _phase(entry)))
            assert about == (unit.name, phase), f"5a: {entry.kind} forgot an attempt of {unit.name}:{phase}"


def _phase(entry: Entry) -> str:
    return "compensation" if isinstance(entry, e.CompensationUndone) else "action"


def _check_invoked(definition: SagaDefinition, before: SagaState, entry: e.Invoked) -> None:
    unit, pivot = before.step(entry.step), definition.pivot
    if entry.phase == "action":
        assert before.direction == "forward", "5: an action was sent while the saga goes backward"
        assert unit.undo.attempts == 0, "5: an action was sent after its compensation"
        for name in definition.graph.upstream(step_name(entry.step)):
            assert before.step(name).satisfied, f"2: {unit.name} is sent before {name} is done"
    else:
        assert before.direction == "backward", "5: a compensation was sent while the saga goes forward"
        assert unit.action.attempts > 0, f"1: {unit.name} is compensated and was never invoked"
        assert unit.may_have_happened, f"1: {unit.name} is compensated and {unit.status}"
        _check_order(definition, before, step_name(entry.step))
        assert pivot is None or before.step(pivot).status not in ("succeeded", "skipped"), (
            "4: a compensation past the pivot"
        )
    assert before.status in (Status.RUNNING, Status.COMPENSATING), f"5: sent while {before.status}"
    if pivot is not None and step_name(entry.step) == pivot and entry.phase == "action":
        others = [other.name for other, _ in before.open_invocations()]
        assert not others, f"4: {others} in flight beside the pivot"


def _check_order(definition: SagaDefinition, before: SagaState, step: str) -> None:
    for name in definition.graph.downstream(step):
        for unit in before.units(name):
            assert unit.status not in _UNDER_WAY, f"2: {step} is undone before {unit.name} has settled"
            owing = (
                unit.may_have_happened and unit.action.attempts > 0 and definition.step(name).compensatable
            )
            assert not owing or unit.undo_status in _OVER, f"2: {step} is undone before {unit.name}"


def _units(definition: SagaDefinition, state: SagaState) -> list[tuple[StepState, bool]]:
    return [
        (unit, step.compensatable) for step in definition.steps for unit in (state.units(step.name) or ())
    ]


def _check_compensated(definition: SagaDefinition, before: SagaState) -> None:
    for unit, owes in _units(definition, before):
        assert unit.status not in _UNDER_WAY, f"3: ended before {unit.name} has settled"
        if owes and unit.may_have_happened and unit.action.attempts > 0:
            assert unit.undo_status in _AMENDED, f"3: {unit.name} is {unit.status} and {unit.undo_status}"


def _check_completed(definition: SagaDefinition, before: SagaState) -> None:
    for step in definition.steps:
        shown = before.step(step.name)
        assert shown.satisfied, f"3: completed although {step.name} is {shown.status}"
    for unit, _ in _units(definition, before):
        assert unit.undo.attempts == 0, f"5: completed although {unit.name} was compensated"


def check_journal(journal: list[Entry], state: SagaState) -> None:
    """Assert that a journal, written and read back, tells the live state, whichever prefix of it is replayed."""
    replayed: SagaState | None = None
    for seq, entry in enumerate(journal, start=1):
        read = decode(encode(entry))
        assert read == entry, f"6: {entry.kind} is not read as it was written"
        replayed = evolve(replayed, read)
        assert replayed.seq == seq, "6: the sequence is not the count"
    assert replayed == state, "6: the replayed state is not the live one"
