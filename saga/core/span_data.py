"""Spans as plain values: what each of the three kinds says, and what none ever says.

A saga has a root span. Each attempt has a span below it, and a promised outcome (202) one below its attempt's.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from saga.core.span_story import Key, Running, Story
from saga.core.statuses import Status
from saga.core.tracing import attempt_span_id, outcome_span_id

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


class Closing(NamedTuple):
    """How an attempt ended."""

    outcome: str
    status: SpanStatus


def attempt_span(story: Story, key: Key, was: Running, closing: Closing, at: float) -> SpanData:
    """Return the span of an attempt that ended so at that time (epoch seconds)."""
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


def outcome_span(story: Story, key: Key, was: Running, attempt: SpanData) -> SpanData:
    """Return the span of the wait for a promised outcome, made from what would be the attempt's."""
    return attempt._replace(
        name=f"{attempt.name} outcome",
        span_id=outcome_span_id(story.id, *key, was.attempt),
        parent_span_id=attempt.span_id,
        kind="internal",
    )


def _undoes(story: Story, step: str) -> tuple[str, ...]:
    """Return the span of the action's last attempt, which is what a compensation makes amends for."""
    attempts = story.last_sent(step)
    return (attempt_span_id(story.id, step, "action", attempts),) if attempts else ()


def root_span(story: Story, status: Status, at: float) -> SpanData:
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


def _root_attributes(story: Story, status: Status) -> dict[str, str | int | bool]:
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
