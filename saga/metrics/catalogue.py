"""Which metrics there are, by the question each answers: the instruments are made of this table, and so is docs/metrics.md.

No label holds what a client made up: definitions and services are those that are stored, everything else is a closed
set of words.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

Question: TypeAlias = Literal["working", "slow", "stuck", "needs me"]


class Described(NamedTuple):
    """One metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    question: Question
    meaning: str
    labels: tuple[str, ...] = ()
    #: Upper bounds in seconds.
    buckets: tuple[float, ...] = ()


_QUICK: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_REQUESTS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SAGAS: Final = (
    0.025,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
    3600.0,
    21600.0,
    86400.0,
)

CATALOGUE: Final[tuple[Described, ...]] = (
    Described("saga_build_info", "gauge", "working", "Always 1; which release runs.", ("version",)),
    Described("saga_ready", "gauge", "working", "1 while the coordinator takes work."),
    Described("saga_store_up", "gauge", "working", "1 when the store could be written to at this scrape."),
    Described("saga_starts_total", "counter", "working", "Sagas accepted here.", ("definition",)),
    Described(
        "saga_ends_total", "counter", "working",
        "Sagas that ended here: `completed`, `compensated` or `abandoned`.", ("definition", "status"),
    ),
    Described(
        "saga_attempts_total", "counter", "working",
        "Attempts that are over, by what is recorded of them: `succeeded`, `refused`, `uncertain`, `not-executed`, "
        "`pending`, `deferred` (425), `coordinator-lost` (its sender died).",
        ("definition", "phase", "outcome"),
    ),
    Described(
        "saga_participant_requests_total", "counter", "working",
        "Requests to participants (phase `poll`: questions about a pending invocation) by answer: the class of its "
        "status, `none` (sent, no answer), `not-sent`. A call that names an address has the service `(url)`.",
        ("service", "phase", "answer"),
    ),
    Described(
        "saga_http_requests_total", "counter", "working",
        "Requests answered by the HTTP API; route `(none)`: there is none.", ("method", "route", "status"),
    ),
    Described("saga_store_commits_total", "counter", "working", "Durable transactions of the store."),
    Described(
        "saga_store_appends_total", "counter", "working", "Starts and appends that went down in them."
    ),
    Described(
        "saga_duration_seconds", "histogram", "slow",
        "From the accepted start to the end, waits and pauses included.", ("definition", "status"), _SAGAS,
    ),
    Described(
        "saga_participant_request_duration_seconds", "histogram", "slow",
        "From sending a request to its answer, or to giving it up.", ("service",), _REQUESTS,
    ),
    Described(
        "saga_store_write_duration_seconds", "histogram", "slow",
        "Until a start or an append was durable, waiting in the queue included.", ("verb",), _QUICK,
    ),
    Described(
        "saga_http_request_duration_seconds", "histogram", "slow",
        "Of requests to the HTTP API, without those that wait for a saga (`wait`) or stream.",
        ("route",), _REQUESTS,
    ),
    Described("saga_in_memory", "gauge", "stuck", "Sagas this coordinator runs now."),
    Described("saga_requests_in_flight", "gauge", "stuck", "Requests to participants on the wire."),
    Described("saga_held_back", "gauge", "stuck", "Sagas that wait for one of `SAGA_MAX_CALLS` to be free."),
    Described(
        "saga_due_delay_seconds", "gauge", "stuck",
        "How long the longest due saga has waited for a coordinator to take it on.",
    ),
    Described("saga_store_backlog_seconds", "gauge", "stuck", "Age of the oldest queued write; `+Inf`: full."),
    Described(
        "saga_store_errors_total", "counter", "stuck",
        "Writes and looks for work that failed: `unavailable` (nothing was written), `unknown` (the answer was lost).",
        ("error",),
    ),
    Described("saga_claims_total", "counter", "stuck", "Sagas taken on: due again, or another's that died or left."),
    Described(
        "saga_trusted", "gauge", "stuck",
        "1 while this coordinator may send; 0: its heartbeat fails, others will take over.",
    ),
    Described(
        "saga_parked", "gauge", "needs me",
        "Parked sagas in the store, up to 1,000 counted: each waits for a person.", ("definition",),
    ),
    Described("saga_parked_total", "counter", "needs me", "Sagas that were parked here, by cause.", ("definition", "cause")),
    Described("saga_late_total", "counter", "needs me", "Sagas that became late here.", ("definition",)),
    Described(
        "saga_spans_total", "counter", "needs me",
        "Spans for the trace collector: `exported`, `dropped` (the queue was full), `failed`.", ("fate",),
    ),
)  # fmt: skip
