"""``GET /metrics``: what is counted on the way, and what is read only now because somebody asks.

The store is asked two things, each answered by an index; when it does not answer in time the values stay as they
were, and ``saga_store_up`` says why.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from importlib.metadata import version
from typing import Final

from aiohttp import web

from saga.api import keys
from saga.core.entries import FORMAT
from saga.errors import StoreError
from saga.metrics.instruments import CONTENT_TYPE
from saga.ports.stored import AT_ONCE, Query

#: Seconds the store has for its answers.
PATIENCE: Final = 2.0
#: Parked sagas that are counted.
MOST_PARKED: Final = 1_000


async def scrape(request: web.Request) -> web.Response:
    """Return every metric in Prometheus's text format."""
    app = request.app
    await _look(app)
    text = app[keys.METRICS].text()
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})


def read_from(app: web.Application) -> None:
    """Say where the metrics are read that nobody counts; what is not there yet reads as nothing."""
    metrics, looked, store = app[keys.METRICS], app[keys.LOOKED], app[keys.STORE]
    worker, readiness, release = app[keys.WORKER], app[keys.READINESS], version("saga-coordinator")
    metrics.read("saga_build_info", lambda: {(release,): 1.0})
    metrics.gauge("saga_ready", lambda: float(readiness.reason is None))
    metrics.gauge("saga_store_up", lambda: float(looked.up))
    metrics.gauge("saga_store_commits_total", lambda: store.counters.commits)
    metrics.gauge("saga_store_appends_total", lambda: store.counters.starts + store.counters.appends)
    metrics.gauge("saga_in_memory", lambda: worker.running)
    metrics.gauge("saga_requests_in_flight", lambda: worker.slots.taken)
    metrics.gauge("saga_held_back", lambda: worker.slots.waiting)
    metrics.gauge("saga_store_backlog_seconds", store.backlog)
    metrics.gauge("saga_trusted", lambda: float(worker.trusted))
    metrics.gauge("saga_due_delay_seconds", lambda: looked.due_delay)
    metrics.read("saga_parked", lambda: looked.parked)
    spans = app[keys.TELEMETRY].counters
    metrics.read(
        "saga_spans_total",
        lambda: {
            ("exported",): spans.exported, ("dropped",): spans.dropped, ("failed",): spans.failed,
        },
    )  # fmt: skip


async def _look(app: web.Application) -> None:
    store, looked = app[keys.STORE], app[keys.LOOKED]
    try:
        async with asyncio.timeout(PATIENCE):
            await store.ping()
            due = await store.next_due(FORMAT)
            parked = await store.list(Query(statuses=frozenset({"parked"}), limit=MOST_PARKED))
    except (TimeoutError, StoreError):
        looked.up = False
        return
    looked.up = True
    looked.due_delay = 0.0 if due is None else _delay(app[keys.CLOCK].now() - due)
    counted: dict[tuple[str, ...], float] = dict.fromkeys(looked.parked, 0.0)
    # One that has none any more is told as 0, so that its line falls instead of ending.
    looked.parked = counted | Counter((row.summary.definition,) for row in parked)


def _delay(seconds: float) -> float:
    # What is due at once carries a time so long before the one at which it became so.
    return max(0.0, seconds - AT_ONCE if seconds >= AT_ONCE else seconds)
