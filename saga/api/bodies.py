"""Reading requests strictly, and writing answers.

A body is JSON text without duplicate keys, NaN or halves of surrogates, at most 64 levels deep; integers keep all
their digits. What is no such text is a 400; a member that is unknown or not what it must be is a 422.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, to_json

from saga.api.parameters import LARGEST
from saga.api.problems import invalid, listed, too_large
from saga.api.refusal import Refusal
from saga.errors import InputInvalid, Problem
from saga.language.documents import MAX_BYTES, read_document
from saga.language.fields import NAME, Name
from saga.language.pointers import pointer
from saga.language.words import MUST_BE, NAME_RULE, did_you_mean

#: Seconds a body has for coming.
READING: Final = 30.0

YAML: Final = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
JSON: Final = "application/json"

#: Most problems that are listed: nobody mends more at once, and a hostile body could have tens of thousands.
MOST_PROBLEMS: Final = 100
#: Longest id of a route that is looked up; children's ids may be longer than those a client chooses.
_LONGEST_ID: Final = 4096
_REQUIRED: Final = object()
#: Bytes of a definition above which it is read and checked in a thread: a megabyte can take seconds, in which others
#: want answers.
_BRIEF: Final = 32_768


#: Ids a client may choose.
ID: Final = r"^[A-Za-z0-9._-]{1,128}$"
#: What is said of a text without the form it must have, by that form.
_FORMS: Final = {NAME: f"the name {NAME_RULE}", ID: "must be 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-'"}


class Body(BaseModel):
    """A request's body; an unknown member is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _label(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise ValueError("must be text, a number or a boolean")  # noqa: TRY004 - pydantic takes no TypeError
    return value


Label: TypeAlias = Annotated[
    Any, AfterValidator(_label), Field(json_schema_extra={"type": ["string", "number", "boolean"]})
]
VersionNumber: TypeAlias = Annotated[int, Field(ge=1, le=LARGEST)]


class StartBody(Body):
    """What is to be started."""

    definition: Annotated[
        Any,
        Field(
            description="The name of a definition, or a whole one, which is stored first.",
            json_schema_extra={"anyOf": [{"type": "string"}, {"component": "Definition"}]},
        ),
    ]
    version: VersionNumber | None = Field(
        None, description="A version of the definition; without it the latest."
    )
    input: Any = Field(None, description="What the definition's schema asks for.")
    labels: Annotated[dict[Name, Label], Field(max_length=64)] | None = Field(
        None, description="What the saga is searched by, besides the labels of its definition."
    )
    id: Annotated[str, StringConstraints(pattern=ID)] | None = Field(
        None, description="The saga's id, in place of a start key; not `.` or `..`."
    )
    start_at: str | None = Field(
        None, description="Nothing is sent before this time.", json_schema_extra={"format": "date-time"}
    )
    notify: Any = Field(None, description="Not in this release.", json_schema_extra={"type": "null"})


class RerunBody(Body):
    """What is to be different in the new saga."""

    input: Any = Field(None, description="Its input; without it that of the saga before.")
    version: VersionNumber | None = Field(
        None, description="Its version; without it that of the saga before."
    )


class CommandBody(Body):
    """A command; every member is optional here, and which one fits depends on the command."""

    reason: Annotated[str, StringConstraints(max_length=2000)] | None = Field(
        None, description="Why, for the journal."
    )
    step: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        None, description="A step, or one instance of it: `issue_ticket[0]`."
    )
    outcome: Literal["succeeded", "refused", "undone"] | None = Field(
        None, description="Of a parked action `succeeded` or `refused`, of a parked compensation `undone`."
    )
    output: Any = Field(None, description="What the step gives, when it has succeeded.")


class CallbackBody(Body):
    """What came of an invocation that was answered with 202."""

    outcome: Literal["succeeded", "refused"]
    output: Any = Field(None, description="What the participant answers; of a success.")
    error: str | None = Field(None, description="Why not; of a refusal.")


B = TypeVar("B", bound=Body)
T = TypeVar("T")

# bodies


async def read_value(request: web.Request, *, empty: Any = _REQUIRED) -> Any:
    """Return the JSON value of the body, or ``empty`` for a body that is empty and need not be there."""
    text = await _read(request)
    if not text and empty is not _REQUIRED:
        return empty
    if request.content_type != JSON or not _is_utf8(request):
        raise Refusal("unsupported-media-type", "the body must be application/json in UTF-8")
    try:
        return read_document(text, yaml=False, error=InputInvalid)[0]
    except InputInvalid as error:
        problems = listed(error.problems)
        raise Refusal("malformed-body", problems[0]["detail"], errors=problems) from None


async def read_body(request: web.Request, model: type[B], *, required: bool = True) -> tuple[B, Any]:
    """Return the body as its model, and as it was sent."""
    value = await read_value(request, empty=_REQUIRED if required else {})
    try:
        return model.model_validate(value), value
    except ValidationError as error:
        raise invalid("request-invalid", _problems(error, model)) from None


async def read_definition(request: web.Request) -> tuple[Any, Mapping[str, int]]:
    """Return a definition's document, from JSON or YAML, and the line of each part of it."""
    text = await _read(request)
    kind = request.content_type
    if kind not in YAML and (kind != JSON or not _is_utf8(request)):
        detail = f"a definition is sent as {JSON} or {', '.join(sorted(YAML))}"
        raise Refusal("unsupported-media-type", detail)
    return await aside(request, lambda: read_document(text, yaml=kind in YAML))


async def aside(request: web.Request, call: Callable[[], T]) -> T:
    """Return what the call gives, made in a thread if the request's body is large; it must be pure."""
    if len(await request.read()) > _BRIEF:
        return await asyncio.to_thread(call)
    return call()


async def _read(request: web.Request) -> bytes:
    if request.content_length is not None and request.content_length > MAX_BYTES:
        raise too_large()
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("unsupported-media-type", "send the body as it is, not compressed")
    try:
        if request.content.is_eof():
            return await request.read()
        async with asyncio.timeout(READING):
            return await request.read()
    except TimeoutError:
        raise Refusal("too-slow", f"the body has not come within {READING:g} s") from None
    except (ConnectionError, web.RequestPayloadError, HttpProcessingError) as error:
        raise Refusal("malformed-body", "the body is cut off or badly framed") from error


def _is_utf8(request: web.Request) -> bool:
    return (request.charset or "utf-8").lower() in ("utf-8", "utf8", "us-ascii")


def _problems(error: ValidationError, model: type[Body]) -> Iterable[Problem]:
    """Return one problem for each member, without its value, which may be what nobody should see."""
    found: dict[str, Problem] = {}
    for each in error.errors(include_url=False, include_input=False):
        if len(found) == MOST_PROBLEMS:
            break
        at = pointer(*(part for part in each["loc"] if part != "[key]"))  # which says that the name is wrong
        found.setdefault(at, Problem(pointer=at, detail=_words(each, model)))
    return found.values()


def _words(error: ErrorDetails, model: type[Body]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"is not known here{did_you_mean(str(error['loc'][-1]), model.model_fields)}"
    if kind == "model_type":
        return "the body must be an object"
    special = {
        "missing": "is missing: add it",
        "literal_error": f"must be one of {context.get('expected')}",
        "string_pattern_mismatch": _FORMS.get(context.get("pattern", ""), ""),
        "value_error": str(context.get("error")),
        "dict_type": "must be an object",
    }
    return (
        special.get(kind) or f"must be {MUST_BE[kind].format(**context) if kind in MUST_BE else error['msg']}"
    )


def canonical(value: Any) -> bytes:
    """Return one text for equal JSON values, whatever the order of members and the spacing."""
    return _canonical.encode(value).encode()


# json.dumps would make one for each call.
_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# paths


def saga_id_of(request: web.Request) -> str:
    """Return the id in the path."""
    found = request.match_info["id"]
    if not found.isascii() or len(found) > _LONGEST_ID or "\0" in found:
        raise unknown_saga()
    return found


def unknown_saga() -> Refusal:
    """Return the refusal of an id that no saga has."""
    return Refusal("saga-unknown", "there is no saga with this id")


# answers


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return web.Response(status=status, body=to_json(value), content_type=JSON, headers=headers)


def page(items: list[Any], cursor: str | None = None) -> web.Response:
    """Return a list."""
    return json_response({"items": items, "next": cursor})
