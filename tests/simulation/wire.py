"""The network between coordinators and participants, and the record of every request that was handed to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from compensations.delivery import Phase, digest
from saga.ports.invoker import Answer, Invocation, NoAnswer, NotSent, Poll
from tests.simulation.loop import ProcessLoop, Timeline
from tests.simulation.participants import Participants

#: Seconds one way over a network that is not well, at most.
SLOWEST = 9.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as its coordinator sent it."""

    at: float
    saga: str
    step: str
    phase: Phase
    attempt: int
    key: str
    fence: int
    digest: str
    #: Entries the saga's journal had, durably, at that moment.
    seq: int


@dataclass(slots=True)
class Wire:
    """The network of a world."""

    timeline: Timeline
    participants: Participants
    #: How many entries a saga's journal has now.
    length: Callable[[str], int]
    rate: float = 0.0
    #: Seconds one way over a healthy network, at most.
    pace: float = 0.003
    fired: Counter[str] = field(default_factory=Counter)
    sent: list[Sent] = field(default_factory=list)

    def send(self, sender: ProcessLoop, invocation: Invocation, future: asyncio.Future[Answer]) -> None:
        """Take a request on its way."""
        self._note(invocation)
        dice, seconds = self.timeline.dice, self.pace * self.timeline.dice.random()

        def reply(answer: Answer) -> None:
            self.timeline.after(self.pace * dice.random(), sender.receive, future, answer)

        if dice.random() < self.rate:
            if dice.random() < 0.5:
                self.fired["network: refused"] += 1
                reply(NotSent(detail="connection refused"))
                return
            self.fired["network: delayed"] += 1
            seconds = dice.random() * SLOWEST
        self.timeline.send(seconds, self._arrive, sender, invocation, reply)

    def ask(self, sender: ProcessLoop, poll: Poll, future: asyncio.Future[Answer]) -> None:
        """Take a question on its way."""
        wait = self.pace * self.timeline.dice.random()
        self.timeline.after(
            wait, lambda: self.timeline.after(wait, sender.receive, future, self.participants.poll(poll))
        )

    def _arrive(self, sender: ProcessLoop, sent: Invocation, reply: Callable[[Answer], None]) -> None:
        if not sender.alive and self.timeline.dice.random() < 0.5:
            # What a process that died had handed to its socket may have left the machine, or not.
            return
        self.participants.arrive(sent, reply)

    def _note(self, sent: Invocation) -> None:
        path = sent.url.partition("//")[2].partition("/")[2]
        self.sent.append(
            Sent(
                self.timeline.now, sent.saga_id, sent.step, sent.phase, sent.attempt, sent.key, sent.fence,
                digest(sent.method, path, sent.body or b""), self.length(sent.saga_id),
            )
        )  # fmt: skip


class SimulatedInvoker:
    """A :class:`~saga.ports.invoker.Invoker` of one process."""

    def __init__(self, wire: Wire, process: ProcessLoop) -> None:
        self._wire, self._process = wire, process

    async def invoke(self, invocation: Invocation) -> Answer:
        future: asyncio.Future[Answer] = self._process.create_future()
        self._wire.send(self._process, invocation, future)
        timer = self._process.call_later(invocation.timeout, _give_up, future)
        answer = await future
        timer.cancel()
        return answer

    async def poll(self, poll: Poll) -> Answer:
        future: asyncio.Future[Answer] = self._process.create_future()
        self._wire.ask(self._process, poll, future)
        return await future

    async def close(self) -> None:
        """Do nothing."""


def _give_up(future: asyncio.Future[Answer]) -> None:
    if not future.done():
        future.set_result(NoAnswer(detail="no answer in time"))


#: Every name by which a fault of the network is counted.
KINDS = ["network: refused", "network: delayed"]
