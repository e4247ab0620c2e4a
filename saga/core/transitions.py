"""The state machine: which entry may follow in which status, and which status it leads to.

Everything that decides that stands in the tables of this module: one for the saga, one for a step's action (and
one for an action that is parked), one for a step's compensation. A transition is added here and nowhere else.
The diagrams of the documentation are made from the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.state import StepState
from saga.core.statuses import Status, StepStatus, UndoStatus
from saga.errors import IllegalEntry

#: In a table: running or compensating, by the saga's direction.
BY_DIRECTION: Final = None

_S, _A, _U = Status, StepStatus, UndoStatus
SagaRow: TypeAlias = Mapping[type[Entry], Status | None]

#: What a saga that goes forward begins.
_BEGUN: tuple[type[Entry], ...] = (e.StepSkipped, e.StepExpanded, e.WaitBegan, e.SignalAwaited)
#: What becomes of an action that was begun.
_ANSWERED: tuple[type[Entry], ...] = (
    e.Withdrawn,
    e.AttemptNotExecuted,
    e.AttemptUncertain,
    e.AttemptRefused,
    e.AttemptPending,
    e.AttemptDeferred,
    e.ChildStarted,
    e.TaskExtended,
    e.StepSucceeded,
    e.StepRefused,
    e.StepUncertain,
    e.StepParked,
)
#: What becomes of a compensation besides.
_UNDOING: tuple[type[Entry], ...] = (e.CompensationUndone, e.CompensationFailed)
#: What is noted whatever the status.
_NOTES: tuple[type[Entry], ...] = (e.LateAnswer, e.CommandUnchanged, e.CommandRefused)
#: What is noted as long as the saga lives.
_ALIVE: tuple[type[Entry], ...] = (*_NOTES, e.SignalReceived, e.SagaMarkedLate)
#: What a person decides about steps.
_DECIDED: tuple[type[Entry], ...] = (e.SkipCommanded, e.ResolveCommanded)


def _row(stays: Status, kinds: tuple[type[Entry], ...]) -> dict[type[Entry], Status | None]:
    return dict.fromkeys(kinds, stays)


#: Status of the saga → entry → status it leads to.
SAGA_TRANSITIONS: Mapping[Status, SagaRow] = {
    _S.RUNNING: {
        **_row(_S.RUNNING, (*_BEGUN, e.Invoked, e.TaskTaken, *_ANSWERED)),
        **_row(_S.RUNNING, (*_ALIVE, e.RetryCommanded, *_DECIDED)),
        e.TurnedBackward: _S.COMPENSATING,
        e.SagaPaused: _S.PAUSED,
        e.SagaCancelled: _S.COMPENSATING,
        e.SagaParked: _S.PARKED,
        e.SagaCompleted: _S.COMPLETED,
        e.SagaAbandoned: _S.ABANDONED,
    },
    _S.COMPENSATING: {
        **_row(_S.COMPENSATING, (e.Invoked, e.TaskTaken, *_ANSWERED, *_UNDOING)),
        **_row(_S.COMPENSATING, (*_ALIVE, e.RetryCommanded, *_DECIDED)),
        e.SagaPaused: _S.PAUSED,
        e.SagaParked: _S.PARKED,
        e.SagaCompensated: _S.COMPENSATED,
        e.SagaAbandoned: _S.ABANDONED,
    },
    # Nothing is begun or sent; what is on the wire is answered.
    _S.PAUSED: {
        **_row(_S.PAUSED, (*_ANSWERED, *_UNDOING, *_ALIVE, *_DECIDED)),
        e.SagaResumed: BY_DIRECTION,
        e.SagaCancelled: _S.COMPENSATING,
        e.SagaParked: _S.PARKED,
        e.SagaAbandoned: _S.ABANDONED,
    },
    # What a person or a late answer changes sets a parked saga going; it parks again if that is not enough.
    _S.PARKED: {
        **_row(_S.PARKED, _ALIVE),
        **dict.fromkeys((*_ANSWERED, e.RetryCommanded, *_DECIDED), BY_DIRECTION),
        **_row(_S.COMPENSATING, _UNDOING),
        e.SagaCancelled: _S.COMPENSATING,
        e.SagaAbandoned: _S.ABANDONED,
    },
    _S.COMPLETED: {**_row(_S.COMPLETED, _NOTES), e.SagaReopened: _S.COMPENSATING},
    _S.COMPENSATED: _row(_S.COMPENSATED, _NOTES),
    _S.ABANDONED: _row(_S.ABANDONED, _NOTES),
}

_OUTCOMES: dict[type[Entry], tuple[StepStatus, ...]] = {
    e.AttemptNotExecuted: (_A.WAITING,),
    e.AttemptUncertain: (_A.WAITING,),
    e.AttemptRefused: (_A.WAITING,),
    e.AttemptPending: (_A.WAITING,),
    e.AttemptDeferred: (_A.WAITING,),
    e.Withdrawn: (_A.WAITING,),
}

#: Status of a step → entry → statuses it may lead to (one, unless the entry says which).
STEP_TRANSITIONS: Mapping[StepStatus, Mapping[type[Entry], tuple[StepStatus, ...]]] = {
    _A.PENDING: {
        e.Invoked: (_A.INVOKING,),
        e.StepSkipped: (_A.SKIPPED,),
        e.StepExpanded: (_A.INVOKING,),
        e.WaitBegan: (_A.WAITING,),
        e.SignalAwaited: (_A.WAITING,),
        e.StepSucceeded: (_A.SUCCEEDED,),
        e.StepRefused: (_A.REFUSED,),
        e.StepParked: (_A.REFUSED,),
        e.SkipCommanded: (_A.SKIPPED,),
    },
    _A.INVOKING: {
        **_OUTCOMES,
        e.ChildStarted: (_A.WAITING,),
        e.TaskTaken: (_A.INVOKING,),
        e.TaskExtended: (_A.INVOKING,),
        e.StepSucceeded: (_A.SUCCEEDED,),
        # Of a step with instances, when they have settled; no attempt is open then.
        e.StepRefused: (_A.REFUSED,),
        e.StepUncertain: (_A.UNCERTAIN,),
    },
    _A.WAITING: {
        e.Invoked: (_A.INVOKING,),
        e.AttemptUncertain: (_A.WAITING,),
        e.AttemptRefused: (_A.WAITING,),
        e.RetryCommanded: (_A.WAITING,),
        e.StepSucceeded: (_A.SUCCEEDED,),
        e.StepRefused: (_A.REFUSED,),
        e.StepUncertain: (_A.UNCERTAIN,),
        e.StepParked: (_A.REFUSED, _A.UNCERTAIN),
    },
    # A settled action stays as it is; one that succeeded may yet be found to have an output over the limit.
    _A.SUCCEEDED: {e.StepParked: (_A.SUCCEEDED,)},
    _A.REFUSED: {},
    _A.UNCERTAIN: {},
    _A.SKIPPED: {},
}

#: What an action that is parked waits for, whatever is known of it: a person, or a success that comes late.
PARKED_TRANSITIONS: Mapping[type[Entry], tuple[StepStatus, ...]] = {
    e.RetryCommanded: (_A.PENDING, _A.WAITING),
    e.SkipCommanded: (_A.SKIPPED,),
    e.ResolveCommanded: (_A.SUCCEEDED, _A.REFUSED),
    e.StepSucceeded: (_A.SUCCEEDED,),
}

_UNDO_OUTCOMES: dict[type[Entry], tuple[UndoStatus, ...]] = dict.fromkeys(
    (*_OUTCOMES, e.ChildStarted), (_U.WAITING,)
)

#: Status of a step's compensation → entry → statuses it may lead to.
UNDO_TRANSITIONS: Mapping[UndoStatus, Mapping[type[Entry], tuple[UndoStatus, ...]]] = {
    _U.PENDING: {e.Invoked: (_U.INVOKING,), e.CompensationFailed: (_U.FAILED,)},
    _U.INVOKING: {
        **_UNDO_OUTCOMES,
        e.TaskTaken: (_U.INVOKING,),
        e.TaskExtended: (_U.INVOKING,),
        e.CompensationUndone: (_U.UNDONE,),
    },
    _U.WAITING: {
        e.Invoked: (_U.INVOKING,),
        e.AttemptUncertain: (_U.WAITING,),
        e.AttemptRefused: (_U.WAITING,),
        e.RetryCommanded: (_U.WAITING,),
        e.CompensationUndone: (_U.UNDONE,),
        e.CompensationFailed: (_U.FAILED,),
    },
    _U.FAILED: {
        e.RetryCommanded: (_U.WAITING,),
        e.SkipCommanded: (_U.SKIPPED,),
        e.ResolveCommanded: (_U.RESOLVED,),
        e.CompensationUndone: (_U.UNDONE,),
    },
    _U.UNDONE: {},
    _U.SKIPPED: {},
    _U.RESOLVED: {},
}


def action_status(step: StepState, entry: Entry, wanted: StepStatus | None = None) -> StepStatus:
    """Return where the entry leads the step's action: to ``wanted`` where there is a choice.

    Raises :class:`~saga.errors.IllegalEntry` when the tables do not allow it.
    """
    row = PARKED_TRANSITIONS if step.parked else STEP_TRANSITIONS[step.status]
    allowed = row.get(type(entry), ())
    to = wanted if wanted is not None else (allowed[0] if allowed else None)
    if to is None or to not in allowed:
        raise IllegalEntry(f"{entry.kind} for step {step.name}, whose action is {step.status}")
    return to


def undo_status(step: StepState, entry: Entry) -> UndoStatus:
    """Return where the entry leads the step's compensation.

    Raises :class:`~saga.errors.IllegalEntry` when the table does not allow it.
    """
    allowed = UNDO_TRANSITIONS[step.undo_status].get(type(entry), ())
    if not allowed:
        raise IllegalEntry(f"{entry.kind} for step {step.name}, whose compensation is {step.undo_status}")
    return allowed[0]
