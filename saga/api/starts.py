"""Starting sagas, and starting them again."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterator
from typing import Any, Final

from aiohttp import web

from saga.api import bodies, parameters
from saga.api.access import who
from saga.api.definitions import in_body
from saga.api.keys import CATALOGUE, CLOCK, INTAKE, POST
from saga.api.problems import invalid
from saga.api.refusal import Refusal
from saga.api.sagas import found, shown
from saga.catalogue import Version
from saga.changes import Seen
from saga.errors import Busy, DefinitionInvalid, InputInvalid, NotYetExecuted, Problem, Stopping
from saga.language.durations import LONGEST, parse_time
from saga.starts import Accepted, Identity, Start, identify

#: Longest wait for an end, seconds.
MOST_WAIT: Final = 60.0
#: Longest start key, characters.
MOST_KEY: Final = 255
_MADE_OF_KEY: Final = re.compile(r"key-[0-9a-f]{40}")
WAIT: Final = parameters.span(
    "wait", "Answer when the saga has ended, but wait no longer than this.", MOST_WAIT
)
START_KEY: Final = parameters.text(
    "Idempotency-Key",
    "The start key: the same request again under it gives the same saga.",
    minLength=1,
    maxLength=MOST_KEY,
)
TRACEPARENT: Final = parameters.text("traceparent", "The trace the saga belongs to (W3C Trace Context).")
TRACESTATE: Final = parameters.text("tracestate", "What the trace's vendors add to it.")
#: Headers of a start.
HEADERS: Final = (START_KEY, TRACEPARENT, TRACESTATE)
#: Parameters of a start.
QUERY: Final = parameters.known(WAIT)
_REPLAYED: Final = {"Idempotent-Replayed": "true"}


async def start(request: web.Request) -> web.Response:
    """Start a saga, durably, and answer at once or when it has ended."""
    query = parameters.query_of(request, QUERY) if request.query_string else {}
    seconds = WAIT.of(query)
    body, sent = await bodies.read_body(request, bodies.StartBody)
    begins = _start_at(request, body)
    identity = identify(body.id, _start_key(request, body.id), bodies.canonical(sent))
    post = request.app[POST]
    with post.watch(identity.saga_id) as watch:
        accepted = await _accepted(request, identity, _start(request, body, identity, begins))
        seen = accepted.seen or await found(request, accepted.saga_id)
        if seconds is not None:
            seen = await post.ended(watch, seen, seconds)
    return _answer(accepted, seen, waited=seconds is not None)


async def rerun(request: web.Request) -> web.Response:
    """Start a new saga like one that has ended."""
    body, sent = await bodies.read_body(request, bodies.RerunBody, required=False)
    saga_id = bodies.saga_id_of(request)
    fingerprint = bodies.canonical({"rerun": saga_id, "body": sent})
    identity = identify(None, _start_key(request, None), fingerprint)
    accepted = await _accepted(request, identity, _rerun(request, saga_id, body, identity))
    seen = accepted.seen or await found(request, accepted.saga_id)
    headers = {"Location": location(seen)} | ({} if accepted.created else _REPLAYED)
    return bodies.json_response(shown(seen), 201 if accepted.created else 200, headers)


def location(seen: Seen) -> str:
    """Return where a saga is found."""
    return f"/v1/sagas/{seen.state.id}"


# what was asked


def _start_key(request: web.Request, given: str | None) -> str | None:
    keys = request.headers.getall("Idempotency-Key", [])
    if not keys:
        return None
    if given is not None:
        detail = "an id takes the place of the start key: leave one of them out"
        raise invalid("request-invalid", [Problem(pointer="/id", detail=detail)])
    key = keys[0].strip()
    if len(keys) > 1 or not 0 < len(key) <= MOST_KEY or not _is_text(key):
        detail = f"the Idempotency-Key is one text of 1 to {MOST_KEY} characters"
        raise invalid("request-invalid", [Problem(pointer="", detail=detail)])
    return key


def _is_text(key: str) -> bool:
    # Bytes of a header that are no UTF-8 arrive as halves of surrogates.
    return not any("\ud800" <= char <= "\udfff" for char in key)


def _start_at(request: web.Request, body: bodies.StartBody) -> float | None:
    """Check what the shape of the body does not tell; return when the saga begins."""
    problems = list(_misfits(body))
    begins: float | None = None
    try:
        begins = None if body.start_at is None else parse_time(body.start_at)
    except (ValueError, OverflowError) as error:
        problems.append(Problem(pointer="/start_at", detail=str(error)))
    if begins is not None and begins > request.app[CLOCK].now() + LONGEST:
        problems.append(Problem(pointer="/start_at", detail="lies more than ten years ahead"))
    if problems:
        raise invalid("request-invalid", problems)
    if body.notify is not None:
        detail = "'notify' is not executed yet by this release"
        raise invalid("not-yet-executed", [Problem(pointer="/notify", detail=detail)])
    return begins


def _misfits(body: bodies.StartBody) -> Iterator[Problem]:
    if body.id in (".", ".."):
        yield Problem(pointer="/id", detail="cannot be . or ..")
    if body.id is not None and _MADE_OF_KEY.fullmatch(body.id):
        yield Problem(pointer="/id", detail="ids of this form are made of start keys: choose another")
    if not isinstance(body.definition, str | dict):
        yield Problem(pointer="/definition", detail="must be a name or a whole definition")
    if isinstance(body.definition, dict) and body.version is not None:
        yield Problem(pointer="/version", detail="belongs to a name; here the definition is given whole")


# from asked to accepted


async def _accepted(request: web.Request, identity: Identity, starting: Awaitable[Accepted]) -> Accepted:
    """Start; what cannot be started now may be the repetition of a start that could."""
    try:
        accepted = await starting
    except (Refusal, DefinitionInvalid, InputInvalid, Busy, Stopping):
        before = await request.app[INTAKE].find(identity)
        if before is None:
            raise
        accepted = before
    if accepted.reused:
        detail = "this key or id belongs to a start with another body"
        raise Refusal("start-key-reused", detail, id=accepted.saga_id)
    return accepted


async def _start(
    request: web.Request, body: bodies.StartBody, identity: Identity, begins: float | None
) -> Accepted:
    intake = request.app[INTAKE]
    if isinstance(body.definition, str):
        version = await startable(request, body.definition, body.version)
    else:
        # A repetition must not store its definition again: meanwhile there may be a newer one.
        before = await intake.find(identity)
        if before is not None:
            return before
        intake.check_room()
        version = await _stored(request, body.definition)
    return await intake.start(
        _asked(request, identity, version, input=body.input, labels=body.labels, start_at=begins)
    )


async def _rerun(request: web.Request, saga_id: str, body: bodies.RerunBody, identity: Identity) -> Accepted:
    before = await found(request, saga_id)
    state = before.state
    if not state.ended:
        raise Refusal("saga-not-ended", f"the saga is {state.status}", saga=shown(before))
    version = await startable(request, state.definition, body.version or state.version)
    changed = "input" in body.model_fields_set
    own = version.definition.labels
    # A label the definition makes of the input is made again when the input is another.
    labels = {name: value for name, value in state.labels.items() if not changed or name not in own}
    given = body.input if changed else state.input
    asked = _asked(request, identity, version, input=given, labels=labels, rerun_of=saga_id)
    return await request.app[INTAKE].start(asked)


def _asked(request: web.Request, identity: Identity, version: Version, **given: Any) -> Start:
    headers = request.headers
    return Start(
        definition=version,
        identity=identity,
        traceparent=headers.get("traceparent"),
        tracestate=headers.get("tracestate"),
        by=who(request),
        **given,
    )


async def startable(request: web.Request, name: str, wanted: int | None) -> Version:
    """Return the version a start names, if there may be new starts of it."""
    catalogue = request.app[CATALOGUE]
    usable = name.isascii() and "\0" not in name
    latest = await catalogue.latest(name) if usable else None
    if latest is None:
        raise Refusal("definition-unknown", "there is no definition of this name")
    if latest.deleted:
        raise Refusal("definition-deleted", f"{name} was deleted: put it again to start sagas of it")
    if wanted is None or wanted == latest.version:
        return latest
    version = await catalogue.find(name, wanted)
    if version is None:
        raise Refusal("version-unknown", f"{name} has no version {wanted}; its latest is {latest.version}")
    return version


async def _stored(request: web.Request, document: dict[str, Any]) -> Version:
    try:
        definition, warnings = await in_body(request, document)
    except NotYetExecuted as error:
        raise NotYetExecuted(_below(error.problems)) from None
    except DefinitionInvalid as error:
        raise DefinitionInvalid(_below(error.problems)) from None
    put = await request.app[CATALOGUE].put(definition, warnings)
    return put.version


def _below(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(
        Problem(pointer=f"/definition{each.pointer}", detail=each.detail, severity=each.severity)
        for each in problems
    )


# the answer


def _answer(accepted: Accepted, seen: Seen, *, waited: bool) -> web.Response:
    state = seen.state
    headers = {"Location": location(seen)} | ({} if accepted.created else _REPLAYED)
    if waited and state.ended and state.status != "completed":
        reason = state.failure.detail if state.failure is not None else f"the saga was {state.status}"
        raise Refusal(
            f"saga-{state.status}", reason, headers=headers, reason=reason, id=state.id, saga=shown(seen)
        )
    return bodies.json_response(shown(seen), 200 if state.ended else 202, headers)
