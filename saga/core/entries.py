"""What can have happened to a saga: the closed union of journal entries, and their JSON.

Entries are facts in the past tense, frozen, and for ever: a field may be added with a default, none is
removed or given another meaning, and a release that needs more raises :data:`FORMAT`.
``at`` and every other time is epoch seconds (UTC); durations are seconds.
Units are steps or, of a step with ``for_each``, its instances: ``issue_ticket[0]``.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic_core import from_json, to_json

from saga.errors import UnreadableJournal
from saga.ports import Phase

#: Version of the journal's format; a saga carries the one it was started with.
FORMAT = 1

#: How an invocation is carried out.
Via: TypeAlias = Literal["http", "worker", "child"]

Cause: TypeAlias = Literal[
    "refused",  # a definite no
    "uncertain",  # the outcome stayed unknown
    "unreachable",  # certainly not executed, until the attempts were used up
    "template",  # a reference found nothing
    "deadline",  # the deadline of the forward part has passed
    "cancelled",  # a person asked for it
    "signal-timeout",  # the awaited signal did not come
    "child",  # a child saga ended otherwise than needed
    "size",  # over a limit of size
    "output",  # an output has members that were not found
    "key-expired",  # the participant may have forgotten the key
    "internal",  # the coordinator could not go on
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact; every kind is a direct subclass in this module, and nobody adds one elsewhere."""

    kind: ClassVar[str]
    at: float


# --------------------------------------------------------------------------- the saga


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
class SagaParked(Entry):
    """Nothing can move without a person."""

    kind: ClassVar[str] = "saga_parked"
    step: str | None = None
    phase: Phase | None = None
    cause: Cause
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaMarkedLate(Entry):
    """It should have ended by now, or a step has been tried for long."""

    kind: ClassVar[str] = "saga_marked_late"
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
class SagaAbandoned(Entry):
    """It ended with something left undone: by command, or because a compensation was skipped."""

    kind: ClassVar[str] = "saga_abandoned"
    by: str = ""
    reason: str = ""
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaReopened(Entry):
    """A completed child goes backward because its parent does."""

    kind: ClassVar[str] = "saga_reopened"
    by: str = ""
    message: str | None = None


# --------------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaPaused(Entry):
    """Nothing is sent until it is resumed; what arrives is recorded."""

    kind: ClassVar[str] = "saga_paused"
    by: str = ""
    reason: str = ""
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaResumed(Entry):
    """It goes on; timers go on from where they stood."""

    kind: ClassVar[str] = "saga_resumed"
    by: str = ""
    reason: str = ""
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaCancelled(Entry):
    """A person asked for backward recovery, and it begins."""

    kind: ClassVar[str] = "saga_cancelled"
    by: str = ""
    reason: str = ""
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryCommanded(Entry):
    """The named invocations are due now, each with a new budget."""

    kind: ClassVar[str] = "retry_commanded"
    #: ``<unit>:<phase>`` of each; empty: the saga as a whole, after an internal error.
    invocations: tuple[str, ...] = ()
    by: str = ""
    reason: str = ""
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipCommanded(Entry):
    """A person decided that this action or compensation shall not be done."""

    kind: ClassVar[str] = "skip_commanded"
    step: str
    phase: Phase
    by: str = ""
    reason: str = ""
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveCommanded(Entry):
    """A person found out what happened, or did it by hand."""

    kind: ClassVar[str] = "resolve_commanded"
    step: str
    phase: Phase
    outcome: Literal["succeeded", "refused", "undone"]
    output: Any = None
    #: A refusal that does not stop the saga (``on_refused: continue``).
    tolerated: bool = False
    #: A refusal past the pivot: known now, but still in the way.
    parked: bool = False
    by: str = ""
    reason: str = ""
    message: str | None = None
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandUnchanged(Entry):
    """A command whose effect was there already."""

    kind: ClassVar[str] = "command_unchanged"
    command: str
    by: str = ""
    reason: str = ""
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRefused(Entry):
    """A command that does not fit the saga as it is."""

    kind: ClassVar[str] = "command_refused"
    command: str
    #: Stable word for programs, such as ``pivot-passed``.
    type: str
    detail: str = ""
    by: str = ""
    reason: str = ""
    message: str | None = None


# --------------------------------------------------------------------------- invocations and attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoked(Entry):
    """The intent: this request is due. Durable before it is sent."""

    kind: ClassVar[str] = "invoked"
    step: str
    phase: Phase
    attempt: int
    #: Seconds the answer is waited for.
    timeout: float
    via: Via = "http"
    #: Hash of method, path, query and body, so that another attempt with other bytes is noticed.
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn(Entry):
    """The owner knows that the open attempt was not sent, and takes the intent back."""

    kind: ClassVar[str] = "withdrawn"
    step: str
    phase: Phase
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptNotExecuted(Entry):
    """The participant certainly did nothing."""

    kind: ClassVar[str] = "attempt_not_executed"
    step: str
    phase: Phase
    attempt: int
    detail: str = ""
    #: When the next attempt is due; None: there is none.
    next_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptUncertain(Entry):
    """It may have happened. No later failure takes this doubt away."""

    kind: ClassVar[str] = "attempt_uncertain"
    step: str
    phase: Phase
    attempt: int
    detail: str = ""
    next_at: float | None = None
    #: The coordinator died with the request in its hands; does not count against the attempts.
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRefused(Entry):
    """The participant said no to this attempt."""

    kind: ClassVar[str] = "attempt_refused"
    step: str
    phase: Phase
    attempt: int
    detail: str = ""
    next_at: float | None = None
    #: Hash of the callback that said so, to know it when it comes again.
    callback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPending(Entry):
    """Accepted (202); the outcome comes by callback or poll."""

    kind: ClassVar[str] = "attempt_pending"
    step: str
    phase: Phase
    attempt: int
    #: Absolute address to poll, when one was given on the participant's own host.
    location: str | None = None
    #: When it is given up as uncertain.
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptDeferred(Entry):
    """Too early (425): the same request again, under the same number."""

    kind: ClassVar[str] = "attempt_deferred"
    step: str
    phase: Phase
    attempt: int
    next_at: float
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


# --------------------------------------------------------------------------- steps


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
class SignalReceived(Entry):
    """A signal came and waits in its queue."""

    kind: ClassVar[str] = "signal_received"
    name: str
    message: str
    payload: Any = None
    by: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStarted(Entry):
    """The child saga exists, or its undoing was asked for."""

    kind: ClassVar[str] = "child_started"
    step: str
    phase: Phase
    attempt: int
    child: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTaken(Entry):
    """A worker took the open attempt, until its lease runs out."""

    kind: ClassVar[str] = "task_taken"
    step: str
    phase: Phase
    attempt: int
    worker: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExtended(Entry):
    """The worker's lease was prolonged."""

    kind: ClassVar[str] = "task_extended"
    step: str
    phase: Phase
    attempt: int
    until: float


# A slotted dataclass is made from a first class without slots, which may still be listed.
KINDS: dict[str, type[Entry]] = {
    entry.kind: entry for entry in Entry.__subclasses__() if "__slots__" in vars(entry)
}


def _defaults(entry: type[Entry]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (item.name, item.default_factory() if item.default_factory is not MISSING else item.default)
        for item in fields(entry)
    )


_FIELDS = {entry: _defaults(entry) for entry in KINDS.values()}
_TUPLES = {
    entry: tuple(item.name for item in fields(entry) if str(item.type).startswith("tuple"))
    for entry in KINDS.values()
}


def as_dict(entry: Entry) -> dict[str, Any]:
    """Return the entry as a JSON object without the members that have their default."""
    shown: dict[str, Any] = {"kind": entry.kind}
    for name, default in _FIELDS[type(entry)]:
        value = getattr(entry, name)
        if value is default:
            continue
        # A default that equals the value but has another type (0 and False) must be kept.
        if value != default or type(value) is not type(default):
            shown[name] = value
    return shown


def encode(entry: Entry) -> bytes:
    """Return the entry as JSON."""
    return to_json(as_dict(entry))


def decode(body: bytes) -> Entry:
    """Return the entry that :func:`encode` wrote.

    Members that this release does not know are left out: a later release may have added them.
    Raises :class:`~saga.errors.UnreadableJournal` for a kind that is not known and for anything else.
    """
    try:
        members: dict[str, Any] = from_json(body, allow_inf_nan=False)
        entry = KINDS[members.pop("kind")]
        known = {name: members[name] for name, _ in _FIELDS[entry] if name in members}
        for name in _TUPLES[entry]:
            if name in known:
                known[name] = tuple(known[name])
        return entry(**known)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableJournal(f"an entry cannot be read: {type(error).__name__}: {error}") from error
