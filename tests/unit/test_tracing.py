"""Trace contexts, span ids and the spans a journal makes; pure, so everything is compared with plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.journal import evolve, replay
from saga.core.span_data import ATTRIBUTES, SpanData
from saga.core.spans import all_spans, spans
from saga.core.state import SagaState, Trace
from saga.core.tracing import (
    attempt_span_id,
    new_trace,
    outcome_span_id,
    parse_traceparent,
    parse_tracestate,
    traceparent_for,
)
from saga.otel_settings import Batching, sampler_from, wanted
from saga.ports.telemetry import NoTelemetry

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT = "00f067aa0ba902b7"
ROOT = "1122334455667788"
SAGA = "trip-1"

# --------------------------------------------------------------------------- W3C Trace Context


def test_traceparent_is_read() -> None:
    """The example of the specification."""
    found = parse_traceparent(f"00-{TRACE_ID}-{CLIENT}-01")
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled) == (TRACE_ID, CLIENT, True)


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)])
def test_only_the_lowest_flag_says_sampled(flags: str, sampled: bool) -> None:  # noqa: FBT001 - a parameter
    """Other flags may be set by later versions and mean nothing here."""
    found = parse_traceparent(f"00-{TRACE_ID}-{CLIENT}-{flags}")
    assert found is not None
    assert found.sampled is sampled


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        f"00-{TRACE_ID.upper()}-{CLIENT}-01",
        f"00-{'0' * 32}-{CLIENT}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-{CLIENT}-01",
        f"00-{TRACE_ID}-{CLIENT}-01-more",
        f"00-{TRACE_ID}-{CLIENT}-1",
        f"00-{TRACE_ID}-{CLIENT}-01\n",
        f" 00-{TRACE_ID}-{CLIENT}-01",
        f"00-{TRACE_ID[:-1]}-{CLIENT}-01",
        f"01-{TRACE_ID}-{CLIENT}-01more",
        f"00-{chr(0xFF14) * 32}-{CLIENT}-01",
    ],
)
def test_a_traceparent_that_is_not_one_is_no_client(text: str | None) -> None:
    """A broken header starts a new trace; it never breaks a start."""
    assert parse_traceparent(text) is None


@pytest.mark.parametrize(
    "text", [f"01-{TRACE_ID}-{CLIENT}-01", f"cc-{TRACE_ID}-{CLIENT}-01-what-the-future-brings"]
)
def test_a_later_version_is_read_as_far_as_it_is_known(text: str) -> None:
    """So the specification wants it."""
    found = parse_traceparent(text)
    assert found is not None
    assert found.trace_id == TRACE_ID


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_no_header_raises(text: str) -> None:
    """Whatever a client sends."""
    parse_traceparent(text)
    parse_tracestate(text)


@pytest.mark.parametrize(
    ("text", "passed_on"),
    [
        (None, None),
        ("", None),
        (" , ", None),
        ("congo=t61rcWkgMzE", "congo=t61rcWkgMzE"),
        ("rojo=00f067aa0ba902b7 ,\tcongo=t61 rc,", "rojo=00f067aa0ba902b7,congo=t61 rc"),
        ("fw529a3039@dt=FfIDbV", "fw529a3039@dt=FfIDbV"),
        ("congo=a,congo=b", None),
        ("Congo=a", None),
        ("congo", None),
        ("congo=", None),
        ("congo=a=b", None),
        ("congo=ü", None),
        ("congo=a\x1b[2J", None),
        ("a=" + "x" * 255, "a=" + "x" * 255),
        (",".join(f"k{number}={'x' * 16}" for number in range(40)), None),
        ("a=" + "x" * 255 + ",b=" + "x" * 255, None),
    ],
)
def test_tracestate_is_passed_on_whole_or_not_at_all(text: str | None, passed_on: str | None) -> None:
    """At most 32 members and 512 characters, each member well formed."""
    assert parse_tracestate(text) == passed_on


# --------------------------------------------------------------------------- ids


def start_of_trace(traceparent: str | None = None, tracestate: str | None = None, **random: bytes) -> Trace:
    """Return a new trace; without a client it is sampled."""
    chosen = {"random16": bytes(range(16)), "random8": bytes(range(8))} | random
    return new_trace(
        traceparent,
        tracestate,
        chosen["random16"],
        chosen["random8"],
        sample=lambda flag, _: flag is not False,
    )


def test_the_clients_span_is_the_roots_parent() -> None:
    """In the client's trace, with the client's flag and state."""
    assert start_of_trace(f"00-{TRACE_ID}-{CLIENT}-00", "congo=t61") == Trace(
        trace_id=TRACE_ID,
        span_id="0001020304050607",
        parent_span_id=CLIENT,
        sampled=False,
        tracestate="congo=t61",
    )


def test_without_a_client_the_trace_is_new() -> None:
    """And a tracestate without a traceparent means nothing."""
    assert start_of_trace("rubbish", "congo=t61") == Trace(
        trace_id="000102030405060708090a0b0c0d0e0f",
        span_id="0001020304050607",
        parent_span_id=None,
        sampled=True,
        tracestate=None,
    )


def test_zeros_are_no_id() -> None:
    """Not even when the random source gives nothing else."""
    trace = start_of_trace(random16=bytes(16), random8=bytes(8))
    assert (int(trace.trace_id, 16), int(trace.span_id, 16)) == (1, 1)
    assert (len(trace.trace_id), len(trace.span_id)) == (32, 16)


def test_span_ids_differ_by_each_of_their_parts() -> None:
    """Sixteen hex digits, the same every time."""
    ids = [
        attempt_span_id("s", "a", "action", 1),
        attempt_span_id("t", "a", "action", 1),
        attempt_span_id("s", "b", "action", 1),
        attempt_span_id("s", "a", "compensation", 1),
        attempt_span_id("s", "a", "action", 2),
        outcome_span_id("s", "a", "action", 1),
    ]
    assert len(set(ids)) == len(ids)
    assert all(len(bytes.fromhex(span_id)) == 8 for span_id in ids)
    assert attempt_span_id("s", "a", "action", 1) == ids[0]


def test_a_participant_is_sent_its_attempts_span_as_parent() -> None:
    """With the flag of the saga's trace."""
    trace = start_of_trace(f"00-{TRACE_ID}-{CLIENT}-01")
    header = traceparent_for(trace, SAGA, "flight", "action", 2)
    assert header == f"00-{TRACE_ID}-{attempt_span_id(SAGA, 'flight', 'action', 2)}-01"
    assert parse_traceparent(header) is not None


# --------------------------------------------------------------------------- spans of a journal


def started(at: float = 100.0, **members: Any) -> e.SagaStarted:
    """Return the start of a sampled saga."""
    trace: dict[str, Any] = {"trace_id": TRACE_ID, "span_id": ROOT, "parent_span_id": CLIENT, "sampled": True}
    return e.SagaStarted(at=at, saga=SAGA, definition="trip", version=3, **trace | members)


def invoked(at: float, step: str, phase: Any = "action", attempt: int = 1, via: Any = "http") -> e.Invoked:
    """Return an intent."""
    return e.Invoked(at=at, step=step, phase=phase, attempt=attempt, timeout=5.0, via=via)


def about(at: float, step: str, phase: Any = "action", attempt: int = 1) -> dict[str, Any]:
    """Return the members of an entry about an attempt."""
    return {"at": at, "step": step, "phase": phase, "attempt": attempt}


COMPENSATED = (
    started(),
    invoked(100.0, "flight"),
    e.AttemptNotExecuted(**about(101.0, "flight"), next_at=102.0),
    invoked(102.0, "flight", attempt=2),
    e.StepSucceeded(at=103.0, step="flight", attempt=2),
    invoked(103.0, "card"),
    e.AttemptRefused(**about(104.5, "card")),
    e.StepRefused(at=104.5, step="card", cause="refused"),
    e.TurnedBackward(at=104.5, step="card", cause="refused"),
    invoked(104.5, "flight", "compensation"),
    e.AttemptUncertain(**about(106.0, "flight", "compensation"), lost=True, next_at=106.0),
    invoked(106.0, "flight", "compensation", 2),
    e.CompensationUndone(at=107.0, step="flight", attempt=2),
    e.SagaCompensated(at=107.0),
)
PROMISED = (
    started(parent_span_id=None, tracestate="congo=t61"),
    invoked(100.0, "flight"),
    e.AttemptPending(**about(101.0, "flight"), until=900.0),
    e.SagaPaused(at=110.0),
    e.SagaResumed(at=130.0),
    e.StepSucceeded(at=140.0, step="flight", attempt=1),
    invoked(140.0, "hotel"),
    e.AttemptDeferred(**about(141.0, "hotel"), next_at=143.0, until=500.0),
    invoked(143.0, "hotel"),
    e.StepSucceeded(at=144.0, step="hotel", attempt=1),
    invoked(144.0, "seat", via="worker"),
    e.TaskTaken(**about(145.0, "seat"), worker="w1", until=200.0),
    e.StepSucceeded(at=146.0, step="seat", attempt=1),
    invoked(146.0, "meal", via="child"),
    e.ChildStarted(**about(147.0, "meal"), child="c1"),
    e.StepSucceeded(at=150.0, step="meal"),
    invoked(150.0, "mail"),
    e.Withdrawn(**about(150.0, "mail")),
    invoked(151.0, "mail", attempt=2),
    e.StepSucceeded(at=152.0, step="mail", attempt=2),
    e.SagaMarkedLate(at=153.0),
    e.SagaCompleted(at=154.0),
)
TOO_EARLY = (
    started(),
    invoked(100.0, "flight"),
    e.AttemptDeferred(**about(101.0, "flight"), next_at=110.0, until=105.0),
    e.AttemptUncertain(**about(106.0, "flight")),
    e.StepUncertain(at=106.0, step="flight"),
    e.TurnedBackward(at=106.0, step="flight", cause="uncertain"),
    invoked(106.0, "flight", "compensation"),
    e.SagaAbandoned(at=107.0),
    e.LateAnswer(**about(108.0, "flight", "compensation"), outcome="succeeded"),
)
JOURNALS = {"compensated": COMPENSATED, "promised": PROMISED, "too early": TOO_EARLY}


def named(found: Sequence[SpanData]) -> dict[str, SpanData]:
    """Return the spans by name and attempt."""
    return {f"{span.name} {span.attributes.get('saga.attempt', '')}".strip(): span for span in found}


def appended(journal: Sequence[Entry], sizes: Iterator[int]) -> list[SpanData]:
    """Return the spans of a journal that is written in appends of these sizes."""
    state: SagaState | None = None
    found: list[SpanData] = []
    rest = list(journal)
    while rest:
        size = next(sizes)
        batch, rest = rest[:size], rest[size:]
        found += spans(batch, state)
        for entry in batch:
            state = evolve(state, entry)
    return found


@pytest.mark.parametrize("name", JOURNALS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_every_way_of_appending_makes_the_same_spans(name: str, data: st.DataObject) -> None:
    """What an owner exports while it runs is what the next one exports from the whole journal."""
    journal = JOURNALS[name]
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=len(journal)))
    assert appended(journal, iter(sizes)) == all_spans(journal)


@pytest.mark.parametrize("name", JOURNALS)
def test_one_trace_with_distinct_spans_of_allowed_attributes(name: str) -> None:
    """All hang in the client's trace, and each has its parent in it."""
    found = all_spans(JOURNALS[name])
    assert replay(JOURNALS[name]).ended
    assert {span.trace_id for span in found} == {TRACE_ID}
    ids = [span.span_id for span in found]
    assert len(set(ids)) == len(ids)
    assert {span.parent_span_id for span in found if span.span_id != ROOT} <= set(ids)
    assert all(set(span.attributes) <= ATTRIBUTES for span in found)
    assert all(span.start <= span.end for span in found)


def test_the_root_span_lasts_from_the_start_to_the_end() -> None:
    """Under the client's span; it fails when the saga was undone, and says why in one word."""
    root = named(all_spans(COMPENSATED))["saga trip"]
    assert (root.span_id, root.parent_span_id, root.remote_parent) == (ROOT, CLIENT, True)
    assert (root.start, root.end) == (100.0, 107.0)
    assert (root.kind, root.status, root.description) == ("internal", "error", "compensated")
    assert root.attributes == {
        "saga.id": SAGA,
        "saga.definition": "trip",
        "saga.definition.version": 3,
        "saga.status": "compensated",
        "error.type": "refused",
    }


def test_a_root_without_a_client_has_no_parent() -> None:
    """It is ok when the saga completed, late or not."""
    root = named(all_spans(PROMISED))["saga trip"]
    assert (root.parent_span_id, root.remote_parent) == (None, False)
    assert (root.status, root.description, root.tracestate) == ("ok", None, "congo=t61")
    assert root.attributes["saga.late"] is True


def test_each_attempt_is_a_span_from_intent_to_answer() -> None:
    """Under the root, with its outcome."""
    found = named(all_spans(COMPENSATED))
    told = {
        name: (span.start, span.end, span.kind, span.status, span.attributes["saga.outcome"])
        for name, span in found.items()
        if "saga.attempt" in span.attributes
    }
    assert told == {
        "flight action 1": (100.0, 101.0, "client", "error", "not-executed"),
        "flight action 2": (102.0, 103.0, "client", "ok", "succeeded"),
        "card action 1": (103.0, 104.5, "client", "error", "refused"),
        "flight compensation 1": (104.5, 106.0, "client", "error", "coordinator-lost"),
        "flight compensation 2": (106.0, 107.0, "client", "ok", "succeeded"),
    }
    assert found["flight action 2"].span_id == attempt_span_id(SAGA, "flight", "action", 2)
    assert {span.parent_span_id for span in found.values()} == {ROOT, CLIENT}
    assert found["card action 1"].attributes == {
        "saga.id": SAGA,
        "saga.definition": "trip",
        "saga.step": "card",
        "saga.phase": "action",
        "saga.attempt": 1,
        "saga.outcome": "refused",
        "error.type": "refused",
    }


def test_a_compensation_is_linked_to_the_last_attempt_it_undoes() -> None:
    """An action is linked to nothing."""
    found = named(all_spans(COMPENSATED))
    undone = (attempt_span_id(SAGA, "flight", "action", 2),)
    assert found["flight compensation 1"].links == undone
    assert found["flight compensation 2"].links == undone
    assert found["flight action 2"].links == ()


def test_a_promised_outcome_is_a_span_under_its_attempt() -> None:
    """The request is over with the 202; the wait for what it promised does not count a pause."""
    found = named(all_spans(PROMISED))
    request, outcome = found["flight action 1"], found["flight action outcome 1"]
    assert (request.start, request.end, request.status) == (100.0, 101.0, "unset")
    assert (outcome.start, outcome.end, outcome.status, outcome.kind) == (121.0, 140.0, "ok", "internal")
    assert outcome.parent_span_id == request.span_id


def test_a_deferred_attempt_is_the_span_of_its_last_request() -> None:
    """One number, one span."""
    span = named(all_spans(PROMISED))["hotel action 1"]
    assert (span.start, span.end) == (143.0, 144.0)


def test_what_was_not_sent_is_no_span() -> None:
    """An intent that was taken back."""
    assert "mail action 1" not in named(all_spans(PROMISED))


def test_workers_and_children_are_internal() -> None:
    """A child's own spans are under the attempt that started it."""
    found = named(all_spans(PROMISED))
    assert (found["seat action 1"].kind, found["seat action 1"].attributes["saga.via"]) == (
        "internal",
        "worker",
    )
    assert (found["meal action 1"].kind, found["meal action 1"].end) == ("internal", 147.0)


def test_giving_up_between_two_requests_is_a_span_without_length() -> None:
    """The attempt is not lost from the trace; its requests were all answered "too early"."""
    span = named(all_spans(TOO_EARLY))["flight action 1"]
    assert (span.start, span.end, span.attributes["saga.outcome"]) == (106.0, 106.0, "uncertain")


def test_an_answer_after_the_end_ends_its_attempt() -> None:
    """The saga was abandoned with a request on the wire."""
    span = named(all_spans(TOO_EARLY))["flight compensation 1"]
    assert (span.start, span.end, span.status) == (106.0, 108.0, "ok")


def test_a_late_answer_of_unknown_words_shows_none_of_them() -> None:
    """Nor does one that no attempt waits for."""
    journal = (*TOO_EARLY[:-1], e.LateAnswer(**about(108.0, "flight", "compensation"), outcome="my secret"))
    assert "secret" not in repr(all_spans(journal))
    other = (*TOO_EARLY[:-1], e.LateAnswer(**about(108.0, "flight", "compensation", 7), outcome="succeeded"))
    assert "flight compensation 7" not in named(all_spans(other))


def test_a_saga_that_is_undone_by_its_parent_ends_twice() -> None:
    """The same root span, longer the second time; from the whole journal only that one is made."""
    journal = (
        started(),
        invoked(100.0, "flight"),
        e.StepSucceeded(at=101.0, step="flight", attempt=1),
        e.SagaCompleted(at=101.0),
        e.SagaReopened(at=200.0),
        invoked(200.0, "flight", "compensation"),
        e.CompensationUndone(at=201.0, step="flight", attempt=1),
        e.SagaCompensated(at=201.0),
    )
    roots = [span for span in spans(journal, None) if span.span_id == ROOT]
    assert [(span.end, span.status) for span in roots] == [(101.0, "ok"), (201.0, "error")]
    assert [span for span in all_spans(journal) if span.span_id == ROOT] == roots[1:]


def test_a_clock_that_was_set_back_makes_no_negative_span() -> None:
    """It has no length then."""
    journal = (started(), invoked(100.0, "flight"), e.StepSucceeded(at=99.0, step="flight", attempt=1))
    assert [(span.start, span.end) for span in all_spans(journal)] == [(100.0, 100.0)]


@pytest.mark.parametrize("start", [started(sampled=False), started(trace_id=None), started(span_id=None)])
def test_a_saga_that_is_not_sampled_makes_no_spans(start: e.SagaStarted) -> None:
    """Neither while it runs nor at a takeover."""
    journal = (start, *COMPENSATED[1:])
    assert all_spans(journal) == []
    assert appended(journal, iter([1] * len(journal))) == []


# --------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "console, otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_spans_are_exported_only_where_an_endpoint_is_named(environ: dict[str, str], on: bool) -> None:  # noqa: FBT001 - a parameter
    """And not when the SDK or the exporter is switched off."""
    assert wanted(environ) is on


@pytest.mark.parametrize(
    ("sampler", "argument", "new", "wished", "unwished"),
    [
        ("", "", True, True, False),
        ("parentbased_always_on", "", True, True, False),
        ("parentbased_always_off", "", False, True, False),
        ("always_on", "", True, True, True),
        ("always_off", "", False, False, False),
        ("parentbased_traceidratio", "0", False, True, False),
        ("TraceIdRatio", "1", True, True, True),
        ("traceidratio", "", True, True, True),
    ],
)
def test_samplers(sampler: str, argument: str, new: bool, wished: bool, unwished: bool) -> None:  # noqa: FBT001 - parameters
    """For a new trace, and for a client that wants it sampled, or not."""
    sample = sampler_from({"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument})
    assert [sample(flag, TRACE_ID) for flag in (None, True, False)] == [new, wished, unwished]


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_TRACES_SAMPLER": "mine"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "half"},
    ],
)
def test_a_sampler_that_is_not_known_is_said_and_the_default_taken(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelt variable stops no coordinator."""
    assert sampler_from(environ)(None, TRACE_ID)
    assert "OTEL_TRACES_SAMPLER" in caplog.text


def test_batching_is_read_in_milliseconds() -> None:
    """The timeout for traces goes before the general one, and the batch's bound before both."""
    found = Batching.of(
        {
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_SCHEDULE_DELAY": "250",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "9000",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "4000",
        }
    )
    assert found == Batching(queue=100, batch=100, delay=0.25, timeout=4.0)
    assert Batching.of({"OTEL_BSP_EXPORT_TIMEOUT": "500"}).timeout == 0.5
    assert Batching.of({}) == Batching()


def test_a_number_that_is_none_is_said_and_the_default_taken(caplog: pytest.LogCaptureFixture) -> None:
    """Neither zero nor infinity is a size."""
    for text in ("many", "0", "-1", "inf", "nan"):
        caplog.clear()
        assert Batching.of({"OTEL_BSP_MAX_QUEUE_SIZE": text}).queue == 2_048
        assert "OTEL_BSP_MAX_QUEUE_SIZE" in caplog.text


def test_no_telemetry_passes_the_clients_wish_on() -> None:
    """Participants may export although the coordinator does not."""
    sample = NoTelemetry().sample
    assert [sample(flag, TRACE_ID) for flag in (None, True, False)] == [False, True, False]
