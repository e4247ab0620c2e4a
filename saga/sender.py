"""From an intent that is durable to an outcome: one request on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from saga.core.decider import Invoke
from saga.core.outcomes import NotExecuted, Outcome, classify, poll_outcome
from saga.core.requests import HeaderParts, Request, address, call_of, render
from saga.core.state import SagaState
from saga.core.tokens import Addressed, make_token
from saga.core.tracing import traceparent_for
from saga.language.expressions import SecretRef
from saga.language.fields import Phase
from saga.language.model import SagaDefinition
from saga.ports.clock import Clock
from saga.ports.invoker import Invocation, Invoker, Poll


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the server's settings add to a definition when a request is sent."""

    #: Base addresses that override a definition's.
    services: Mapping[str, str]
    secrets: Mapping[str, str]
    #: Key of the callback tokens.
    callback_secret: bytes
    #: Address under which participants reach this coordinator, without a path.
    public_url: str


class _SecretMissing(Exception):
    """A header needs a secret that is not set."""


class Sender:
    """Sends what an intent stands for, and says what came of it."""

    def __init__(
        self,
        invoker: Invoker,
        clock: Clock,
        settings: Settings,
        *,
        trusted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._invoker, self._clock, self._settings = invoker, clock, settings
        #: Whether this node may still believe that it owns what it owns.
        self._trusted = trusted

    async def send(
        self, definition: SagaDefinition, state: SagaState, invoke: Invoke, fence: int
    ) -> Outcome | None:
        """Send the attempt and return its outcome; None when this node may no longer send.

        ``state`` is the state with the intent in it.
        """
        intent, request = invoke.intent, invoke.request
        if request is None:
            return NotExecuted(detail=f"{intent.via} steps are not executed by this release")
        url = address(request, self._base(definition, request.service))
        if url is None:
            return NotExecuted(detail=f"the service {request.service} has no address")
        try:
            invocation = self._invocation(state, invoke, request, url, fence)
        except _SecretMissing as missing:
            return NotExecuted(detail=f"the secret {missing} is not set")
        if not self._trusted():
            return None
        call = call_of(definition, intent.step, intent.phase)
        doubt = state.step(intent.step).invocation(intent.phase).doubt
        answer = await self._invoker.invoke(invocation)
        return classify(call, intent.phase, answer, url=url, doubt=doubt, now=self._clock.now())

    async def poll(
        self, definition: SagaDefinition, state: SagaState, step: str, phase: Phase, location: str
    ) -> Outcome | None:
        """Ask for the outcome of a pending invocation; None: ask again later, as when this node may not send."""
        if not self._trusted():
            return None
        call = call_of(definition, step, phase)
        try:
            request = render(definition, state, step, phase)
            headers = self._filled(request.headers)
        except _SecretMissing:
            return None
        poll = Poll(url=location, headers=headers, timeout=call.timeout, service=request.service)
        answer = await self._invoker.poll(poll)
        return poll_outcome(call, phase, answer)

    def _base(self, definition: SagaDefinition, name: str | None) -> str | None:
        if name is None:
            return None
        own = definition.services.get(name)
        return self._settings.services.get(name, None if own is None else own.url)

    def _invocation(
        self, state: SagaState, invoke: Invoke, request: Request, url: str, fence: int
    ) -> Invocation:
        intent = invoke.intent
        unit, phase = intent.step, intent.phase
        key = f"{state.id}:{unit}"
        token = make_token(
            self._settings.callback_secret, Addressed(saga_id=state.id, step=unit, phase=phase)
        )
        trace = state.trace
        return Invocation(
            saga_id=state.id,
            definition=state.definition,
            step=unit,
            phase=phase,
            attempt=intent.attempt,
            key=f"{key}:{phase}",
            action_key=f"{key}:action" if phase == "compensation" else None,
            method=request.method,
            url=url,
            headers=self._filled(request.headers),
            body=request.body,
            timeout=intent.timeout,
            deadline=self._clock.now() + intent.timeout,
            fence=fence,
            callback=f"{self._settings.public_url}/v1/callbacks/{token}",
            traceparent=None
            if trace is None
            else traceparent_for(trace, state.id, unit, phase, intent.attempt),
            tracestate=None if trace is None else trace.tracestate,
            service=request.service,
        )

    def _filled(self, headers: HeaderParts) -> dict[str, str]:
        return {name: "".join(self._text(part) for part in parts) for name, parts in headers}

    def _text(self, part: str | SecretRef) -> str:
        if isinstance(part, str):
            return part
        secret = self._settings.secrets.get(part.name)
        if secret is None:
            raise _SecretMissing(part.name)
        return secret
