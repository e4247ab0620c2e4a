"""Spans to an OTLP collector: the catalogue of what is sent, and the thread that sends it.

One trace per saga; what begins and ends a span stands in :mod:`saga.core.spans`, how ids are made in
:mod:`saga.core.tracing`. A trace that is sampled out sends nothing.

==============================  ========  ======================  ====================================
span                            kind      parent                  from, to
==============================  ========  ======================  ====================================
``saga <definition>``           internal  the client's span,      the accepted start to the saga's end
                                          or none
``<step> action``               client    the root                the intent to the answer (or 202)
``<step> compensation``         client    the root                likewise; linked to the action's last
                                                                  attempt
``<step> <phase> outcome``      internal  the attempt             the 202 to the outcome it promised
==============================  ========  ======================  ====================================

An attempt that a worker or a child saga carries out is ``internal``.

===========================  ============  =========================================================
attribute                    of            value
===========================  ============  =========================================================
``saga.id``                  all           the saga's id
``saga.definition``          all           name of its definition
``saga.definition.version``  root          its version
``saga.status``              root          completed, compensated, abandoned
``saga.late``                root          true when it was late; else absent
``saga.step``                attempts      step or instance: ``issue_ticket[0]``
``saga.phase``               attempts      action, compensation
``saga.attempt``             attempts      from 1
``saga.via``                 attempts      worker, child; absent when it was a request
``saga.outcome``             attempts      succeeded, refused, uncertain, not-executed, pending,
                                           child-started, deferred (a late 425), coordinator-lost
``error.type``               all           the outcome of a failed attempt; of a root that did not
                                           complete, the cause of the saga's failure
===========================  ============  =========================================================

Status: ``ok`` of what succeeded; ``error``, with one fixed word, of a failed attempt and of a saga that did not
complete; else unset. There is nothing else: never a body, a label, a header, an address or a text of a client or
participant. The resource is OpenTelemetry's, with the service's name ``saga-coordinator`` unless one is set.

Settings are OpenTelemetry's own (specification, "Environment Variable Specification" and "OTLP exporter"):
``OTEL_EXPORTER_OTLP_{TRACES_,}{ENDPOINT,HEADERS,TIMEOUT,COMPRESSION,CERTIFICATE,CLIENT_KEY,CLIENT_CERTIFICATE}``,
``OTEL_TRACES_EXPORTER`` (otlp, none), ``OTEL_SDK_DISABLED``, ``OTEL_TRACES_SAMPLER{,_ARG}``, ``OTEL_SERVICE_NAME``,
``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_BSP_{SCHEDULE_DELAY,MAX_QUEUE_SIZE,MAX_EXPORT_BATCH_SIZE,EXPORT_TIMEOUT}``.
Without an endpoint nothing is exported, and OpenTelemetry is not even imported. Timeouts are milliseconds, as the
specification has it; the SDK by itself would read ``OTEL_EXPORTER_OTLP_TIMEOUT`` as seconds.

Why not the SDK's batch processor: its shutdown waits for up to 30 s, it logs each failure, and it does not count
what it drops. Here a saga appends to a bounded queue and goes on; one daemon thread encodes and sends with the
SDK's exporter. A collector that is dead or hangs costs spans, which are counted and reported once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Protocol

from saga.core.entries import Entry
from saga.core.span_data import SpanData
from saga.core.spans import all_spans, spans
from saga.core.state import SagaState
from saga.core.tracing import Sample
from saga.otel_settings import Batching, either, sampler_from, wanted
from saga.ports.telemetry import NoTelemetry, SpanCounters, Telemetry

#: Seconds that what is queued has for leaving when the coordinator stops; the rest of a second is margin.
GRACE = 0.8
#: Seconds between two reports of spans that were lost.
REPORT_EVERY = 60.0

_log = logging.getLogger(__name__)


def telemetry_from(environ: Mapping[str, str]) -> Telemetry:
    """Return what the ``OTEL_`` variables ask for; nothing is exported when they name no endpoint.

    ``environ`` is the process's own environment: the SDK reads headers, certificates and the resource from there.
    """
    return OtlpTelemetry(environ) if wanted(environ) else NoTelemetry()


class OtlpTelemetry:
    """Sends spans to the collector that the environment names."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        protocol = either(environ, "PROTOCOL")
        if protocol not in (None, "http/protobuf"):
            _log.warning("OTEL_EXPORTER_OTLP_PROTOCOL: %r is not supported; http/protobuf is used", protocol)
        # The import takes up to half a second: only who exports pays for it.
        from saga.otlp import Otlp  # noqa: PLC0415

        batching = Batching.of(environ)
        self.sample: Sample = sampler_from(environ)
        self.counters = SpanCounters()
        self._sender = _Sender(Otlp(batching.timeout), batching, self.counters)
        self._sender.start()

    def recorded(self, entries: Sequence[Entry], before: SagaState | None, after: SagaState) -> None:
        """Queue the spans that these entries ended."""
        if after.trace is not None and after.trace.sampled:
            self._queue(spans, entries, before)

    def taken_over(self, entries: Sequence[Entry]) -> None:
        """Queue every span of the journal."""
        self._queue(all_spans, entries)

    def _queue(self, make: Callable[..., list[SpanData]], *journal: object) -> None:
        try:
            for span in make(*journal):
                self._sender.offer(span)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a span, its saga goes on
            self.counters.dropped += 1
            self._sender.words.note(f"a span could not be made: {type(error).__name__}")

    async def close(self) -> None:
        """Send what is queued, for up to :data:`GRACE`; then give the rest up.

        The exporter cannot be interrupted while it waits for a socket; its thread is a daemon and is left behind.
        """
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        if not self._sender.stop(lambda: loop.call_soon_threadsafe(gone.set)):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await gone.wait()
        self._sender.abandon()


# the thread


class _Exporter(Protocol):
    """What the thread needs of OpenTelemetry."""

    def send(self, batch: Sequence[SpanData]) -> bool:
        """Send the spans, retries included; False when the collector did not take them."""

    def shutdown(self) -> None:
        """Send no more, and cut a wait between two tries short."""


class _Sender(threading.Thread):
    """Takes spans from the queue, by full batches or when they have waited long enough.

    One thread appends and one takes, and each counter has one writer; a deque needs no lock for that.
    """

    def __init__(self, exporter: _Exporter, batching: Batching, counters: SpanCounters) -> None:
        super().__init__(name="saga-telemetry", daemon=True)
        self.words = _LastWords()
        self._exporter, self._batching, self._counters = exporter, batching, counters
        self._waiting: deque[SpanData] = deque()
        self._wake = threading.Event()
        self._ended: Callable[[], object] | None = None
        self._abandoned = False
        #: Spans in the hands of the exporter.
        self._sending = 0
        self._reported, self._report_at = 0, 0.0

    def offer(self, span: SpanData) -> None:
        """Queue a span, or drop it when the queue is full."""
        waiting = len(self._waiting)
        if waiting >= self._batching.queue or self._ended is not None:
            self._counters.dropped += 1
            return
        self._waiting.append(span)
        if waiting + 1 >= self._batching.batch and not self._wake.is_set():
            self._wake.set()

    def stop(self, ended: Callable[[], object]) -> bool:
        """Take no more spans, and call back when the queued ones have been tried; False when stopped before."""
        if self._ended is not None:
            return False
        self._ended = ended
        self._wake.set()
        return True

    def abandon(self) -> None:
        """Give up what is still queued."""
        self._abandoned = True
        self._exporter.shutdown()
        self._counters.dropped += len(self._waiting)
        self._counters.failed += self._sending
        self._report()

    def run(self) -> None:
        """Send until stopped."""
        while self._ended is None:
            full = self._wake.wait(self._batching.delay)
            self._wake.clear()
            self._drain(self._batching.batch if full and self._ended is None else 1)
            if monotonic() >= self._report_at:
                self._report()
        self._drain(1)
        self.words.close()
        with suppress(RuntimeError):  # the loop did not wait and is closed
            self._ended()

    def _drain(self, least: int) -> None:
        """Send what is queued, as long as there is so much."""
        while len(self._waiting) >= least and not self._abandoned:
            self._sending = min(self._batching.batch, len(self._waiting))
            sent = self._send([self._waiting.popleft() for _ in range(self._sending)])
            if not self._abandoned:
                self._count(sent=sent)

    def _count(self, *, sent: bool) -> None:
        if sent:
            self._counters.exported += self._sending
            if self._counters.lost == self._reported:
                self.words.take()
        else:
            self._counters.failed += self._sending
        self._sending = 0

    def _send(self, batch: list[SpanData]) -> bool:
        try:
            return self._exporter.send(batch)
        except Exception as error:  # noqa: BLE001 - the thread must outlive a span that cannot be sent
            self.words.note(f"spans could not be sent: {type(error).__name__}")
            return False

    def _report(self) -> None:
        lost = self._counters.lost
        if lost > self._reported:
            self._reported, self._report_at = lost, monotonic() + REPORT_EVERY
            why = self.words.take() or "it does not answer in time"
            _log.warning("%d spans did not reach the trace collector so far: %s", lost, why)


class _LastWords(logging.Filter):
    """Keeps the SDK's own lines out of the log, and the first of them for the next report."""

    #: Where the SDK's exporter logs, over the releases that are supported.
    LOGGERS = (
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "opentelemetry.exporter.otlp.common.http",
    )

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        for name in self.LOGGERS:
            logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let nothing through."""
        self.note(record.getMessage())
        return False

    def note(self, text: str) -> None:
        """Keep the text, unless there is an earlier one that was not yet taken."""
        self._text = self._text or text

    def take(self) -> str:
        """Return the text, without the endpoint's path and query, which may hold a token."""
        text, self._text = self._text, ""
        return _ADDRESS.sub(r"\1…", text)[:300]

    def close(self) -> None:
        """Leave the SDK's loggers alone."""
        for name in self.LOGGERS:
            logging.getLogger(name).removeFilter(self)


_ADDRESS = re.compile(r"(with url: |://)\S+|'[^']*@[^']*'")
