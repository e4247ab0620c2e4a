"""Where a saga's trace hangs, and the ids of its spans. Pure values only: randomness is an argument.

The trace id, the root span's id and the sampling flag are chosen when a saga starts and stand in its journal; the
id of every other span is a hash of what the span stands for. So whoever exports a span again, after a crash or as
the next owner, exports the same span. Sources: W3C Trace Context, and OpenTelemetry's specification of traces.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TypeAlias

from saga.core.state import Trace
from saga.language.fields import Phase

#: Characters of a tracestate that are passed on; a longer one is dropped (W3C asks for at least 512).
TRACESTATE_LIMIT = 512
TRACESTATE_MEMBERS = 32

# W3C Trace Context

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceParent:
    """The caller's place in a trace, as the ``traceparent`` header says it."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(text: str | None) -> TraceParent | None:
    """Return what a ``traceparent`` header says, None when it says nothing that may be used.

    W3C Trace Context, "traceparent header": lower-case hex only, ids of all zeros and version ``ff`` are invalid,
    version ``00`` has nothing after its flags, and of a later version that much is read.
    """
    found = _TRACEPARENT.fullmatch(text) if text is not None else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceParent(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & 1))


def parse_tracestate(text: str | None) -> str | None:
    """Return a ``tracestate`` header that may be passed on, tidied; None when there is none, or it is not valid.

    W3C Trace Context, "tracestate header": up to 32 members ``key=value`` with distinct keys; one bad member
    spoils the whole. The value is vendors' text and is neither read nor changed.
    """
    members = [member for part in (text or "").split(",") if (member := part.strip(" \t"))]
    tidy = ",".join(members)
    if not members or len(members) > TRACESTATE_MEMBERS or len(tidy) > TRACESTATE_LIMIT:
        return None
    if not all(_MEMBER.fullmatch(member) for member in members):
        return None
    keys = {member.partition("=")[0] for member in members}
    return tidy if len(keys) == len(members) else None


# ids

#: Whether a new trace is exported, of the client's flag (None: no client) and the trace id.
Sample: TypeAlias = Callable[[bool | None, str], bool]


def new_trace(
    client_traceparent: str | None,
    client_tracestate: str | None,
    random16: bytes,
    random8: bytes,
    *,
    sample: Sample,
) -> Trace:
    """Return where a new saga's trace hangs; these are the members of ``SagaStarted``.

    A client's span is the parent of the root span, in the client's trace. The flag is the sampler's word, which
    by default is the client's. Without a valid ``traceparent`` the ``tracestate`` means nothing and is dropped.
    """
    client = parse_traceparent(client_traceparent)
    trace_id = client.trace_id if client is not None else _nonzero(random16)
    return Trace(
        trace_id=trace_id,
        span_id=_nonzero(random8),
        parent_span_id=client.span_id if client is not None else None,
        sampled=sample(client.sampled if client is not None else None, trace_id),
        tracestate=parse_tracestate(client_tracestate) if client is not None else None,
    )


@lru_cache(maxsize=4096)  # the same for the request and for the span
def attempt_span_id(saga_id: str, step: str, phase: Phase, attempt: int) -> str:
    """Return the span id of an attempt: a hash, so that whoever exports it again exports the same span.

    >>> attempt_span_id("s1", "reserve_flight", "action", 1)
    'aa1238d7ce8e78e3'
    """
    return _hashed(saga_id, step, phase, attempt)


def traceparent_for(trace: Trace, saga_id: str, step: str, phase: Phase, attempt: int) -> str:
    """Return the ``traceparent`` of an outgoing request: the participant's parent is the attempt's span."""
    flags = "01" if trace.sampled else "00"
    return f"00-{trace.trace_id}-{attempt_span_id(saga_id, step, phase, attempt)}-{flags}"


def outcome_span_id(saga_id: str, step: str, phase: Phase, attempt: int) -> str:
    """Return the span id of the wait for an outcome that the attempt was promised by a 202."""
    return _hashed(saga_id, step, phase, attempt, "outcome")


def _hashed(*parts: str | int) -> str:
    return _nonzero(blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest())


def _nonzero(identity: bytes) -> str:
    """Return the id in hex; all zeros would be no id (W3C Trace Context)."""
    return identity.hex() if any(identity) else "1".zfill(2 * len(identity))
