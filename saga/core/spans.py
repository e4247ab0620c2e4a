"""Spans made after the fact from a saga's journal: pure, so that the same journal always makes the same spans.

The one trace of a saga begins with the request that started it and ends with the saga, through retries, restarts
and changes of owner. No span is held open for it: a span is made when the entry that ends it is durable.

* ``AttemptNotExecuted``, ``AttemptUncertain``, ``AttemptRefused``, ``StepSucceeded``, ``CompensationUndone`` and
  (after the saga's end) ``LateAnswer`` end the attempt that is open.
* ``AttemptPending`` (202) and ``ChildStarted`` end it, too: the request is over. The outcome that a 202 promised
  ends a span of its own, a child of the attempt's, from the 202 to the outcome (without the time of a pause).
* ``AttemptDeferred`` (425) ends none: the same request is sent again as the same attempt, and the attempt's one
  span is that of its last request.
* ``Withdrawn`` ends none: nothing was sent.
* The saga's end ends the root. A completed child that its parent undoes ends twice: the same span, made longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.entries.base import Cause, Via
from saga.core.state import SagaState, Status, Trace
from saga.core.tracing import attempt_span_id, outcome_span_id
from saga.language.fields import Phase

Kind: TypeAlias = Literal["client", "internal"]
SpanStatus: TypeAlias = Literal["ok", "error", "unset"]

#: Every attribute a span may have. Of what clients and participants write there is nothing but the saga's id:
#: no payload, label, detail, address or header.
ATTRIBUTES: Final = frozenset(
    {
        "saga.id", "saga.definition", "saga.definition.version", "saga.step", "saga.phase", "saga.attempt",
        "saga.via", "saga.outcome", "saga.status", "saga.late", "error.type",
    }
)  # fmt: skip


class SpanData(NamedTuple):
    """One span that is over, as plain values; a tuple, because one is made for every attempt."""

    name: str
    trace_id: str
    span_id: str
    #: The client's span, or None, for a root span; never None for the others.
    parent_span_id: str | None
    kind: Kind
    #: Epoch seconds; ``end`` is never before ``start``, though a clock may have been set back.
    start: float
    end: float
    status: SpanStatus
    #: With an error one fixed word; never a participant's text.
    description: str | None
    #: Names are of :data:`ATTRIBUTES`.
    attributes: dict[str, str | int | bool]
    tracestate: str | None
    #: Span ids, in the same trace, of what this one has to do with.
    links: tuple[str, ...] = ()
    #: True when the parent is a span of somebody else.
    remote_parent: bool = False


def spans(entries: Iterable[Entry], before: SagaState | None) -> list[SpanData]:
    """Return the spans that these entries ended; none when the saga's trace is not sampled.

    ``before`` is the state the entries were applied to; None: they begin the journal.
    """
    story = _Story.of(before) if before is not None else None
    made: list[SpanData] = []
    for entry in entries:
        if isinstance(entry, e.SagaStarted):
            story = _Story.begun(entry)
        if story is None or not story.trace.sampled:
            return []
        tell = _TELL.get(type(entry))
        span = tell(story, entry) if tell is not None else None
        if span is not None:
            made.append(span)
    return made


def all_spans(entries: Sequence[Entry]) -> list[SpanData]:
    """Return every span of a whole journal: its new owner does not know what the last one has exported."""
    return list({span.span_id: span for span in spans(entries, None)}.values())


# --------------------------------------------------------------------------- what is read from a journal


class _Running(NamedTuple):
    """A request on the wire, or an outcome that is promised."""

    attempt: int
    since: float
    via: Via
    promised: bool = False


_Key: TypeAlias = tuple[str, Phase]


@dataclass(slots=True, kw_only=True)
class _Story:
    """What spans need to know of a saga; moved on entry by entry, which is far cheaper than the whole state."""

    id: str
    definition: str
    version: int
    trace: Trace
    started_at: float
    late: bool = False
    cause: Cause | None = None
    paused_at: float | None = None
    #: What is not in ``running`` is as it was here, but for ``paused`` seconds.
    before: SagaState | None = None
    paused: float = 0.0
    running: dict[_Key, _Running | None] = field(default_factory=dict)
    #: Last attempt of each action.
    sent: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begun(cls, entry: e.SagaStarted) -> _Story | None:
        if entry.trace_id is None or entry.span_id is None:
            return None
        trace = Trace(
            trace_id=entry.trace_id, span_id=entry.span_id, parent_span_id=entry.parent_span_id,
            sampled=entry.sampled, tracestate=entry.tracestate,
        )  # fmt: skip
        return cls(
            id=entry.saga,
            definition=entry.definition,
            version=entry.version,
            trace=trace,
            started_at=entry.at,
        )

    @classmethod
    def of(cls, state: SagaState) -> _Story | None:
        if state.trace is None:
            return None
        return cls(
            id=state.id, definition=state.definition, version=state.version, trace=state.trace,
            started_at=state.started_at, late=state.late, paused_at=state.paused_at, before=state,
            cause=state.failure.kind if state.failure is not None else None,
        )  # fmt: skip

    def runs(self, key: _Key) -> _Running | None:
        if key in self.running or self.before is None:
            return self.running.get(key)
        invocation = self.before.step(key[0]).invocation(key[1])
        if invocation.open is not None:
            return _Running(invocation.attempts, invocation.open.since, invocation.open.via)
        if invocation.pending is not None:
            return _Running(
                invocation.attempts, invocation.pending.since + self.paused, "http", promised=True
            )
        return None

    def last_sent(self, step: str) -> int:
        if step in self.sent or self.before is None:
            return self.sent.get(step, 0)
        return self.before.step(step).action.attempts

    def unpause(self, at: float) -> None:
        """Move what is promised later, as the state does with every timer."""
        if self.paused_at is None:
            return
        seconds = max(0.0, at - self.paused_at)
        self.paused_at = None
        self.paused += seconds
        for key, was in self.running.items():
            if was is not None and was.promised:
                self.running[key] = was._replace(since=was.since + seconds)


def _sent(story: _Story, entry: e.Invoked) -> None:
    story.running[entry.step, entry.phase] = _Running(entry.attempt, entry.at, entry.via)
    if entry.phase == "action":
        story.sent[entry.step] = entry.attempt


def _quiet(story: _Story, entry: Any) -> None:
    story.running[entry.step, entry.phase] = None


def _turned(story: _Story, entry: e.TurnedBackward) -> None:
    story.cause = entry.cause


def _cancelled(story: _Story, entry: e.SagaCancelled | e.SagaReopened) -> None:
    story.cause = "cancelled"
    story.unpause(entry.at)


def _late(story: _Story, _entry: Entry) -> None:
    story.late = True


def _paused(story: _Story, entry: e.SagaPaused) -> None:
    story.paused_at = entry.at


def _unpaused(story: _Story, entry: Entry) -> None:
    story.unpause(entry.at)


# --------------------------------------------------------------------------- attempts


class _Closing(NamedTuple):
    """How an attempt ended."""

    outcome: str
    status: SpanStatus


_SUCCEEDED = _Closing("succeeded", "ok")
_REFUSED = _Closing("refused", "error")
_UNCERTAIN = _Closing("uncertain", "error")
_NOT_EXECUTED = _Closing("not-executed", "error")
_LOST = _Closing("coordinator-lost", "error")
_PENDING = _Closing("pending", "unset")
_CHILD = _Closing("child-started", "unset")
#: What a late answer said; it is journalled as text, of which only these words are shown.
_LATE: dict[str, _Closing] = {
    "succeeded": _SUCCEEDED, "refused": _REFUSED, "uncertain": _UNCERTAIN, "notexecuted": _NOT_EXECUTED,
    "pending": _PENDING, "deferred": _Closing("deferred", "unset"),
}  # fmt: skip


def _by(closing: _Closing) -> Callable[[_Story, Any], SpanData | None]:
    return lambda story, entry: _over(story, (entry.step, entry.phase), entry, closing)


def _succeeded(story: _Story, entry: e.StepSucceeded) -> SpanData | None:
    return _over(story, (entry.step, "action"), entry, _SUCCEEDED)


def _undone(story: _Story, entry: e.CompensationUndone) -> SpanData | None:
    return _over(story, (entry.step, "compensation"), entry, _SUCCEEDED)


def _promised(story: _Story, entry: e.AttemptPending) -> SpanData | None:
    key: _Key = (entry.step, entry.phase)
    span = _over(story, key, entry, _PENDING)
    story.running[key] = _Running(entry.attempt, entry.at, "http", promised=True)
    return span


def _uncertain(story: _Story, entry: e.AttemptUncertain) -> SpanData | None:
    key: _Key = (entry.step, entry.phase)
    if story.runs(key) is None:
        # Given up between two answers "too early" (425), each of which has left nothing open.
        story.running[key] = _Running(entry.attempt, entry.at, "http")
    return _over(story, key, entry, _LOST if entry.lost else _UNCERTAIN)


def _answered_late(story: _Story, entry: e.LateAnswer) -> SpanData | None:
    closing = _LATE.get(entry.outcome)
    if entry.attempt is None or closing is None:
        return None
    return _over(story, (entry.step, entry.phase), entry, closing)


def _over(story: _Story, key: _Key, entry: Any, closing: _Closing) -> SpanData | None:
    """Return the span of the attempt, or of the promised outcome, that is over; None when nothing was running."""
    was = story.runs(key)
    if was is None or entry.attempt not in (None, was.attempt):
        return None
    story.running[key] = None
    span = _attempt(story, key, was, closing, entry.at)
    return _outcome(story, key, was, span) if was.promised else span


def _attempt(story: _Story, key: _Key, was: _Running, closing: _Closing, at: float) -> SpanData:
    step, phase = key
    failed = closing.status == "error"
    attributes: dict[str, str | int | bool] = {
        "saga.id": story.id,
        "saga.definition": story.definition,
        "saga.step": step,
        "saga.phase": phase,
        "saga.attempt": was.attempt,
        "saga.outcome": closing.outcome,
    }
    if was.via != "http":
        attributes["saga.via"] = was.via
    if failed:
        attributes["error.type"] = closing.outcome
    return SpanData(
        name=f"{step} {phase}",
        trace_id=story.trace.trace_id,
        span_id=attempt_span_id(story.id, step, phase, was.attempt),
        parent_span_id=story.trace.span_id,
        tracestate=story.trace.tracestate,
        kind="client" if was.via == "http" else "internal",
        start=was.since,
        end=max(was.since, at),
        status=closing.status,
        description=closing.outcome if failed else None,
        attributes=attributes,
        links=_undoes(story, step) if phase == "compensation" else (),
    )


def _outcome(story: _Story, key: _Key, was: _Running, attempt: SpanData) -> SpanData:
    """Return the span of the wait for a promised outcome, made from what would be the attempt's."""
    return attempt._replace(
        name=f"{attempt.name} outcome",
        span_id=outcome_span_id(story.id, *key, was.attempt),
        parent_span_id=attempt.span_id,
        kind="internal",
    )


def _undoes(story: _Story, step: str) -> tuple[str, ...]:
    """Return the span of the action's last attempt, which is what a compensation makes amends for."""
    attempts = story.last_sent(step)
    return (attempt_span_id(story.id, step, "action", attempts),) if attempts else ()


# --------------------------------------------------------------------------- the saga


def _ends(status: Status) -> Callable[[_Story, Entry], SpanData]:
    return lambda story, entry: _root(story, status, entry.at)


def _root(story: _Story, status: Status, at: float) -> SpanData:
    """Return the root span: from the accepted start to the end, however many processes that took."""
    completed = status is Status.COMPLETED
    trace = story.trace
    return SpanData(
        name=f"saga {story.definition}",
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_span_id=trace.parent_span_id,
        remote_parent=trace.parent_span_id is not None,
        tracestate=trace.tracestate,
        kind="internal",
        start=story.started_at,
        end=max(story.started_at, at),
        status="ok" if completed else "error",
        description=None if completed else status.value,
        attributes=_root_attributes(story, status),
    )


def _root_attributes(story: _Story, status: Status) -> dict[str, str | int | bool]:
    attributes: dict[str, str | int | bool] = {
        "saga.id": story.id,
        "saga.definition": story.definition,
        "saga.definition.version": story.version,
        "saga.status": status.value,
    }
    if story.late:
        attributes["saga.late"] = True
    if status is not Status.COMPLETED:
        attributes["error.type"] = story.cause or status.value
    return attributes


#: What an entry means for the spans; every other one means nothing.
_TELL: dict[type[Entry], Callable[[_Story, Any], SpanData | None]] = {
    e.Invoked: _sent,
    e.Withdrawn: _quiet,
    e.AttemptDeferred: _quiet,
    e.AttemptNotExecuted: _by(_NOT_EXECUTED),
    e.AttemptUncertain: _uncertain,
    e.AttemptRefused: _by(_REFUSED),
    e.AttemptPending: _promised,
    e.ChildStarted: _by(_CHILD),
    e.StepSucceeded: _succeeded,
    e.CompensationUndone: _undone,
    e.LateAnswer: _answered_late,
    e.TurnedBackward: _turned,
    e.SagaCancelled: _cancelled,
    e.SagaReopened: _cancelled,
    e.SagaMarkedLate: _late,
    e.SagaPaused: _paused,
    e.SagaResumed: _unpaused,
    e.SagaParked: _unpaused,
    e.SagaCompleted: _ends(Status.COMPLETED),
    e.SagaCompensated: _ends(Status.COMPENSATED),
    e.SagaAbandoned: _ends(Status.ABANDONED),
}
