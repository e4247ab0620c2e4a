"""Spans as OpenTelemetry's exporter sends them; the only import of OpenTelemetry.

What is not given here (endpoint, headers, certificates, compression) the SDK reads from its own variables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec, module_from_spec
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from saga.core.span_data import SpanData

SERVICE_NAME = "saga-coordinator"

_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class Otlp:
    """The SDK's exporter over HTTP; what it is not given here it reads from the environment."""

    def __init__(self, timeout: float) -> None:
        self._exporter = _exporter(_encoder(_resource()))(timeout=timeout)

    def send(self, batch: Sequence[SpanData]) -> bool:
        """Encode the spans and send them, retries included; False when the collector did not take them."""
        return self._exporter.export(batch) is SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """End the exporter; a request that is under way is left to its timeout."""
        self._exporter.shutdown()


def _exporter(encode: Callable[[Sequence[SpanData]], ExportTraceServiceRequest]) -> Any:
    """Return the SDK's exporter with another encoder: its own takes four times as long.

    It stands in a copy of the exporter's module, so that nobody else in the process is given this encoder.
    Raises ``ImportError`` for a release of the SDK that names its encoder otherwise.
    """
    spec = find_spec(_EXPORTER)
    if spec is None or spec.loader is None:  # pragma: no cover - it is a dependency
        raise ImportError("install opentelemetry-exporter-otlp-proto-http")
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "encode_spans"):
        raise ImportError("this release of opentelemetry-exporter-otlp-proto-http is not known: install 1.45")
    module.encode_spans = encode
    return module.OTLPSpanExporter


def _resource() -> Resource:
    found = Resource.create()
    attributes = dict(found.attributes)
    if str(attributes["service.name"]).startswith("unknown_service"):
        attributes["service.name"] = SERVICE_NAME
    return Resource(attributes, found.schema_url)


def _encoder(resource: Resource) -> Callable[[Sequence[SpanData]], ExportTraceServiceRequest]:
    """Return what makes the message of a batch: the SDK's own frame, with our spans in it."""
    scope = InstrumentationScope("saga")
    empty = ReadableSpan("", INVALID_SPAN_CONTEXT, resource=resource, instrumentation_scope=scope)
    frame = encode_spans([empty])
    del frame.resource_spans[0].scope_spans[0].spans[:]

    def encode(batch: Sequence[SpanData]) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        request.CopyFrom(frame)
        request.resource_spans[0].scope_spans[0].spans.extend([_message(span) for span in batch])
        return request

    return encode


# one span

_KINDS = {"client": Span.SPAN_KIND_CLIENT, "internal": Span.SPAN_KIND_INTERNAL}
_CODES = {
    "ok": Status.STATUS_CODE_OK,
    "error": Status.STATUS_CODE_ERROR,
    "unset": Status.STATUS_CODE_UNSET,
}
#: Of a span and a link (opentelemetry-proto, ``SpanFlags``): whether the parent is remote is known, and it is.
_FLAGS, _REMOTE = 0x100, 0x200


def _message(span: SpanData) -> Span:
    trace_id = bytes.fromhex(span.trace_id)
    return Span(
        trace_id=trace_id,
        span_id=bytes.fromhex(span.span_id),
        trace_state=span.tracestate or "",
        parent_span_id=bytes.fromhex(span.parent_span_id or ""),
        flags=_FLAGS | (_REMOTE if span.remote_parent else 0),
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=_nanoseconds(span.start),
        end_time_unix_nano=_nanoseconds(span.end),
        attributes=[_attribute(name, value) for name, value in span.attributes.items()],
        links=[
            Span.Link(trace_id=trace_id, span_id=bytes.fromhex(each), flags=_FLAGS) for each in span.links
        ],
        status=Status(code=_CODES[span.status], message=span.description or ""),
    )


@lru_cache(maxsize=1024, typed=True)  # but for the saga's id they are the same over and over
def _attribute(name: str, value: str | int | bool) -> KeyValue:  # noqa: FBT001 - a value of an attribute
    if isinstance(value, str):
        return KeyValue(key=name, value=AnyValue(string_value=value))
    known = AnyValue(bool_value=value) if isinstance(value, bool) else AnyValue(int_value=value)
    return KeyValue(key=name, value=known)


def _nanoseconds(seconds: float) -> int:
    # The clock gives milliseconds; a float of epoch seconds times a billion would show digits that mean nothing.
    return round(seconds * 1000) * 1_000_000
