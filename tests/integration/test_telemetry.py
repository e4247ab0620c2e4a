"""What a collector is really sent, and that a collector that is dead, slow or hanging harms nobody."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.journal import evolve
from saga.core.state import SagaState
from saga.core.tracing import attempt_span_id
from saga.otel_settings import sampler_from
from saga.ports.telemetry import NoTelemetry
from saga.telemetry import OtlpTelemetry, telemetry_from
from tests.otlp_sink import OtlpSink

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT = "00f067aa0ba902b7"
ROOT = "1122334455667788"
SECRET = "pl4nted-s3cret"


def trip(saga: str = "trip-1", **start: Any) -> list[Entry]:
    """Return the journal of a saga that was undone, with a secret in every text that others wrote."""
    trace: dict[str, Any] = {"trace_id": TRACE_ID, "span_id": ROOT, "parent_span_id": CLIENT, "sampled": True}
    flight: dict[str, Any] = {"step": "flight", "phase": "action", "attempt": 1}
    card: dict[str, Any] = {"step": "card", "phase": "action", "attempt": 1}
    undo: dict[str, Any] = {"step": "flight", "phase": "compensation", "attempt": 1}
    pending = e.AttemptPending(
        at=100.5, location=f"http://u:{SECRET}@h/x?token={SECRET}", until=900.0, **flight
    )
    return [
        e.SagaStarted(
            at=100.0, saga=saga, definition="trip", version=3, by=SECRET, rerun_of=SECRET,
            input={"card": SECRET}, labels={"who": SECRET}, **trace | start,
        ),
        e.Invoked(at=100.0, timeout=5.0, digest=SECRET, **flight),
        pending,
        e.StepSucceeded(at=101.25, step="flight", attempt=1, output={"seat": SECRET}, callback=SECRET),
        e.Invoked(at=101.25, timeout=5.0, **card),
        e.SignalReceived(at=101.5, name=SECRET, message=SECRET, payload=SECRET, by=SECRET),
        e.AttemptRefused(at=102.0, detail=SECRET, **card),
        e.StepRefused(at=102.0, step="card", cause="refused", detail=SECRET),
        e.TurnedBackward(at=102.0, step="card", cause="refused", detail=SECRET),
        e.Invoked(at=102.0, timeout=5.0, **undo),
        e.CompensationUndone(at=103.0, step="flight", attempt=1, callback=SECRET),
        e.SagaMarkedLate(at=103.0, detail=SECRET),
        e.SagaCompensated(at=103.5),
    ]  # fmt: skip


def tell(telemetry: OtlpTelemetry, journal: Sequence[Entry]) -> None:
    """Do what the engine does: one append after another."""
    before: SagaState | None = None
    for entry in journal:
        after = evolve(before, entry)
        telemetry.recorded((entry,), before, after)
        before = after


def exporting(monkeypatch: pytest.MonkeyPatch, sink: OtlpSink, **variables: str) -> OtlpTelemetry:
    """Return telemetry to the sink, set up as a process is: by its environment."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_BSP_SCHEDULE_DELAY": "20"} | variables
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    telemetry = telemetry_from(environ)
    assert isinstance(telemetry, OtlpTelemetry)
    return telemetry


# --------------------------------------------------------------------------- what is sent


async def test_a_saga_is_one_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A root with its true times under the client's span, and each attempt under the root."""
    with OtlpSink() as sink:
        telemetry = exporting(monkeypatch, sink)
        tell(telemetry, trip())
        await telemetry.close()
        found = {span["name"]: span for span in sink.spans}
    assert {span["trace_id"] for span in found.values()} == {TRACE_ID}
    root = found.pop("saga trip")
    assert (root["span_id"], root["parent_span_id"], root["kind"]) == (ROOT, CLIENT, "internal")
    assert (root["start"], root["end"]) == (100.0, 103.5)
    assert (root["status"], root["description"]) == ("error", "compensated")
    assert root["attributes"] == {
        "saga.id": "trip-1",
        "saga.definition": "trip",
        "saga.definition.version": 3,
        "saga.status": "compensated",
        "saga.late": True,
        "error.type": "refused",
    }
    assert {
        name: (span["kind"], span["start"], span["end"], span["status"], span["description"])
        for name, span in found.items()
    } == {
        "flight action": ("client", 100.0, 100.5, "unset", None),
        "flight action outcome": ("internal", 100.5, 101.25, "ok", None),
        "card action": ("client", 101.25, 102.0, "error", "refused"),
        "flight compensation": ("client", 102.0, 103.0, "ok", None),
    }
    flight = found["flight action"]
    assert flight["span_id"] == attempt_span_id("trip-1", "flight", "action", 1)
    assert found["flight action outcome"]["parent_span_id"] == flight["span_id"]
    assert found["flight compensation"]["links"] == [flight["span_id"]]
    assert found["card action"]["parent_span_id"] == ROOT
    assert telemetry.counters.exported == 5


async def test_the_next_owner_exports_the_same_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one died before its last export; ids, times and all else are equal."""
    with OtlpSink() as sink:
        first = exporting(monkeypatch, sink)
        tell(first, trip())
        await first.close()
        second = exporting(monkeypatch, sink)
        second.taken_over(trip())
        await second.close()
        spans = sink.spans
    assert len(spans) == 10
    assert spans[:5] == spans[5:]


async def test_nothing_that_others_wrote_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by an append nor by a takeover; the collector's own token goes into its header only."""
    with OtlpSink() as sink:
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET}"}
        telemetry = exporting(monkeypatch, sink, **headers)
        tell(telemetry, trip())
        telemetry.taken_over(trip())
        await telemetry.close()
        assert len(sink.spans) == 10
        assert b"trip-1" in sink.raw
        assert SECRET.encode() not in sink.raw
        assert sink.requests[0][1]["authorization"] == f"Bearer {SECRET}"


async def test_a_trace_that_is_sampled_out_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a request."""
    with OtlpSink() as sink:
        telemetry = exporting(monkeypatch, sink)
        tell(telemetry, trip(sampled=False))
        telemetry.taken_over(trip(sampled=False))
        await telemetry.close()
        assert sink.requests == []
    assert telemetry.counters.lost == 0


async def test_spans_leave_without_a_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """When they have waited for the delay, and at once when there is a batch of them."""
    with OtlpSink() as sink:
        telemetry = exporting(monkeypatch, sink, OTEL_BSP_SCHEDULE_DELAY="10")
        tell(telemetry, trip())
        assert len(sink.wait(5)) == 5
        await telemetry.close()
        patient = exporting(
            monkeypatch, sink, OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="5"
        )
        tell(patient, trip("trip-2"))
        assert len(sink.wait(10)) == 10
        await patient.close()


async def test_tracestate_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendors' state of the client is that of every span."""
    with OtlpSink() as sink:
        telemetry = exporting(monkeypatch, sink)
        telemetry.taken_over(trip(tracestate="rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"))
        await telemetry.close()
        assert {span["tracestate"] for span in sink.spans} == {"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}


# --------------------------------------------------------------------------- settings


async def test_the_standard_variables_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint for traces is taken as it is; a general one gets the path; gzip; the resource."""
    with OtlpSink() as sink:
        telemetry = exporting(
            monkeypatch,
            sink,
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        )
        telemetry.taken_over(trip())
        await telemetry.close()
        own = exporting(
            monkeypatch,
            sink,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{sink.url}/mine",
            OTEL_SERVICE_NAME="trips",
        )
        own.taken_over(trip())
        await own.close()
        (path, headers, _), (own_path, _, _) = sink.requests
        assert (path, own_path) == ("/v1/traces", "/mine")
        assert headers["content-encoding"] == "gzip"
        assert [resource["service.name"] for resource in sink.resources] == ["saga-coordinator", "trips"]
        assert sink.resources[0]["deployment.environment.name"] == "test"


@pytest.mark.slow
async def test_the_timeout_is_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the specification has it; the SDK alone would wait for a minute and a half here."""
    monkeypatch.setattr("saga.telemetry.GRACE", 60.0)
    with OtlpSink("hang") as sink:
        telemetry = exporting(monkeypatch, sink, OTEL_EXPORTER_OTLP_TIMEOUT="100")
        telemetry.taken_over(trip())
        begun = monotonic()
        await telemetry.close()
        assert monotonic() - begun < 10.0  # about 0.1
    assert telemetry.counters.failed == 5


def test_without_an_endpoint_opentelemetry_is_not_imported() -> None:
    """Its import takes as long as the rest of a start."""
    program = (
        "import sys; from saga.telemetry import telemetry_from; telemetry_from({});"
        "print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
    assert isinstance(telemetry_from({"OTEL_SDK_DISABLED": "true"}), NoTelemetry)


def test_a_ratio_decides_as_the_sdk_does() -> None:
    """So that services with the same ratio keep the same traces."""
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    keep = Decision.RECORD_AND_SAMPLE
    ours = sampler_from({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.3"})
    theirs = TraceIdRatioBased(0.3)
    ids = [(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128 for number in range(1, 500)]
    kept = [ours(None, f"{number:032x}") for number in ids]
    assert kept == [theirs.should_sample(None, number, "").decision is keep for number in ids]
    assert 100 < sum(kept) < 200


def test_another_protocol_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing but HTTP with protobuf is spoken."""
    with OtlpSink() as sink:
        exporting(monkeypatch, sink, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert "'grpc' is not supported" in caplog.text


# --------------------------------------------------------------------------- a collector that does not work


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["refuse", "hang", "slow", "error"])
async def test_a_broken_collector_costs_spans_and_nothing_else(
    mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue is bounded, what is lost is counted and said once, and leaving takes a second at most."""
    with OtlpSink(mode) as sink:
        address = f"{sink.url}/v1/traces?token={SECRET}"
        telemetry = exporting(monkeypatch, sink, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=address)
        begun = monotonic()
        for number in range(1_000):
            telemetry.taken_over(trip(f"trip-{number}"))
        recorded = monotonic() - begun
        begun = monotonic()
        await telemetry.close()
        closed = monotonic() - begun
    assert recorded < 2.0  # 5,000 spans; about 0.1 s
    assert closed < 5.0  # about 0.8; the export's own timeout is ten
    counters = telemetry.counters
    assert counters.exported == 0
    assert counters.lost == 5_000
    assert counters.dropped >= 5_000 - 2_048 - 512 or mode == "error"
    assert {record.name for record in caplog.records} == {"saga.telemetry"}
    assert len(caplog.records) <= 2
    assert SECRET not in caplog.text


@pytest.mark.slow
def test_a_hanging_collector_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that waits for it is left behind."""
    program = """
import asyncio, os
from saga.telemetry import telemetry_from
from tests.integration.test_telemetry import trip

async def main():
    telemetry = telemetry_from(os.environ)
    telemetry.taken_over(trip())
    await asyncio.sleep(0.2)
    print("closing", flush=True)
    await telemetry.close()

asyncio.run(main())
"""
    with OtlpSink("hang") as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "closing\n"
            begun = monotonic()
            _, complaints = process.communicate(timeout=10)
            assert monotonic() - begun < 5.0  # about one; the export's own timeout is ten
    assert process.returncode == 0
    assert complaints == "5 spans did not reach the trace collector so far: it does not answer in time\n"


async def test_a_span_that_cannot_be_made_or_sent_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An imported journal may hold what no client may send; the next saga's spans go out."""
    with OtlpSink() as sink:
        telemetry = exporting(monkeypatch, sink, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="5")
        telemetry.recorded(None, None, evolve(None, trip()[0]))  # type: ignore[arg-type]  # it must not raise
        telemetry.taken_over(trip(trace_id="no-hex"))
        telemetry.taken_over(trip("trip-2"))
        assert len(sink.wait(5)) == 5
        await telemetry.close()
    assert (telemetry.counters.dropped, telemetry.counters.failed) == (1, 5)
    assert "a span could not be made: TypeError" in caplog.text


async def test_closing_twice_and_recording_afterwards_are_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes too late is counted."""
    with OtlpSink() as sink:
        telemetry = exporting(monkeypatch, sink)
        await telemetry.close()
        await telemetry.close()
        tell(telemetry, trip())
        assert sink.requests == []
    assert telemetry.counters.dropped == 5


async def test_no_telemetry_does_nothing() -> None:
    """And says of a trace what the client said."""
    telemetry = telemetry_from({})
    after = evolve(None, trip()[0])
    telemetry.recorded(trip(), None, after)
    telemetry.taken_over(trip())
    await telemetry.close()
    assert telemetry.sample(True, TRACE_ID)
