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
from typing import Any

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.span_data import Closing, SpanData, attempt_span, outcome_span, root_span
from saga.core.span_story import Key, Running, Story
from saga.core.state import SagaState
from saga.core.statuses import Status


def spans(entries: Iterable[Entry], before: SagaState | None) -> list[SpanData]:
    """Return the spans that these entries ended; none when the saga's trace is not sampled.

    ``before`` is the state the entries were applied to; None: they begin the journal.
    """
    story = Story.of(before) if before is not None else None
    made: list[SpanData] = []
    for entry in entries:
        if isinstance(entry, e.SagaStarted):
            story = Story.begun(entry)
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


# what moves the story on, and ends nothing


def _sent(story: Story, entry: e.Invoked) -> None:
    story.running[entry.step, entry.phase] = Running(entry.attempt, entry.at, entry.via)
    if entry.phase == "action":
        story.sent[entry.step] = entry.attempt


def _quiet(story: Story, entry: Any) -> None:
    story.running[entry.step, entry.phase] = None


def _turned(story: Story, entry: e.TurnedBackward) -> None:
    story.cause = entry.cause


def _cancelled(story: Story, entry: e.SagaCancelled | e.SagaReopened) -> None:
    story.cause = "cancelled"
    story.unpause(entry.at)


def _late(story: Story, _entry: Entry) -> None:
    story.late = True


def _paused(story: Story, entry: e.SagaPaused) -> None:
    story.paused_at = entry.at


def _unpaused(story: Story, entry: Entry) -> None:
    story.unpause(entry.at)


# what ends an attempt, or the saga

_SUCCEEDED = Closing("succeeded", "ok")
_REFUSED = Closing("refused", "error")
_UNCERTAIN = Closing("uncertain", "error")
_NOT_EXECUTED = Closing("not-executed", "error")
_LOST = Closing("coordinator-lost", "error")
_PENDING = Closing("pending", "unset")
_CHILD = Closing("child-started", "unset")
#: What a late answer said; it is journalled as text, of which only these words are shown.
_LATE: dict[str, Closing] = {
    "succeeded": _SUCCEEDED, "refused": _REFUSED, "uncertain": _UNCERTAIN, "not-executed": _NOT_EXECUTED,
    "pending": _PENDING, "deferred": Closing("deferred", "unset"),
}  # fmt: skip


def _by(closing: Closing) -> Callable[[Story, Any], SpanData | None]:
    return lambda story, entry: _over(story, (entry.step, entry.phase), entry, closing)


def _succeeded(story: Story, entry: e.StepSucceeded) -> SpanData | None:
    return _over(story, (entry.step, "action"), entry, _SUCCEEDED)


def _undone(story: Story, entry: e.CompensationUndone) -> SpanData | None:
    return _over(story, (entry.step, "compensation"), entry, _SUCCEEDED)


def _promised(story: Story, entry: e.AttemptPending) -> SpanData | None:
    key: Key = (entry.step, entry.phase)
    span = _over(story, key, entry, _PENDING)
    story.running[key] = Running(entry.attempt, entry.at, "http", promised=True)
    return span


def _uncertain(story: Story, entry: e.AttemptUncertain) -> SpanData | None:
    key: Key = (entry.step, entry.phase)
    if story.runs(key) is None:
        # Given up between two answers "too early" (425), each of which has left nothing open.
        story.running[key] = Running(entry.attempt, entry.at, "http")
    return _over(story, key, entry, _LOST if entry.lost else _UNCERTAIN)


def _answered_late(story: Story, entry: e.LateAnswer) -> SpanData | None:
    closing = _LATE.get(entry.outcome)
    if entry.attempt is None or closing is None:
        return None
    return _over(story, (entry.step, entry.phase), entry, closing)


def _over(story: Story, key: Key, entry: Any, closing: Closing) -> SpanData | None:
    """Return the span of the attempt, or of the promised outcome, that is over; None when nothing was running."""
    was = story.runs(key)
    if was is None or entry.attempt not in (None, was.attempt):
        return None
    story.running[key] = None
    span = attempt_span(story, key, was, closing, entry.at)
    return outcome_span(story, key, was, span) if was.promised else span


def _ends(status: Status) -> Callable[[Story, Entry], SpanData]:
    return lambda story, entry: root_span(story, status, entry.at)


#: What an entry means for the spans; every other one means nothing.
_TELL: dict[type[Entry], Callable[[Story, Any], SpanData | None]] = {
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
