"""What happens to a saga as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from saga.core.entries.base import Cause, Entry
from saga.language.fields import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaStarted(Entry):
    """The start was accepted."""

    kind: ClassVar[str] = "saga_started"
    saga: str
    definition: str
    version: int
    input: Any = None
    labels: dict[str, str | float | int | bool] = field(default_factory=dict)
    #: Nothing is sent before this time.
    start_at: float | None = None
    #: When backward recovery starts, unless the pivot has been invoked.
    deadline: float | None = None
    #: When the saga is late.
    due: float | None = None
    trace_id: str | None = None
    #: Span id of the saga's root span.
    span_id: str | None = None
    #: Span id of the client that started it.
    parent_span_id: str | None = None
    sampled: bool = False
    tracestate: str | None = None
    #: The saga this one is a child of, and the step it stands for.
    parent: str | None = None
    parent_step: str | None = None
    #: The saga this one repeats.
    rerun_of: str | None = None
    by: str = ""
    #: Bytes of the input as JSON.
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedBackward(Entry):
    """Backward recovery began."""

    kind: ClassVar[str] = "turned_backward"
    #: The step that was the reason, None when it was the deadline.
    step: str | None = None
    cause: Cause
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaMarkedLate(Entry):
    """It should have ended by now, or a step has been tried for long."""

    kind: ClassVar[str] = "saga_marked_late"
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaParked(Entry):
    """Nothing can move without a person."""

    kind: ClassVar[str] = "saga_parked"
    step: str | None = None
    phase: Phase | None = None
    cause: Cause
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaCompleted(Entry):
    """Every step is done."""

    kind: ClassVar[str] = "saga_completed"
    output: Any = None
    #: Pointers of members of the output that were not found.
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaCompensated(Entry):
    """Everything that was owed is undone."""

    kind: ClassVar[str] = "saga_compensated"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaReopened(Entry):
    """A completed child goes backward because its parent does."""

    kind: ClassVar[str] = "saga_reopened"
    by: str = ""
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalReceived(Entry):
    """A signal came and waits in its queue."""

    kind: ClassVar[str] = "signal_received"
    name: str
    message: str
    payload: Any = None
    by: str = ""
    size: int = 0
