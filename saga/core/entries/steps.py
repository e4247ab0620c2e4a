"""What becomes of steps and of their compensations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from saga.core.entries.base import Cause, Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSkipped(Entry):
    """Its ``when`` was false."""

    kind: ClassVar[str] = "step_skipped"
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExpanded(Entry):
    """Its ``for_each`` was evaluated: so many instances follow."""

    kind: ClassVar[str] = "step_expanded"
    step: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitBegan(Entry):
    """A timer was set."""

    kind: ClassVar[str] = "wait_began"
    step: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalAwaited(Entry):
    """The step waits for a signal."""

    kind: ClassVar[str] = "signal_awaited"
    step: str
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSucceeded(Entry):
    """The action took effect."""

    kind: ClassVar[str] = "step_succeeded"
    step: str
    #: The attempt that was answered; None when it was not an answer (a wait, a signal, a child).
    attempt: int | None = None
    output: Any = None
    #: Pointers of members of the output that were not found.
    missing: tuple[str, ...] = ()
    #: The output was over its limit and is not kept.
    oversized: bool = False
    callback: str | None = None
    #: Id of the signal that was consumed.
    signal: str | None = None
    #: Bytes of the output as JSON.
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRefused(Entry):
    """The action certainly did not take effect; nothing is owed."""

    kind: ClassVar[str] = "step_refused"
    step: str
    cause: Cause
    detail: str = ""
    #: ``on_refused: continue``: the saga goes on without it.
    tolerated: bool = False
    signal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUncertain(Entry):
    """Whether the action took effect stays unknown; its compensation is owed."""

    kind: ClassVar[str] = "step_uncertain"
    step: str
    cause: Cause = "uncertain"
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepParked(Entry):
    """The action cannot go on and must not be undone: a person decides."""

    kind: ClassVar[str] = "step_parked"
    step: str
    #: What is known of its effect.
    status: Literal["refused", "uncertain", "succeeded"]
    cause: Cause
    detail: str = ""
    signal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensationUndone(Entry):
    """The participant has made amends, or never had to."""

    kind: ClassVar[str] = "compensation_undone"
    step: str
    attempt: int | None = None
    callback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensationFailed(Entry):
    """Undoing is exhausted: a person decides."""

    kind: ClassVar[str] = "compensation_failed"
    step: str
    cause: Cause
    detail: str = ""
