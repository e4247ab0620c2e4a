"""What a coordinator answers while its store is away at the start: alive, not ready, and nothing was done."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from saga.api import health
from saga.api.keys import READINESS
from saga.api.problems import answer
from saga.api.refusal import Refusal

_SOON: Final = {"Retry-After": "1"}


def waiting_room(app: web.Application) -> web.Application:
    """Return an application for the address of a coordinator that is not open yet."""
    room = web.Application(middlewares=[answer], handler_args={"auto_decompress": False})
    for key in app:  # what the middleware asks for, and as much of the rest as is there already
        room[key] = app[key]
    room.router.add_get("/healthz", health.healthz)
    room.router.add_get("/readyz", _not_ready)
    room.router.add_route("*", "/{anything:.*}", _away)
    return room


async def _not_ready(request: web.Request) -> web.Response:
    raise Refusal("not-ready", request.app[READINESS].reason or "it is starting", headers=_SOON)


async def _away(_request: web.Request) -> web.Response:
    raise Refusal("store-unavailable", "the coordinator waits for its store; nothing was done", headers=_SOON)
