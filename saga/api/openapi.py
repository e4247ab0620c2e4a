"""The API as an OpenAPI 3.1 document: one operation for each route, and what every one of them has in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from typing import Any, Final, NamedTuple, TypeAlias, cast

from pydantic_core import to_json

from saga.api import examples, shapes
from saga.api.access import ANY_HOST, READS
from saga.api.bodies import JSON, YAML, CommandBody
from saga.api.commands import COMMANDS
from saga.api.parameters import Parameter
from saga.api.problem_types import PROBLEM_TYPES
from saga.api.problems import PROBLEM_JSON
from saga.api.routes import ROUTES, Answer, Route
from saga.api.schemas import command_body, ref, schemas
from saga.core.commands import Command
from saga.language.http_texts import phrase
from saga.language.model import SagaDefinition

Document: TypeAlias = dict[str, Any]

_ABOUT: Final = """\
Runs business transactions across services, and undoes what was done when one of them fails.

Errors are problem documents (RFC 9457); `type` is a stable word. Times are RFC 3339 in UTC, durations are text: \
`250ms`, `5s`, `10m`, `24h`, `7d`. Where there is a GET, there is a HEAD that answers the same without its body. \
A parameter that is not listed is refused, and so is a member of a body."""

_PARAMETER: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")
#: What stands in a path, by the name it has there.
_PATH_SAYS: Final = {
    "id": "The saga's id.",
    "token": "Proves that the outcome comes from whom it was asked of.",
    "signals": "The signal's name.",
    "definitions": "The definition's name.",
}
_HEADERS: Final[Document] = {
    "Location": {"description": "Where it is found.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true`: it was started before, by the same request.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Retry-After": {"description": "Seconds after which to ask again.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "What is needed.", "schema": {"type": "string"}},
    "Request-Id": {
        "description": "Finds the request in the coordinator's log.",
        "schema": {"type": "string"},
        "required": True,
    },
}
#: Headers of a problem, by its status.
_WITH: Final = {
    401: ("WWW-Authenticate",),
    409: ("Location", "Idempotent-Replayed"),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_REQUEST_ID: Final[Document] = {
    "name": "Request-Id",
    "in": "header",
    "description": "A name for the request; without one, or with an odd one, it is given one.",
    "schema": {"type": "string"},
}


@cache
def as_json() -> bytes:
    """Return the document as JSON."""
    return to_json(document())


def document() -> Document:
    """Return the document; a new one each time."""
    operations = list(_operations())
    answers = [shape for route in ROUTES for each in route.answers.values() for shape in _shapes(each)]
    bodies = [route.body for route in ROUTES if isinstance(route.body, type)]
    made = schemas(answers, bodies)
    paths: Document = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.route.method.lower()] = each.described(made)
    # Each command's body says which of its members mean something there.
    del made[CommandBody.__name__]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Saga coordinator",
            "version": version("saga-coordinator"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": says} for name, says in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": made,
            "parameters": {"Request-Id": _REQUEST_ID},
            "headers": _HEADERS,
            "examples": _examples(),
            "links": {each.name: _link(each) for each in _of_a_saga()},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed where the coordinator has a token; without one it listens on loopback.",
                }
            },
        },
    }


_TAGS: Final = {
    "sagas": "Started, looked at and steered.",
    "callbacks": "What participants report.",
    "definitions": "What sagas are of.",
    "coordinator": "The coordinator itself.",
}


def _shapes(answer: Answer) -> tuple[type, ...]:
    if isinstance(answer.shape, tuple):
        return answer.shape
    return (answer.shape,) if isinstance(answer.shape, type) and answer.shape is not dict else ()


# --------------------------------------------------------------------------- operations


class Operation(NamedTuple):
    """One route; of that of the commands, one command."""

    route: Route
    command: Command | None = None

    @property
    def path(self) -> str:
        """The path, as OpenAPI writes it."""
        if self.command is not None:
            return _PARAMETER.sub("{id}", self.route.path, count=1).partition("{command")[0] + self.command
        return _PARAMETER.sub(r"{\1}", self.route.path)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.route.name.format(command=self.command)

    def described(self, made: Document) -> Document:
        """Return it as OpenAPI has it."""
        route, tag = self.route, self.path.split("/")[2:3]
        summary = " ".join((route.handle.__doc__ or "").partition("\n\n")[0].split())
        described: Document = {
            "operationId": self.name,
            "tags": tag if tag and tag[0] in _TAGS else ["coordinator"],
            "summary": COMMANDS[self.command].says if self.command else summary,
            "description": f"Role: {route.role}." if route.role else "No bearer is asked for.",
            "security": [{"bearer": []}, {}] if route.role else [],
            "parameters": [*_parameters(self)],
        }
        if route.body is not None:
            described["requestBody"] = _body(self, made)
        described["responses"] = {str(status): each for status, each in sorted(_responses(self))}
        return described


def _operations() -> Iterator[Operation]:
    for route in ROUTES:
        if "{command" in route.path:
            yield from (Operation(route, command) for command in COMMANDS)
        else:
            yield Operation(route)


def _parameters(operation: Operation) -> Iterator[Document]:
    before = ""
    for part in operation.path.split("/"):
        if match := _PARAMETER.fullmatch(part):
            says = _PATH_SAYS.get(match[1]) or _PATH_SAYS[before]
            schema = {"type": "string", "minLength": 1}
            yield {"name": match[1], "in": "path", "required": True, "description": says, "schema": schema}
        before = part
    yield from (_given(each, "query") for each in operation.route.query.values() if each is not None)
    yield from (_given(each, "header") for each in operation.route.headers)
    yield {"$ref": "#/components/parameters/Request-Id"}


def _given(parameter: Parameter[Any], where: str) -> Document:
    return {
        "name": parameter.name,
        "in": where,
        "description": parameter.says,
        "schema": dict(parameter.schema),
    }


def _body(operation: Operation, made: Document) -> Document:
    body, command = operation.route.body, operation.command
    if body == "definition":
        media = _media(ref(SagaDefinition), "Definition")
        return {"required": True, "content": dict.fromkeys((JSON, *sorted(YAML)), media)}
    if body == "any":
        return {"required": False, "content": {JSON: _media({}, "Signal")}}
    model = cast("type[Any]", body)
    if command is not None:
        media = _media(command_body(made[model.__name__], command), command)
        return {"required": bool(COMMANDS[command].needed), "content": {JSON: media}}
    required = any(field.is_required() for field in model.model_fields.values())
    return {"required": required, "content": {JSON: _media(ref(model), model.__name__)}}


def _media(schema: Document, example: str) -> Document:
    shown = {"examples": {example: {"$ref": f"#/components/examples/{example}"}}}
    return {"schema": schema} | (shown if example in examples.EXAMPLES else {})


# --------------------------------------------------------------------------- answers


def _responses(operation: Operation) -> Iterator[tuple[int, Document]]:
    for status, answer in operation.route.answers.items():
        yield status, _answer(answer)
    kinds: dict[int, list[str]] = {}
    for kind in dict.fromkeys(_problems(operation)):
        kinds.setdefault(PROBLEM_TYPES[kind].status, []).append(kind)
    for status, found in kinds.items():
        yield status, _problem(status, found)


def _answer(answer: Answer) -> Document:
    made: Document = {"description": answer.says, "headers": _headers(*answer.headers)}
    if answer.shape is dict:
        made["content"] = {JSON: {"schema": {"type": "object"}}}
    elif found := _shapes(answer):
        schema = {"anyOf": [ref(each) for each in found]} if len(found) > 1 else ref(found[0])
        made["content"] = {JSON: _media(schema, found[0].__name__)}
    elif answer.shape is not None:
        made["content"] = {answer.shape: {"schema": {"type": "string"}}}
    if shapes.Saga in _shapes(answer):
        made["links"] = {each.name: {"$ref": f"#/components/links/{each.name}"} for each in _of_a_saga()}
    return made


def _problem(status: int, kinds: list[str]) -> Document:
    says = [f"`{kind}`: {PROBLEM_TYPES[kind].says}" for kind in kinds]
    schema = ref(shapes.ProblemDocument) | {
        "properties": {"type": {"enum": kinds}, "status": {"const": status}}
    }
    shown = {kind: {"$ref": f"#/components/examples/{kind}"} for kind in kinds}
    return {
        "description": "\n\n".join(says),
        "headers": _headers(*_WITH.get(status, ())),
        "content": {PROBLEM_JSON: {"schema": schema, "examples": shown}},
    }


def _headers(*names: str) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "Request-Id")}


#: Types of problem that routes have for what they are, not for what they do.
_COMMON: Final[tuple[tuple[Callable[[Route], bool], tuple[str, ...]], ...]] = (
    (lambda _: True, ("expectation-failed", "internal")),
    (lambda route: route.path not in ANY_HOST, ("host-not-allowed",)),
    (lambda route: route.method not in READS, ("origin-not-allowed",)),
    (lambda route: route.role is not None, ("unauthorized", "parameter-invalid")),
    (
        lambda route: route.body is not None,
        ("malformed-body", "too-slow", "too-large", "unsupported-media-type"),
    ),
    (lambda route: isinstance(route.body, type), ("request-invalid",)),
    (lambda route: route.path.startswith("/v1/"), ("store-unavailable",)),
    (lambda route: route.path.startswith("/v1/") and route.method not in READS, ("store-unknown",)),
)


def _problems(operation: Operation) -> Iterator[str]:
    """Yield every type of problem an operation can be answered with."""
    for has, kinds in _COMMON:
        if has(operation.route):
            yield from kinds
    yield from operation.route.problems
    if operation.command is not None:
        yield from COMMANDS[operation.command].refusals


def _of_a_saga() -> Iterator[Operation]:
    """Yield the operations that need nothing but a saga's id."""
    for each in _operations():
        if _PARAMETER.findall(each.path) == ["id"]:
            yield each


def _link(to: Operation) -> Document:
    return {"operationId": to.name, "parameters": {"id": "$response.body#/id"}}


def _examples() -> Document:
    shown = {name: {"value": value} for name, value in examples.EXAMPLES.items()}
    return shown | {kind: {"value": _example_of(kind)} for kind in PROBLEM_TYPES}


def _example_of(kind: str) -> Document:
    status, says = PROBLEM_TYPES[kind]
    made: Document = {"type": kind, "title": phrase(status), "status": status, "detail": says}
    return {**made, **examples.MEMBERS.get(kind, {})}
