"""Every route of the API, in one table: what it is called, who may ask, what it takes and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp import web

from saga.api import callbacks, commands, definitions, description, health, sagas, scrape, shapes, starts
from saga.api.access import Role, check_bearer
from saga.api.bodies import Body, CallbackBody, CommandBody, RerunBody, StartBody
from saga.api.parameters import NO_PARAMETERS, PAGING, Parameter, Parameters, query_of
from saga.api.problems import expect

Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Answer(NamedTuple):
    """What a route answers when all is well."""

    says: str
    #: One of the shapes, several of which it has one, or a type of media.
    shape: Any = None
    #: Names of headers it has, or may have.
    headers: tuple[str, ...] = ()


class Route(NamedTuple):
    """One route."""

    #: Its name in the description of the API; for ever.
    name: str
    method: str
    path: str
    handle: Handle
    #: What the bearer must be; None: none is asked for.
    role: Role | None
    answers: Mapping[int, Answer]
    #: Types of problem of its own, besides those that every route like it has.
    problems: tuple[str, ...] = ()
    #: What its query may hold.
    query: Parameters = NO_PARAMETERS
    #: Headers it looks at.
    headers: tuple[Parameter[Any], ...] = ()
    #: What its JSON body is; "any": whatever JSON; "definition": one, as JSON or YAML; None: it has none.
    body: type[Body] | str | None = None


_COMMAND: Final = f"/v1/sagas/{{id}}/{{command:{'|'.join(commands.COMMANDS)}}}"

_PLACED: Final = ("Location", "Idempotent-Replayed")
_NO_SUCH: Final = ("definition-unknown", "definition-deleted", "version-unknown")
_NO_START: Final = (
    *_NO_SUCH, "input-invalid", "not-yet-executed", "start-key-reused", "too-busy", "stopping", "start-unknown",
)  # fmt: skip
_SAGA: Final = Answer("The saga as it is now.", shapes.Saga)
_RECORDED: Final = "It is recorded"

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "start_saga", "POST", "/v1/sagas", starts.start, "operator",
        {
            202: Answer("It is durable, and has not ended.", shapes.Saga, _PLACED),
            200: Answer("It has ended; of a start that waits, it has completed.", shapes.Saga, _PLACED),
        },
        ("saga-compensated", "saga-abandoned", "definition-invalid", "journal-unreadable", *_NO_START),
        starts.QUERY, starts.HEADERS, StartBody,
    ),
    Route(
        "find_sagas", "GET", "/v1/sagas", sagas.find, "reader",
        {200: Answer("A page of sagas, newest first.", shapes.SagaPage)},
        query=sagas.FILTERS,
    ),
    Route(
        "show_saga", "GET", "/v1/sagas/{id}", sagas.show, "reader",
        {200: Answer("The saga, as it is or as it was.", (shapes.Saga, shapes.UnreadableSaga))},
        ("saga-unknown",), sagas.VIEWS,
    ),
    Route(
        "show_journal", "GET", "/v1/sagas/{id}/journal", sagas.journal, "reader",
        {200: Answer("Its entries, in order; all of them, unless a limit is given.", shapes.JournalPage)},
        ("saga-unknown",), PAGING,
    ),
    Route(
        "show_plan", "GET", "/v1/sagas/{id}/plan", sagas.plan, "reader",
        {200: Answer("What would be sent if it were cancelled now.", shapes.Plan)},
        ("saga-unknown", "journal-unreadable"),
    ),
    Route(
        "{command}_saga", "POST", _COMMAND, commands.command, "operator",
        {200: _SAGA, 202: Answer(f"{_RECORDED}; its owner has not answered yet.", shapes.Recorded)},
        ("saga-unknown", "journal-unreadable", "inbox-full"), body=CommandBody,
    ),
    Route(
        "rerun_saga", "POST", "/v1/sagas/{id}/rerun", starts.rerun, "operator",
        {
            201: Answer("The new saga.", shapes.Saga, _PLACED),
            200: Answer("The new saga, which was started before under the same key.", shapes.Saga, _PLACED),
        },
        ("saga-unknown", "journal-unreadable", "saga-not-ended", *_NO_START),
        headers=starts.HEADERS, body=RerunBody,
    ),
    Route(
        "signal_saga", "POST", "/v1/sagas/{id}/signals/{name}", commands.signal, "operator",
        {202: Answer(f"{_RECORDED}, and kept until a step waits for it.", shapes.Recorded)},
        ("saga-unknown", "journal-unreadable", "signal-unknown", "saga-ended", "signals-full", "inbox-full"),
        body="any",
    ),
    Route(
        "call_back", "POST", "/v1/callbacks/{token}", callbacks.callback, None,
        {200: Answer(f"{_RECORDED}, now or before.", shapes.Recorded)},
        ("callback-unknown", "outcome-stands", "too-late", "not-judged", "inbox-full"),
        body=CallbackBody,
    ),
    Route(
        "find_definitions", "GET", "/v1/definitions", definitions.find, "reader",
        {200: Answer("The latest version of each, by name.", shapes.DefinitionPage)},
        ("journal-unreadable",), PAGING,
    ),
    Route(
        "put_definition", "PUT", "/v1/definitions/{name}", definitions.put, "operator",
        {
            201: Answer("A new version.", shapes.Put, ("Location",)),
            200: Answer("It equals the latest version; or it was only checked.", shapes.Put, ("Location",)),
        },
        ("definition-invalid", "not-yet-executed"), definitions.DRY, body="definition",
    ),
    Route(
        "show_definition", "GET", "/v1/definitions/{name}", definitions.show, "reader",
        {200: Answer("The definition, as it was stored.", shapes.StoredDefinition)},
        (*_NO_SUCH, "journal-unreadable"), definitions.VERSIONED,
    ),
    Route(
        "delete_definition", "DELETE", "/v1/definitions/{name}", definitions.delete, "operator",
        {204: Answer("No more sagas are started of it; those that run go on.")},
        ("definition-unknown", "definition-deleted"),
    ),
    Route(
        "find_versions", "GET", "/v1/definitions/{name}/versions", definitions.versions, "reader",
        {200: Answer("Its versions, newest first.", shapes.VersionPage)},
        ("definition-unknown",), PAGING,
    ),
    Route(
        "find_nodes", "GET", "/v1/nodes", health.nodes, "reader",
        {200: Answer("The coordinators that share the store.", shapes.NodePage)},
    ),
    Route("show_health", "GET", "/healthz", health.healthz, None, {200: Answer("It is alive.", shapes.Health)}),
    Route(
        "show_readiness", "GET", "/readyz", health.readyz, None,
        {200: Answer("It takes work.", shapes.Ready)},
        ("not-ready",),
    ),
    Route(
        "show_metrics", "GET", "/metrics", scrape.scrape, "reader",
        {200: Answer("Every metric, in the text format of Prometheus.", "text/plain")},
    ),
    Route(
        "describe_api", "GET", "/openapi.json", description.openapi, "reader",
        {200: Answer("This document.", dict)},
    ),
    Route(
        "read_api", "GET", "/docs", description.docs, "reader",
        {200: Answer("The same as a page to read.", "text/html")},
    ),
    Route("greet", "GET", "/", health.landing, None, {200: Answer("A word for a browser.", "text/html")}),
)  # fmt: skip


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
