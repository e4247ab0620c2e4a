"""Participants as a test plays them: every request stays on the wire until it is answered, or its time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from saga.core.conclusions import OUTPUT_LIMIT
from saga.ports.invoker import Answer, Answered, Invocation, NoAnswer, NotSent, Poll
from tests.doubles import said

#: What a participant may answer, by the word a story uses for it.
ANSWERS: Mapping[str, Callable[[Invocation], Answer]] = {
    "yes": lambda sent: said(200, {"of": sent.step}),
    "no": lambda _: said(400, {"error": "no"}),
    "verdict": lambda _: said(402),
    "at work": lambda _: said(409),
    "500": lambda _: said(500),
    "lost": lambda _: NoAnswer(detail="the connection was reset"),
    "unsent": lambda _: NotSent(detail="connection refused"),
    "202": lambda _: said(202),
    "202+": lambda sent: said(202, location="/jobs/" + sent.step),
    "425": lambda _: said(425),
    "429": lambda _: said(429, retry_after="1"),
    "cut": lambda _: Answered(status=200, headers={}, body=b'{"of"', fault="cut"),
    "too much": lambda _: Answered(status=200, headers={}, body=to_json("x" * (OUTPUT_LIMIT + 1))),
}

#: What a participant may answer to a poll.
POLLED: Mapping[str, Answer] = {
    "yes": said(200, {"of": "poll"}),
    "no": said(400),
    "not yet": said(202),
    "500": said(500),
    "gone": said(404),
}


@dataclass(eq=False)
class Held:
    """A request on the wire."""

    sent: Invocation
    answer: asyncio.Future[Answer]


@dataclass
class Seen:
    """What participants have seen, whichever coordinator sent it."""

    #: Saga, step, phase and attempt of every request.
    requests: list[tuple[str, str, str, int]] = field(default_factory=list)
    #: What was sent first under each key.
    first: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    #: The last fence of each saga, and the coordinator that sent it.
    fences: dict[str, tuple[int, object]] = field(default_factory=dict)
    #: Callback addresses by saga, step and phase.
    callbacks: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def take(self, sent: Invocation, sender: object) -> None:
        """Note a request, and assert what holds of all under one key."""
        assert sent.key == f"{sent.saga_id}:{sent.step}:{sent.phase}", f"7: another key: {sent.key}"
        self.requests.append((sent.saga_id, sent.step, sent.phase, sent.attempt))
        said_so = (sent.method, sent.url, sent.body, tuple(sorted(sent.headers.items())))
        assert self.first.setdefault(sent.key, said_so) == said_so, f"7: {sent.key} was sent with other bytes"
        fence, last = self.fences.get(sent.saga_id, (0, sender))
        assert sent.fence >= fence, f"7: the fence of {sent.saga_id} fell"
        assert last is sender or sent.fence > fence, f"7: {sent.saga_id} was taken over under the same fence"
        self.fences[sent.saga_id] = (sent.fence, sender)
        if sent.callback is not None:
            self.callbacks[sent.saga_id, sent.step, sent.phase] = sent.callback


class Wire:
    """The requests of one coordinator; satisfies :class:`~saga.ports.invoker.Invoker`."""

    def __init__(self, seen: Seen, last_entries: Callable[[str], list[Any]]) -> None:
        self.seen = seen
        #: Returns the last entries of a saga that are durable.
        self._last_entries = last_entries
        #: What was wrong with a request when it was sent: to raise it there would only be one more answer.
        self.faults: list[str] = []
        self.held: list[Held] = []
        #: What the next polls are answered; 202 afterwards.
        self.polls: list[Answer] = []

    async def invoke(self, invocation: Invocation) -> Answer:
        """Hold the request until somebody answers it."""
        try:
            self.seen.take(invocation, self)
            self._check_durable(invocation)
        except AssertionError as error:
            self.faults.append(str(error))
        held = Held(invocation, asyncio.get_running_loop().create_future())
        self.held.append(held)
        try:
            return await held.answer
        finally:
            self.held.remove(held)

    def _check_durable(self, sent: Invocation) -> None:
        """Assert that the record that made the call due was durable before the call."""
        wanted = {"kind": "invoked", "step": sent.step, "phase": sent.phase, "attempt": sent.attempt}
        last = self._last_entries(sent.saga_id)
        assert any(wanted.items() <= entry.items() for entry in last), f"2: {sent.key} has no durable intent"

    async def poll(self, poll: Poll) -> Answer:
        """Answer with the next of ``polls``."""
        return self.polls.pop(0) if self.polls else said(202)

    async def close(self) -> None:
        """Answer nothing any more."""

    def expire(self, now: float) -> None:
        """End what nobody waits for any more."""
        for held in self.held:
            if held.sent.deadline <= now and not held.answer.done():
                held.answer.set_result(NoAnswer(detail="no answer in time"))

    @property
    def next_deadline(self) -> float | None:
        """Return when the next request is over by time, epoch seconds."""
        return min((held.sent.deadline for held in self.held), default=None)
