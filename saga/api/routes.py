"""Every route of the API, in one table: method, path, handler, and the role it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias

from aiohttp import web

from saga.api import callbacks, commands, definitions, health, sagas, starts
from saga.api.access import Role, check_bearer
from saga.api.bodies import (
    Body,
    CallbackBody,
    CommandBody,
    RerunBody,
    StartBody,
)
from saga.api.parameters import NO_PARAMETERS, PAGING, Parameters, query_of
from saga.api.problems import expect

Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """One route."""

    method: str
    path: str
    handle: Handle
    #: What the bearer must be; None: none is asked for.
    role: Role | None
    #: What its query may hold.
    query: Parameters = NO_PARAMETERS
    #: What its JSON body is; None when it has none, or any.
    body: type[Body] | None = None


_COMMAND: Final = f"/v1/sagas/{{id}}/{{command:{'|'.join(commands.COMMANDS)}}}"

ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/v1/sagas", starts.start, "operator", starts.QUERY, StartBody),
    Route("GET", "/v1/sagas", sagas.find, "reader", sagas.FILTERS),
    Route("GET", "/v1/sagas/{id}", sagas.show, "reader", sagas.VIEWS),
    Route("GET", "/v1/sagas/{id}/journal", sagas.journal, "reader", PAGING),
    Route("GET", "/v1/sagas/{id}/plan", sagas.plan, "reader"),
    Route("POST", _COMMAND, commands.command, "operator", body=CommandBody),
    Route("POST", "/v1/sagas/{id}/rerun", starts.rerun, "operator", body=RerunBody),
    Route("POST", "/v1/sagas/{id}/signals/{name}", commands.signal, "operator"),
    Route("POST", "/v1/callbacks/{token}", callbacks.callback, None, body=CallbackBody),
    Route("GET", "/v1/definitions", definitions.find, "reader", PAGING),
    Route("PUT", "/v1/definitions/{name}", definitions.put, "operator", definitions.DRY),
    Route("GET", "/v1/definitions/{name}", definitions.show, "reader", definitions.VERSIONED),
    Route("DELETE", "/v1/definitions/{name}", definitions.delete, "operator"),
    Route("GET", "/v1/definitions/{name}/versions", definitions.versions, "reader", PAGING),
    Route("GET", "/v1/nodes", health.nodes, "reader"),
    Route("GET", "/healthz", health.healthz, None),
    Route("GET", "/readyz", health.readyz, None),
    Route("GET", "/", health.landing, None),
)


def add_routes(app: web.Application) -> None:
    """Make the router of the table."""
    for route in ROUTES:
        methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
        for method in methods:
            app.router.add_route(method, route.path, _guarded(route), expect_handler=expect)


def _guarded(route: Route) -> Handle:
    role, handle, query = route.role, route.handle, route.query
    if role is None:
        return handle

    async def guarded(request: web.Request) -> web.StreamResponse:
        check_bearer(request, role)
        if request.query_string and not query:
            query_of(request, NO_PARAMETERS)
        return await handle(request)

    return guarded
