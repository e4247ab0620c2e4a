"""Transitions that nobody can bring about over HTTP yet, each with the reason."""

from __future__ import annotations

from saga.core import entries as e
from saga.core.entries import Entry
from tests.visits import Transition, all_transitions

_CHILDREN = "child sagas are not executed yet"
_WORKERS = "steps of workers are not executed yet"
_SIGNALS = "steps that wait for a signal are not executed yet"
_INSTANCES = "for_each is not executed yet"
_FIRST = (
    "an entry of the attempt comes first, and sets the parked saga going; only the end of a child has none"
)

#: Entries that occur with kinds of step that are not executed yet.
_KINDS: dict[type[Entry], str] = {
    e.ChildStarted: _CHILDREN,
    e.SagaReopened: _CHILDREN,
    e.TaskTaken: _WORKERS,
    e.TaskExtended: _WORKERS,
    e.Withdrawn: _WORKERS + ": only a task that no worker has taken is withdrawn",
    e.SignalReceived: _SIGNALS,
    e.SignalAwaited: _SIGNALS,
    e.WaitBegan: "waits are not executed yet",
    e.StepExpanded: _INSTANCES,
}
_ONES: dict[Transition, str] = {
    ("action", "invoking", e.StepRefused, "refused"): _INSTANCES + ": so settles a step whose instances have",
    ("action", "invoking", e.StepUncertain, "uncertain"): _INSTANCES
    + ": so settles a step whose instances have",
    ("action", "pending", e.StepSucceeded, "succeeded"): _INSTANCES + ": so settles one over an empty array",
    ("saga", "compensating", e.StepParked, "compensating"): _CHILDREN + ": so settles one that was abandoned",
    ("saga", "parked", e.StepParked, "running"): _FIRST,
    ("saga", "parked", e.StepParked, "compensating"): _FIRST,
    ("saga", "parked", e.StepRefused, "running"): _FIRST,
    ("saga", "parked", e.StepRefused, "compensating"): _FIRST,
    ("saga", "parked", e.StepUncertain, "running"): _FIRST,
    ("saga", "parked", e.StepUncertain, "compensating"): _FIRST,
    ("saga", "parked", e.CompensationFailed, "compensating"): _FIRST,
}

#: Transition → why it is never taken.
UNREACHED: dict[Transition, str] = {
    each: _KINDS[each[2]] for each in all_transitions() if each[2] in _KINDS
} | _ONES
