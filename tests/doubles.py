"""Stand-ins for the outside: small, and named for what they do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from pydantic_core import to_json

from saga.catalogue import Catalogue
from saga.definition import parse_definition
from saga.intake import Intake
from saga.language.model import SagaDefinition
from saga.membership import Membership
from saga.ports.invoker import Answer, Answered, Invocation, Poll
from saga.ports.store import Store
from saga.ports.telemetry import NoTelemetry
from saga.post import Post
from saga.sender import Sender, Settings
from saga.starts import Start, identify
from saga.stores.memory import MemoryStore
from saga.worker import Limits, Worker


class VirtualClock:
    """A clock that stands still until it is moved; waiting tasks are woken in the order of their times."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return epoch seconds."""
        return self._now

    def monotonic(self) -> float:
        """Return the same seconds: this clock never goes back."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was moved so far."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, future))
        await future

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Return whether the event came before the clock was moved so far."""
        waiting = asyncio.ensure_future(event.wait())
        tasks = {waiting} if seconds is None else {waiting, asyncio.ensure_future(self.sleep(seconds))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        return event.is_set()

    async def advance(self, seconds: float) -> None:
        """Move the clock, stopping at every time somebody waits for, and let everything run that can."""
        end = self._now + seconds
        await self.settle()
        while True:
            self._sleepers = [(at, future) for at, future in self._sleepers if not future.done()]
            due = min((at for at, _ in self._sleepers if at <= end), default=None)
            if due is None:
                break
            self._now = max(self._now, due)
            for at, future in self._sleepers:
                if at <= self._now and not future.done():
                    future.set_result(None)
            await self.settle()
        self._now = end
        await self.settle()

    async def settle(self) -> None:
        """Let everything run that needs no time to pass."""
        await settle_down()


async def settle_down() -> None:
    """Let every task run until nothing is ready any more."""
    loop = asyncio.get_running_loop()
    for _ in range(200):
        await asyncio.sleep(0)
        if not loop._ready:  # type: ignore[attr-defined]
            return


Script = Callable[[Invocation], Answer | None]


def said(status: int, value: Any = None, **headers: str) -> Answered:
    """Return an answer with that status and JSON body."""
    body = b"" if value is None else to_json(value)
    return Answered(
        status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}, body=body
    )


class ScriptedInvoker:
    """Answers by a script; an invocation it has no answer for stays open until it is released."""

    def __init__(self, script: Script = lambda _: said(200, {})) -> None:
        self.script = script
        self.sent: list[Invocation] = []
        self.polled: list[Poll] = []
        self.polls: list[Answer] = []
        self.held: dict[str, asyncio.Future[Answer]] = {}

    async def invoke(self, invocation: Invocation) -> Answer:
        """Answer, or hold."""
        self.sent.append(invocation)
        answer = self.script(invocation)
        if answer is not None:
            return answer
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.held[invocation.key] = future
        return await future

    async def poll(self, poll: Poll) -> Answer:
        """Answer with the next of ``polls``, or 202."""
        self.polled.append(poll)
        return self.polls.pop(0) if self.polls else said(202)

    async def close(self) -> None:
        """Do nothing."""

    def calls(self) -> list[str]:
        """Return what was sent, as ``step:phase``, in order."""
        return [f"{sent.step}:{sent.phase}" for sent in self.sent]


class Coordinator:
    """A whole coordinator but for its HTTP: a worker, an intake and a post on one store."""

    def __init__(
        self,
        invoker: ScriptedInvoker,
        *,
        store: Store | None = None,
        clock: VirtualClock | None = None,
        node: str = "node-1",
        limits: Limits | None = None,
    ) -> None:
        self.store: Store = store if store is not None else MemoryStore()
        self.clock = clock if clock is not None else VirtualClock()
        self.invoker = invoker
        self.catalogue = Catalogue(self.store, self.clock, frozenset())
        settings = Settings(
            services={}, secrets={}, callback_secret=b"k" * 32, public_url="http://127.0.0.1:7242"
        )
        self.membership = Membership(self.store, self.clock, node=node, ttl=5.0)
        self.sender = Sender(invoker, self.clock, settings, trusted=self.membership.trusted)
        self.worker = Worker(
            self.store, self.catalogue, self.sender, self.clock, NoTelemetry(),
            membership=self.membership, limits=limits or Limits(),
        )  # fmt: skip
        self.intake = Intake(self.store, self.worker, self.clock, NoTelemetry())
        self.post = Post(self.store, self.catalogue, self.worker, self.clock)

    async def __aenter__(self) -> Self:
        await self.store.open()
        await self.worker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        stopping = asyncio.ensure_future(self.worker.stop(grace=1.0))
        await self.clock.advance(2.0)
        await stopping

    async def start(self, document: Any, **start: Any) -> str:
        """Store the definition, start a saga of it and let it run as far as it gets."""
        definition: SagaDefinition = parse_definition(document).definition
        put = await self.catalogue.put(definition)
        identity = identify(start.pop("id", None), start.pop("start_key", None), start.pop("sent", b""))
        accepted = await self.intake.start(Start(definition=put.version, identity=identity, **start))
        await settle_down()
        return accepted.saga_id

    async def state(self, saga_id: str) -> Any:
        """Return the saga's state by its journal."""
        loaded = await self.post.load(saga_id)
        assert loaded is not None
        return loaded.state
