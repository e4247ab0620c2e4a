"""Whether an answer is one that the description of the API foresees: no other status, header, type or member."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema_rs

from saga.api.openapi import document


def check(method: str, path: str, status: int, headers: Mapping[str, str], text: str) -> None:
    """Fail when the answer is not as it is described."""
    about = f"{method} {path} {status} {text[:500]}"
    operation = _operation("GET" if method == "HEAD" else method, path.partition("?")[0].partition("#")[0])
    if operation is None:
        assert status in (403, 404, 405), f"not described: {about}"
        _valid({"$ref": "#/components/schemas/Problem"}, "{}" if method == "HEAD" else text, about)
        return
    answer = operation["responses"].get(str(status))
    assert answer is not None, f"no such status is described: {about}"
    _check_headers(answer["headers"], headers, about)
    content = answer.get("content")
    if content is None:
        assert text == "", about
        return
    kind = {name.lower(): value for name, value in headers.items()}["content-type"].partition(";")[0]
    assert kind in content, f"{kind}: {about}"
    if method != "HEAD" and kind.endswith("json"):
        _valid(content[kind]["schema"], text, about)


def _check_headers(described: Mapping[str, Any], given: Mapping[str, str], about: str) -> None:
    known = _document()["components"]["headers"]
    names = {name.lower() for name in given}
    assert {name.lower() for name in described if known[name].get("required")} <= names, about
    foreign = names & {name.lower() for name in known} - {name.lower() for name in described}
    assert not foreign, f"{foreign} are not described: {about}"


def _valid(schema: dict[str, Any], text: str, about: str) -> None:
    errors = [
        f"/{'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
        for error in _validator(json.dumps(schema)).iter_errors(json.loads(text))
    ]
    assert not errors, f"{errors[:3]}: {about}"


@cache
def _validator(schema: str) -> Any:
    whole = json.loads(schema) | {"components": _closed(_document()["components"])}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


@cache
def _document() -> dict[str, Any]:
    return document()


def _closed(value: Any) -> Any:
    """Return schemas that take no member which they do not name: clients should ignore those, tests should not."""
    if isinstance(value, list):
        return [_closed(each) for each in value]
    if not isinstance(value, dict):
        return value
    closed = {name: _closed(each) for name, each in value.items()}
    if value.get("type") == "object" and "properties" in value:
        closed.setdefault("additionalProperties", False)
    return closed


def named(method: str, path: str) -> str | None:
    """Return an operation's method and its path as it is described; None: there is no such operation."""
    for pattern, operations in _paths():
        if pattern.fullmatch(path):
            described: str = operations["path"]
            return f"{method} {described}" if method.lower() in operations or method == "HEAD" else None
    return None


def _operation(method: str, path: str) -> dict[str, Any] | None:
    for pattern, operations in _paths():
        if pattern.fullmatch(path):
            found: dict[str, Any] | None = operations.get(method.lower())
            return found
    return None


@cache
def _paths() -> tuple[tuple[re.Pattern[str], dict[str, Any]], ...]:
    """Return the paths as patterns, those without parameters first."""

    def found() -> Iterator[tuple[re.Pattern[str], dict[str, Any]]]:
        for path, operations in sorted(_document()["paths"].items(), key=lambda item: item[0].count("{")):
            yield re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), operations | {"path": path}

    return tuple(found())
