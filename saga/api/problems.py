"""Errors as problem documents (RFC 9457), and the one middleware, through which every answer goes.

``type`` is a stable word for programs, a relative URI reference; ``detail`` is for people. A fault of a document
or a request lists every problem in ``errors``, each with the JSON pointer it stands at.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from random import getrandbits
from typing import Any, Final, TypeVar

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler
from pydantic_core import to_json

from saga.api import access
from saga.api.keys import CLOCK, METRICS
from saga.api.refusal import Refusal
from saga.errors import (
    Busy,
    DefinitionInvalid,
    InboxFull,
    InputInvalid,
    NotYetExecuted,
    Problem,
    SagaError,
    StartUnknown,
    Stopping,
    StoreError,
    StoreUnknown,
    UnreadableJournal,
)
from saga.language.documents import MAX_BYTES
from saga.language.http_texts import phrase
from saga.log_fields import about

log = logging.getLogger(__name__)

PROBLEM_JSON: Final = "application/problem+json"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every request an id and a checked Host, and turn every error into a problem document."""
    given = request.headers.get("Request-Id")
    request_id = given if given is not None and _REQUEST_ID.fullmatch(given) else _new_id()
    about(request_id=request_id)
    began = request.app[CLOCK].monotonic()
    try:
        access.check_host(request)
        response = await handler(request)
    except web.HTTPException as error:
        response = problem_response(_of_framework(error))
    except SagaError as error:
        response = problem_response(error if isinstance(error, Refusal) else _of_error(error))
    except Exception:
        log.exception("request %s: %s %s failed", request_id, request.method, request.path)
        response = problem_response(
            Refusal("internal", "the coordinator failed; its log says why, under this Request-Id")
        )
    _count(request, response, request.app[CLOCK].monotonic() - began)
    return response if response.prepared else signed(response, request_id)


def _count(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    """Count an answer; one that waits for a saga or streams takes as long as there is something to wait for."""
    resource = request.match_info.route.resource
    route = None if resource is None else resource.canonical
    waited = response.prepared or "wait" in request.query
    request.app[METRICS].answered(request.method, route, response.status, None if waited else seconds)


R = TypeVar("R", bound=web.StreamResponse)


def signed(response: R, request_id: str | None = None) -> R:
    """Return the answer with its id, a new one where none is given, and without the framework's name."""
    response.headers["Request-Id"] = request_id or _new_id()
    response.headers["Server"] = "saga"
    return response


def _new_id() -> str:
    # Nobody is kept from guessing it: it only finds a line of the log.
    return f"{getrandbits(64):016x}"


async def expect(request: web.Request) -> web.Response | None:
    """Ask a client that waits with its body for it, unless it would be refused unread."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return signed(problem_response(Refusal("expectation-failed", "only 100-continue can be expected")))
    if (request.content_length or 0) <= MAX_BYTES and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written is not part of the answer, which begins only now.
        request.writer.output_size = 0
    return None


def problem_response(refusal: Refusal) -> web.Response:
    """Return the answer of a refusal."""
    body = {
        "type": refusal.kind,
        "title": phrase(refusal.status),
        "status": refusal.status,
        "detail": refusal.detail,
        **refusal.members,
    }
    return web.Response(
        status=refusal.status, body=to_json(body), content_type=PROBLEM_JSON, headers=refusal.headers
    )


def listed(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Return problems as a document shows them: where, what, and on which line when it was read from text."""
    return [
        {"pointer": each.pointer, "detail": each.detail}
        | ({"line": each.line} if each.line is not None else {})
        for each in problems
    ]


def invalid(kind: str, problems: Iterable[Problem]) -> Refusal:
    """Return a refusal that lists what is wrong."""
    found = listed(problems)
    detail = f"{len(found)} problems" if len(found) != 1 else found[0]["detail"]
    return Refusal(kind, detail, errors=found)


def _of_framework(error: web.HTTPException) -> Refusal:
    if error.status == 404:
        return Refusal("not-found", "there is nothing at this address")
    if error.status == 405:
        allow = error.headers.get("Allow", "")
        return Refusal("method-not-allowed", f"only {allow} may be used here", headers={"Allow": allow})
    if error.status == 413:
        return too_large()
    return Refusal("malformed-request", error.reason, status=error.status)


def too_large() -> Refusal:
    """Return the refusal of a body over the limit."""
    return Refusal("too-large", "the body has more than 1,048,576 bytes", headers={"Connection": "close"})


_SOON: Final = {"Retry-After": "1"}
_KINDS: Final[Mapping[type[SagaError], str]] = {
    Busy: "too-busy",
    InboxFull: "inbox-full",
    Stopping: "stopping",
    UnreadableJournal: "journal-unreadable",
}


def _of_error(error: SagaError) -> Refusal:
    if isinstance(error, DefinitionInvalid):
        kind = "not-yet-executed" if isinstance(error, NotYetExecuted) else "definition-invalid"
        return invalid(kind, (each for each in error.problems if each.severity == "error"))
    if isinstance(error, InputInvalid):
        return invalid("input-invalid", error.problems)
    if isinstance(error, StoreError):
        return _of_store(error)
    for of, kind in _KINDS.items():
        if isinstance(error, of):
            return Refusal(kind, str(error), headers={} if of is UnreadableJournal else _SOON)
    log.error("a request failed", exc_info=error)
    return Refusal("internal", "the coordinator failed; its log says why")


def _of_store(error: StoreError) -> Refusal:
    if isinstance(error, StartUnknown):
        detail = "whether the saga was started is not known: ask again under the same key"
        return Refusal("start-unknown", detail, headers=_SOON, id=error.saga_id)
    log.warning("the store is not available: %s", error)
    if isinstance(error, StoreUnknown):
        detail = "the store did not say whether this was written: look, or ask again"
        return Refusal("store-unknown", detail, headers=_SOON)
    return Refusal("store-unavailable", "the store cannot be reached or is full", headers=_SOON)
