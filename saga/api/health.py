"""Is it alive, does it take work, who else is there; and a word for those who come with a browser."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from saga.api import bodies
from saga.api.keys import READINESS, STORE, WORKER
from saga.api.refusal import Refusal
from saga.errors import StoreError

#: Seconds the store has for an answer before the coordinator counts as not ready.
PATIENCE: Final = 2.0

_LANDING: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Saga coordinator</title>
<h1>Saga coordinator</h1>
<p>This is the HTTP API of a saga coordinator, <a href="/docs">described here</a>. There is no page to see and
steer sagas yet: use <code>/v1/sagas</code>, or the command <code>saga</code>.</p>
</html>
"""
_LANDING_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def healthz(_request: web.Request) -> web.Response:
    """Say that the process answers."""
    return bodies.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Say whether the coordinator takes work, and if not, why."""
    reason = request.app[READINESS].reason or await _store_reason(request)
    if reason is not None:
        raise Refusal("not-ready", reason, headers={"Retry-After": "1"})
    return bodies.json_response(
        {"status": "ready", "running": request.app[WORKER].running, "store": _written(request)}
    )


def _written(request: web.Request) -> dict[str, int]:
    """Return what the store has written since it was opened."""
    counters = request.app[STORE].counters
    return {"commits": counters.commits, "appends": counters.appends, "starts": counters.starts}


async def _store_reason(request: web.Request) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE):
            await request.app[STORE].ping()
    except TimeoutError:
        return f"the store has not answered for {PATIENCE:g} s"
    except StoreError as error:
        return f"the store cannot be written to: {error}"
    return None


async def nodes(request: web.Request) -> web.Response:
    """List the coordinators that share the store."""
    own = request.app[WORKER].node
    rows = await request.app[STORE].nodes()
    return bodies.page([{"id": row.id, "alive": not row.dead, "self": row.id == own} for row in rows])


async def landing(_request: web.Request) -> web.Response:
    """Greet a browser."""
    return web.Response(text=_LANDING, content_type="text/html", headers=_LANDING_HEADERS)
