"""What can have happened to a saga: the closed union of journal entries.

Entries are facts in the past tense, frozen, and for ever: a field may be added with a default, none is
removed or given another meaning, and a release that needs more raises :data:`FORMAT`.
``at`` and every other time is epoch seconds (UTC); durations are seconds.
Units are steps or, of a step with ``for_each``, its instances: ``issue_ticket[0]``.
"""

from __future__ import annotations

from saga.core.entries.attempts import (
    AttemptDeferred,
    AttemptNotExecuted,
    AttemptPending,
    AttemptRefused,
    AttemptUncertain,
    ChildStarted,
    Invoked,
    LateAnswer,
    TaskExtended,
    TaskTaken,
    Withdrawn,
)
from saga.core.entries.base import Entry
from saga.core.entries.commands import (
    CommandRefused,
    CommandUnchanged,
    ResolveCommanded,
    RetryCommanded,
    SagaAbandoned,
    SagaCancelled,
    SagaPaused,
    SagaResumed,
    SkipCommanded,
)
from saga.core.entries.sagas import (
    SagaCompensated,
    SagaCompleted,
    SagaMarkedLate,
    SagaParked,
    SagaReopened,
    SagaStarted,
    SignalReceived,
    TurnedBackward,
)
from saga.core.entries.steps import (
    CompensationFailed,
    CompensationUndone,
    SignalAwaited,
    StepExpanded,
    StepParked,
    StepRefused,
    StepSkipped,
    StepSucceeded,
    StepUncertain,
    WaitBegan,
)

#: Version of the journal's format; a saga carries the one it was started with.
FORMAT = 1

#: The union: every entry there is, by the name it has in journals.
KINDS: dict[str, type[Entry]] = {
    entry.kind: entry
    for entry in (
        SagaStarted,
        TurnedBackward,
        SagaMarkedLate,
        SagaParked,
        SagaCompleted,
        SagaCompensated,
        SagaReopened,
        SignalReceived,
        SagaPaused,
        SagaResumed,
        SagaCancelled,
        SagaAbandoned,
        RetryCommanded,
        SkipCommanded,
        ResolveCommanded,
        CommandUnchanged,
        CommandRefused,
        Invoked,
        Withdrawn,
        AttemptNotExecuted,
        AttemptUncertain,
        AttemptRefused,
        AttemptPending,
        AttemptDeferred,
        ChildStarted,
        TaskTaken,
        TaskExtended,
        LateAnswer,
        StepSkipped,
        StepExpanded,
        WaitBegan,
        SignalAwaited,
        StepSucceeded,
        StepRefused,
        StepUncertain,
        StepParked,
        CompensationUndone,
        CompensationFailed,
    )
}
