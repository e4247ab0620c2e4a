"""A trace collector that keeps what it was really sent: OTLP over HTTP, decoded with OpenTelemetry's own schema.

``python -m tests.otlp_sink [PORT [MODE]]`` prints one line of JSON for each span. Modes:

* ``ok`` takes everything;
* ``slow`` answers after two seconds;
* ``error`` answers 500;
* ``hang`` takes connections and never answers;
* ``refuse`` has no open port.
"""

from __future__ import annotations

import gzip
import json
import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

#: Seconds a slow collector takes.
SLOW = 2.0


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as a dict of plain values."""
    return {item.key: _value(item) for item in attributes}


def _value(item: KeyValue) -> Any:
    return getattr(item.value, item.value.WhichOneof("value") or "string_value")


def as_dict(span: Span) -> dict[str, Any]:
    """Return a span as JSON shows it: ids in hex, times in seconds."""
    return {
        "name": span.name,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex() or None,
        "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        "start": span.start_time_unix_nano / 1e9,
        "end": span.end_time_unix_nano / 1e9,
        "status": {0: "unset", 1: "ok", 2: "error"}[span.status.code],
        "description": span.status.message or None,
        "tracestate": span.trace_state or None,
        "attributes": values(span.attributes),
        "links": [link.span_id.hex() for link in span.links],
    }


class OtlpSink:
    """A collector on a free port of the loopback; used as a context manager."""

    def __init__(self, mode: str = "ok", port: int = 0, seen: Callable[[Span], None] | None = None) -> None:
        self.mode = mode
        #: Each request's path, headers and inflated body.
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._seen = seen
        self._arrived = threading.Condition()
        self._leaving = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._socket: socket.socket | None = None
        if mode in {"refuse", "hang"}:
            self._socket = socket.create_server(("127.0.0.1", port))
            self.port = self._socket.getsockname()[1]
        else:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
            self.port = self._server.server_port
        if mode == "refuse":
            self.close()

    @property
    def url(self) -> str:
        """Return the address for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def raw(self) -> bytes:
        """Return every body that came, inflated."""
        return b"".join(body for _, _, body in self.requests)

    @property
    def resources(self) -> list[dict[str, Any]]:
        """Return the attributes of the resource of each request."""
        return [
            values(group.resource.attributes)
            for request in self._decoded()
            for group in request.resource_spans
        ]

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Return every span that came, in order."""
        return [as_dict(span) for request in self._decoded() for span in _spans(request)]

    def wait(self, count: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """Return the spans as soon as so many have come."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.spans) >= count, seconds):
                raise AssertionError(f"{len(self.spans)} spans of {count} came")
        return self.spans

    def __enter__(self) -> Self:
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._leaving.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._socket is not None:
            self._socket.close()

    def _decoded(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for _, _, body in self.requests]

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Keep a request, and return the status it is answered with."""
        if self.mode == "slow":
            self._leaving.wait(SLOW)
        if self.mode == "error":
            return 500
        with self._arrived:
            self.requests.append((path, headers, body))
            self._arrived.notify_all()
        if self._seen is not None:
            for span in _spans(ExportTraceServiceRequest.FromString(body)):
                self._seen(span)
        return 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            """One request at a time; a connection is kept."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """Take an export."""
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers["content-length"]))
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(sink._take(self.path, headers, body))
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [span for group in request.resource_spans for scope in group.scope_spans for span in scope.spans]


def main() -> None:
    """Run until interrupted."""
    port, mode = int(sys.argv[1]) if len(sys.argv) > 1 else 4318, sys.argv[2] if len(sys.argv) > 2 else "ok"

    def show(span: Span) -> None:
        sys.stdout.write(json.dumps(as_dict(span)) + "\n")
        sys.stdout.flush()

    with OtlpSink(mode, port, show) as sink:
        sys.stdout.write(json.dumps({"url": sink.url, "mode": mode}) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
