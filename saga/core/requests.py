"""The request an invocation stands for, made from the definition and what has happened.

A request is a pure function of values that no longer change once the step is reached, so every attempt has the
same method, path, query and body bytes, on whatever coordinator it is made. Its digest is kept with the first
intent; another digest later means that a release renders differently, and parks the saga instead of sending.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from saga.core.state import SagaState, StepState, instance_index, step_name
from saga.core.statuses import StepStatus
from saga.core.times import timestamp
from saga.language.expressions import (
    NothingFound,
    SecretRef,
    evaluate,
    evaluate_header,
    evaluate_path,
    without_members,
)
from saga.language.fields import Phase
from saga.language.model import Call, SagaDefinition

#: Bytes a request body may have.
REQUEST_LIMIT = 1024 * 1024

HeaderParts = tuple[tuple[str, tuple[str | SecretRef, ...]], ...]


class RequestTooLarge(Exception):
    """The request's body is over the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent, but for the base address and the secrets, which are filled in at each sending."""

    #: Service whose base address is used, or None when ``url`` stands.
    service: str | None
    #: Absolute address from the definition, or None.
    url: str | None
    method: str
    #: Path and query, percent-encoded; "" for none.
    target: str
    headers: HeaderParts
    body: bytes | None
    digest: str


def key(state: SagaState, unit: str) -> str:
    """Return ``<saga id>:<step>``, the idempotency key without its suffix."""
    return f"{state.id}:{unit}"


def scope(definition: SagaDefinition, state: SagaState, unit: str | None = None) -> dict[str, Any]:
    """Return what references can see, for one step or (``None``) for the saga as a whole."""
    roots: dict[str, Any] = {
        "input": state.input,
        "steps": {name: _visible(step) for name, step in state.steps.items() if "[" not in name},
        "saga": {"id": state.id, "started_at": timestamp(state.started_at)},
    }
    if unit is not None:
        roots["key"] = key(state, unit)
        index = instance_index(unit)
        if index is not None:
            items = evaluate(definition.step(step_name(unit)).for_each, roots)
            roots |= {"item": items[index], "index": index}
    return roots


def _visible(step: StepState) -> dict[str, Any]:
    """Return what a reference to the step sees: members that were not found are not there."""
    if step.status is not StepStatus.SUCCEEDED or step.oversized or "" in step.missing:
        return {}
    if not step.missing:
        return {"output": step.output}
    return {"output": without_members(step.output, step.missing)}


def render(definition: SagaDefinition, state: SagaState, unit: str, phase: Phase) -> Request:
    """Return the request of that step's (or instance's) action or compensation, which must be a call.

    Raises :class:`~saga.language.expressions.NothingFound` when a reference finds nothing and
    :class:`RequestTooLarge` when the body is over :data:`REQUEST_LIMIT`.
    """
    call = call_of(definition, unit, phase)
    roots = scope(definition, state, unit)
    target = _target(call, roots)
    body = to_json(evaluate(call.body, roots)) if call.has_body else None
    if body is not None and len(body) > REQUEST_LIMIT:
        raise RequestTooLarge
    headers = tuple((name, evaluate_header(value, roots)) for name, value in call.headers.items())
    return Request(
        service=call.service,
        url=call.url,
        method=call.method,
        target=target,
        headers=headers,
        body=body,
        digest=_digest(call.method, target, body),
    )


def call_of(definition: SagaDefinition, unit: str, phase: Phase) -> Call:
    """Return the call of a step or instance in that phase; it must have one."""
    step = definition.step(step_name(unit))
    call = step.action if phase == "action" else step.compensation
    if not isinstance(call, Call):
        raise TypeError(f"{unit} has no call as its {phase}")
    return call


def _target(call: Call, roots: Mapping[str, Any]) -> str:
    path = evaluate_path(call.path, roots) if call.path else ""
    pairs = [(name, evaluate(value, roots)) for name, value in call.query.items()]
    if not pairs:
        return path
    return (
        path
        + "?"
        + "&".join(f"{quote(name, safe='')}={quote(_text(value), safe='')}" for name, value in pairs)
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)) or value is None:
        raise NothingFound("a query parameter that is not text, a number or a boolean")
    return to_json(value).decode()


def _digest(method: str, target: str, body: bytes | None) -> str:
    digest = blake2b(digest_size=8)
    for part in (method.encode(), target.encode(), b"-" if body is None else b"+" + body):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.hexdigest()


def address(request: Request, service: str | None) -> str | None:
    """Return the absolute address, the path put behind the service's own; None when the service has none."""
    base = request.url if request.url is not None else service
    if base is None:
        return None
    return base.rstrip("/") + request.target if request.target else base
