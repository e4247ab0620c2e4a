"""One request as it arrives at a participant, and the answer it is given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Phase: TypeAlias = Literal["action", "compensation"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a participant answers, as it goes on the wire and as it is remembered."""

    status: int
    body: bytes = b""
    #: Only headers that belong to the answer itself, such as ``content-type`` and ``location``.
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Return an answer whose body is the value as JSON."""
        content = {"content-type": "application/json"} | dict(headers or {})
        return cls(status, json.dumps(value, separators=(",", ":")).encode(), content)

    @property
    def succeeded(self) -> bool:
        """Whether the request was executed, or accepted to be."""
        return 200 <= self.status < 300


def problem(status: int, kind: str, detail: str, **headers: str) -> Answer:
    """Return a refusal as a problem document (RFC 9457); ``kind`` is its type."""
    content = {"content-type": "application/problem+json"} | headers
    return Answer.json(status, {"type": kind, "status": status, "detail": detail}, content)


class BarrierError(Exception):
    """Something the guard refuses or cannot do."""


class BadDelivery(BarrierError):
    """A request lacks what the guard needs to know; ``answer`` is the 400 that says so."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.answer = problem(400, "not-guarded", detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One request as it arrived; what the guard judges by. Made by :func:`receive`."""

    phase: Phase
    #: The idempotency key, the same in every attempt.
    key: str
    #: The key of the action: ``key`` itself for an action, what is undone for a compensation.
    action_key: str
    #: Hash of method, target and body: equal for every attempt, different for a reused key.
    digest: str
    saga_id: str | None = None
    step: str | None = None
    #: None when the sender has none; then no fence is compared.
    fence: int | None = None
    #: From 1.
    attempt: int = 1


def digest(method: str, target: str, body: bytes) -> str:
    """Return the hash that tells a repeated request from a reused key; the target is path and query as sent."""
    head = f"{method.upper()} {target}\n".encode()
    return hashlib.sha256(head + body).hexdigest()


def receive(phase: Phase, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Delivery:
    """Read what the guard needs from a request to a route that executes this phase.

    Raises:
        BadDelivery: a header is missing, malformed, or says that the request was meant for another route.
    """
    found = {name.lower(): value for name, value in headers.items()}
    if found.get("saga-phase", phase) != phase:
        raise BadDelivery(f"Saga-Phase is {found['saga-phase']!r}, but this route executes the {phase}")
    key = _required(found, "idempotency-key")
    action_key = key if phase == "action" else _required(found, "saga-action-key")
    return Delivery(
        phase=phase,
        key=key,
        action_key=action_key,
        digest=digest(method, target, body),
        saga_id=found.get("saga-id"),
        step=found.get("saga-step"),
        fence=_number(found, "saga-fence"),
        attempt=_number(found, "saga-attempt") or 1,
    )


def _required(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "").strip()
    if not value:
        raise BadDelivery(
            f"the header {name.title()} is missing: without it a repeated request cannot be recognised"
        )
    return value


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    # isdecimal alone lets digits of other scripts through, and int() takes them.
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadDelivery(f"the header {name.title()} must be a whole number, not {text!r}")
    return int(text)
