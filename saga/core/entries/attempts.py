"""What happens to the attempts of an invocation: the intent, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from saga.core.entries.base import Entry, OfAttempt, Via
from saga.language.fields import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoked(OfAttempt):
    """The intent: this request is due. Durable before it is sent."""

    kind: ClassVar[str] = "invoked"
    #: Seconds the answer is waited for.
    timeout: float
    via: Via = "http"
    #: Hash of method, path, query and body, so that another attempt with other bytes is noticed.
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn(OfAttempt):
    """The owner knows that the open attempt was not sent, and takes the intent back."""

    kind: ClassVar[str] = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptNotExecuted(OfAttempt):
    """The participant certainly did nothing."""

    kind: ClassVar[str] = "attempt_not_executed"
    detail: str = ""
    #: When the next attempt is due; None: there is none.
    next_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptUncertain(OfAttempt):
    """It may have happened. No later failure takes this doubt away."""

    kind: ClassVar[str] = "attempt_uncertain"
    detail: str = ""
    next_at: float | None = None
    #: The coordinator died with the request in its hands; does not count against the attempts.
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRefused(OfAttempt):
    """The participant said no to this attempt."""

    kind: ClassVar[str] = "attempt_refused"
    detail: str = ""
    next_at: float | None = None
    #: Hash of the callback that said so, to know it when it comes again.
    callback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPending(OfAttempt):
    """Accepted (202); the outcome comes by callback or poll."""

    kind: ClassVar[str] = "attempt_pending"
    #: Absolute address to poll, when one was given on the participant's own host.
    location: str | None = None
    #: When it is given up as uncertain.
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptDeferred(OfAttempt):
    """Too early (425): the same request again, under the same number."""

    kind: ClassVar[str] = "attempt_deferred"
    next_at: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStarted(OfAttempt):
    """The child saga exists, or its undoing was asked for."""

    kind: ClassVar[str] = "child_started"
    child: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTaken(OfAttempt):
    """A worker took the open attempt, until its lease runs out."""

    kind: ClassVar[str] = "task_taken"
    worker: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExtended(OfAttempt):
    """The worker's lease was prolonged."""

    kind: ClassVar[str] = "task_extended"
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LateAnswer(Entry):
    """An answer that changes nothing any more."""

    kind: ClassVar[str] = "late_answer"
    step: str
    phase: Phase
    #: None when it came by callback.
    attempt: int | None = None
    outcome: str
    detail: str = ""
    message: str | None = None
