"""The port to participants: a request, what can come of it, and who sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from saga.language.fields import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One request that is owed, ready to be sent: what the intent in the journal stands for."""

    saga_id: str
    definition: str
    step: str
    phase: Phase
    #: From 1; the number of this try.
    attempt: int
    #: The idempotency key, the same in every attempt: ``<saga id>:<step>:<phase>``.
    key: str
    #: On a compensation the key of the action it undoes, else None.
    action_key: str | None
    method: str
    #: Absolute address with its path and query, already percent-encoded.
    url: str
    #: The definition's own headers, secrets filled in; names as written.
    headers: Mapping[str, str]
    #: Body bytes, or None to send none.
    body: bytes | None
    #: Seconds until nobody waits for the answer any more.
    timeout: float
    #: When that is, epoch seconds: the ``Saga-Deadline``.
    deadline: float
    #: The ``Saga-Fence``.
    fence: int
    #: The ``Saga-Callback`` address, or None when there is none to offer.
    callback: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    #: The service it is of, None when the definition names an address.
    service: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One question about a pending invocation: a GET of the address its 202 named."""

    url: str
    headers: Mapping[str, str]
    timeout: float
    #: The service it is of, None when the definition names an address.
    service: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The participant answered; whether the body could be read is said by ``fault``."""

    status: int
    #: Header names in lower case; of a repeated header the values are joined with ", ".
    headers: Mapping[str, str]
    #: The inflated body; what was read of it when there is a fault.
    body: bytes
    #: None when the body is complete, else why it is not: "cut", "too-large" or "slow".
    fault: Literal["cut", "too-large", "slow"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Certainly not executed: the request never reached the participant."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """The request may have been executed: it was sent, or may have been, and no answer came."""

    detail: str


Answer: TypeAlias = Answered | NotSent | NoAnswer


class Invoker(Protocol):
    """Sends requests to participants; one call of a method is one request on the wire."""

    async def invoke(self, invocation: Invocation) -> Answer:
        """Send exactly one request and return what came of it; raises nothing but cancellation."""

    async def poll(self, poll: Poll) -> Answer:
        """Ask once about a pending invocation."""

    async def close(self) -> None:
        """Close the connections; calls in flight end as :class:`NoAnswer`."""
