"""The state of one saga, as far as its journal tells: frozen values, made only by ``journal.evolve``.

Times are epoch seconds (UTC). Timers that stand still while the saga is paused are shifted when it resumes,
so that nothing here has to be read together with a pause.
The values have no slots: a changed copy is then a copied ``__dict__``, five times cheaper than ``replace``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from saga.core.entries import SagaStarted
from saga.core.entries.base import Cause, Via
from saga.core.statuses import Direction, Status, StepStatus, UndoStatus
from saga.language.fields import Phase

Value = TypeVar("Value")


def changed(value: Value, **changes: Any) -> Value:
    """Return a copy of a value of this module with some fields changed, as ``dataclasses.replace`` does."""
    copy: Value = object.__new__(type(value))
    object.__setattr__(copy, "__dict__", value.__dict__ | changes)
    return copy


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why something did not go as wanted."""

    step: str | None = None
    kind: Cause
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Open:
    """An attempt that has been invoked and has no outcome yet."""

    since: float
    timeout: float
    via: Via
    #: Of a worker's task: until when its lease runs; None while no worker has taken it.
    lease_until: float | None = None


@dataclass(frozen=True, kw_only=True)
class Pending:
    """An outcome that was promised (202)."""

    since: float
    until: float
    location: str | None


@dataclass(frozen=True, kw_only=True)
class InvocationState:
    """All attempts of one action or one compensation."""

    #: Number of the last attempt; 0 when never invoked.
    attempts: int = 0
    open: Open | None = None
    pending: Pending | None = None
    #: An earlier attempt may have happened. Never taken back but by a verdict.
    doubt: bool = False
    #: Attempts that count in the present budget, and refusals among them.
    tries: int = 0
    refusals: int = 0
    #: Attempts that count, over all budgets.
    tries_ever: int = 0
    #: When the first attempt was made; what a participant's memory of the key is counted from.
    first_at: float | None = None
    #: When the present budget began.
    budget_at: float | None = None
    #: When the next attempt is due.
    next_at: float | None = None
    #: Until when a participant that answers "too early" is asked again.
    deferred_until: float | None = None
    #: Not undone before: a request may still be on the wire from a coordinator that died.
    hold_until: float | None = None
    #: An attempt that may still be on the wire although its outcome came another way, by callback.
    wire: Open | None = None
    #: Digest of the request, from the first attempt.
    digest: str = ""
    #: Hash of the callback that gave the last outcome.
    callback: str | None = None
    #: The child saga that stands for it.
    child: str | None = None
    failure: Failure | None = None

    @property
    def quiet_at(self) -> float | None:
        """When none of its settled attempts can be on the wire any more; None when none can be now."""
        wired = None if self.wire is None else self.wire.since + self.wire.timeout
        return max((at for at in (self.hold_until, wired) if at is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class StepState:
    """One step, or one instance of a step with ``for_each``."""

    name: str
    status: StepStatus = StepStatus.PENDING
    undo_status: UndoStatus = UndoStatus.PENDING
    action: InvocationState = InvocationState()
    undo: InvocationState = InvocationState()
    output: Any = None
    #: Pointers of output members that are null because nothing was found.
    missing: tuple[str, ...] = ()
    #: It took effect, but its output was over the limit.
    oversized: bool = False
    #: Refused, and the saga goes on without it.
    tolerated: bool = False
    #: It cannot go on and must not be undone: a person decides.
    parked: bool = False
    #: Number of instances, once ``for_each`` was evaluated.
    count: int | None = None
    #: When a wait ends or a signal is given up.
    until: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    undo_started_at: float | None = None
    undo_ended_at: float | None = None
    failure: Failure | None = None
    undo_failure: Failure | None = None

    def invocation(self, phase: Phase) -> InvocationState:
        """Return the attempts of that phase."""
        return self.action if phase == "action" else self.undo

    @property
    def satisfied(self) -> bool:
        """True when steps after this one may go on."""
        if self.status is StepStatus.REFUSED:
            return self.tolerated
        if self.status is StepStatus.SUCCEEDED:
            return not (self.parked or self.oversized)
        return self.status is StepStatus.SKIPPED

    @property
    def settled(self) -> bool:
        """True when the action's story is over."""
        return self.status in _SETTLED

    @property
    def may_have_happened(self) -> bool:
        """True when its compensation is owed, unless the definition says that none is."""
        return self.status in (StepStatus.SUCCEEDED, StepStatus.UNCERTAIN)


_SETTLED = frozenset({StepStatus.SUCCEEDED, StepStatus.REFUSED, StepStatus.UNCERTAIN, StepStatus.SKIPPED})


@lru_cache(maxsize=4096)
def _pending(name: str) -> StepState:
    # Safe to share: it is frozen, and the same for every saga.
    return StepState(name=name)


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A signal that came and is not consumed."""

    message: str
    payload: Any


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Where the saga's one trace hangs."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    sampled: bool
    tracestate: str | None

    @classmethod
    def begun(cls, entry: SagaStarted) -> Trace | None:
        """Return the trace a saga was started with; None when it has none."""
        if entry.trace_id is None or entry.span_id is None:
            return None
        return cls(
            trace_id=entry.trace_id, span_id=entry.span_id, parent_span_id=entry.parent_span_id,
            sampled=entry.sampled, tracestate=entry.tracestate,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SagaState:
    """One saga."""

    id: str
    definition: str
    version: int
    status: Status
    direction: Direction
    input: Any
    labels: Mapping[str, str | float | int | bool] = field(default_factory=dict)
    #: Sequence number of the last entry.
    seq: int
    #: Bytes the journal takes, roughly: payloads exactly, entries by a fixed allowance.
    size: int
    late: bool = False
    started_at: float
    updated_at: float
    ended_at: float | None = None
    start_at: float | None = None
    deadline: float | None = None
    due: float | None = None
    paused_at: float | None = None
    parked_at: float | None = None
    #: Steps and instances that have a story; the others are pending.
    steps: Mapping[str, StepState] = field(default_factory=dict)
    signals: Mapping[str, tuple[Signal, ...]] = field(default_factory=dict)
    #: Why it went backward, or what its end lacks.
    failure: Failure | None = None
    #: Why it is parked.
    parking: Failure | None = None
    output: Any = None
    missing: tuple[str, ...] = ()
    trace: Trace | None = None
    parent: str | None = None
    parent_step: str | None = None
    rerun_of: str | None = None

    @property
    def ended(self) -> bool:
        """True when the saga has ended."""
        return self.ended_at is not None

    def step(self, name: str) -> StepState:
        """Return the step or instance of that name; pending when it has no story yet."""
        return self.steps.get(name) or _pending(name)

    def units(self, name: str) -> tuple[StepState, ...]:
        """Return the step, or its instances once its ``for_each`` was evaluated."""
        step = self.step(name)
        if step.count is None:
            return (step,)
        return tuple(self.step(instance_name(name, index)) for index in range(step.count))

    def open_invocations(self) -> Iterator[tuple[StepState, Phase]]:
        """Yield every invocation with an attempt on the wire."""
        for step in self.steps.values():
            if step.action.open is not None:
                yield step, "action"
            if step.undo.open is not None:
                yield step, "compensation"


def instance_name(step: str, index: int) -> str:
    """Return the name of an instance, such as ``issue_ticket[0]``."""
    return f"{step}[{index}]"


def step_name(unit: str) -> str:
    """Return the step of a unit: itself, or the step of an instance."""
    return unit.partition("[")[0]


def instance_index(unit: str) -> int | None:
    """Return which instance the unit is, None when it is a step."""
    _, bracket, rest = unit.partition("[")
    return int(rest[:-1]) if bracket else None


def shifted(step: StepState, seconds: float) -> StepState:
    """Return the step with every timer that stands still during a pause moved later."""
    return changed(
        step,
        until=_later(step.until, seconds),
        action=_shifted(step.action, seconds),
        undo=_shifted(step.undo, seconds),
    )


def _shifted(invocation: InvocationState, seconds: float) -> InvocationState:
    if invocation.attempts == 0:
        return invocation
    pending = invocation.pending
    if pending is not None:
        pending = changed(pending, since=pending.since + seconds, until=pending.until + seconds)
    # first_at and hold_until go on: the participant's memory and the wire do not pause.
    return changed(
        invocation,
        pending=pending,
        next_at=_later(invocation.next_at, seconds),
        budget_at=_later(invocation.budget_at, seconds),
        deferred_until=_later(invocation.deferred_until, seconds),
    )


def _later(time: float | None, seconds: float) -> float | None:
    return None if time is None else time + seconds
