"""Every route of the API, in one table: method, path, handler, and the role it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias

from aiohttp import web

from saga.api import callbacks, commands, definitions, health, sagas, starts
from saga.api.access import Role, check_bearer

Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """One route."""

    method: str
    path: str
    handle: Handle
    #: What the bearer must be; None: none is asked for.
    role: Role | None


_COMMAND: Final = f"/v1/sagas/{{id}}/{{command:{'|'.join(commands.COMMANDS)}}}"

ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/v1/sagas", starts.start, "operator"),
    Route("GET", "/v1/sagas", sagas.find, "reader"),
    Route("GET", "/v1/sagas/{id}", sagas.show, "reader"),
    Route("GET", "/v1/sagas/{id}/journal", sagas.journal, "reader"),
    Route("GET", "/v1/sagas/{id}/plan", sagas.plan, "reader"),
    Route("POST", _COMMAND, commands.command, "operator"),
    Route("POST", "/v1/sagas/{id}/rerun", starts.rerun, "operator"),
    Route("POST", "/v1/sagas/{id}/signals/{name}", commands.signal, "operator"),
    Route("POST", "/v1/callbacks/{token}", callbacks.callback, None),
    Route("GET", "/v1/definitions", definitions.find, "reader"),
    Route("PUT", "/v1/definitions/{name}", definitions.put, "operator"),
    Route("GET", "/v1/definitions/{name}", definitions.show, "reader"),
    Route("DELETE", "/v1/definitions/{name}", definitions.delete, "operator"),
    Route("GET", "/v1/definitions/{name}/versions", definitions.versions, "reader"),
    Route("GET", "/v1/nodes", health.nodes, "reader"),
    Route("GET", "/healthz", health.healthz, None),
    Route("GET", "/readyz", health.readyz, None),
    Route("GET", "/", health.landing, None),
)


def add_routes(app: web.Application) -> None:
    """Make the router of the table."""
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _guarded(route))
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, _guarded(route))


def _guarded(route: Route) -> Handle:
    role, handle = route.role, route.handle
    if role is None:
        return handle

    async def guarded(request: web.Request) -> web.StreamResponse:
        check_bearer(request, role)
        return await handle(request)

    return guarded
