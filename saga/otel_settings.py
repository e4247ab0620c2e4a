"""The ``OTEL_`` variables this package reads itself. Pure, and free of OpenTelemetry.

Source: OpenTelemetry's "Environment Variable Specification", "OTLP exporter" and "Batch span processor". Durations
are milliseconds; a variable that is empty counts as unset; what cannot be used is reported, and the default taken.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

from saga.core.tracing import Sample

_log = logging.getLogger(__name__)


def wanted(environ: Mapping[str, str]) -> bool:
    """Return whether spans are to be exported by OTLP."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    return "otlp" in map(str.strip, exporters.split(",")) and either(environ, "ENDPOINT") is not None


def sampler_from(environ: Mapping[str, str]) -> Sample:
    """Return the sampler that ``OTEL_TRACES_SAMPLER`` names (by default ``parentbased_always_on``).

    A parent-based sampler takes the client's flag over. A ratio decides by the trace id's last eight bytes, as the
    SDK's ``TraceIdRatioBased`` does, so that every service decides alike.
    """
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
    parent_based, kind = name.startswith("parentbased_"), name.removeprefix("parentbased_")
    if kind not in _RATIOS:
        _log.warning("OTEL_TRACES_SAMPLER: %r is not known; parentbased_always_on is used", name)
        parent_based, kind = True, "always_on"
    ratio = _RATIOS[kind]
    if ratio is None:
        ratio = min(_number(environ, "OTEL_TRACES_SAMPLER_ARG", 1.0, least=0.0), 1.0)
    bound = round(ratio * 2**64)

    def sample(client_sampled: bool | None, trace_id: str) -> bool:  # noqa: FBT001 - a header's flag
        if parent_based and client_sampled is not None:
            return client_sampled
        return int(trace_id[-16:], 16) < bound

    return sample


#: Part of the traces each sampler keeps; None: the argument says it.
_RATIOS: dict[str, float | None] = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How spans are gathered; OpenTelemetry's "Batch Span Processor" and its defaults."""

    #: Spans that may wait; one more is dropped.
    queue: int = 2_048
    #: Spans in one request, at most.
    batch: int = 512
    #: Seconds a span waits at most for others.
    delay: float = 5.0
    #: Seconds that one batch has, retries included.
    timeout: float = 10.0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Batching:
        """Return what the variables say."""
        queue = int(_number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", cls().queue, least=1))
        batch = int(_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", cls().batch, least=1))
        bound = _number(environ, "OTEL_BSP_EXPORT_TIMEOUT", 30_000, least=1)
        general = _number(environ, "OTEL_EXPORTER_OTLP_TIMEOUT", 10_000, least=1)
        timeout = _number(environ, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", general, least=1)
        return cls(
            queue=queue,
            batch=min(batch, queue),
            delay=_number(environ, "OTEL_BSP_SCHEDULE_DELAY", 5_000, least=1) / 1000,
            timeout=min(timeout, bound) / 1000,
        )


def either(environ: Mapping[str, str], name: str) -> str | None:
    """Return the exporter's variable for traces, else the one for all signals, None when neither is set."""
    return (
        environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}") or None
    )


def _number(environ: Mapping[str, str], name: str, default: float, *, least: float) -> float:
    text = environ.get(name, "").strip()
    try:
        number = float(text) if text else default
        if least <= number < math.inf:
            return number
    except ValueError:
        pass
    _log.warning("%s: %r is no number from %g; %g is used", name, text, least, default)
    return default
