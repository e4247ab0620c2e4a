"""One coordinator: a process with a loop and clocks of its own, around the real parts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from saga.catalogue import Catalogue
from saga.changes import Seen
from saga.core.messages import Callback
from saga.core.tokens import read_token
from saga.definition import SagaDefinition
from saga.errors import Busy, Stopping, StoreError
from saga.intake import Intake
from saga.membership import Membership
from saga.ports.stored import Message
from saga.ports.telemetry import NoTelemetry
from saga.post import InboxFull, Post
from saga.sender import Sender, Settings
from saga.starts import Start
from saga.worker import Limits, Worker
from tests.simulation.clock import SimulatedClock
from tests.simulation.loop import ProcessLoop
from tests.simulation.store import RemoteStore
from tests.simulation.wire import SimulatedInvoker

SECRET = b"k" * 32
URL = "http://coordinator"
SETTINGS = Settings(services={}, secrets={}, callback_secret=SECRET, public_url=URL)

#: What an answer is when the coordinator could give none for now.
UNAVAILABLE = "unavailable"


@dataclass(slots=True, kw_only=True)
class Making:
    """What a coordinator is made of."""

    loop: ProcessLoop
    store: RemoteStore
    invoker: SimulatedInvoker
    node: str
    ttl: float
    skew: float
    limits: Limits
    #: Definitions parsed before: fixed for ever, so that a new process need not read them again.
    parsed: dict[tuple[str, int], SagaDefinition]
    tell: Callable[[Seen], None]


class Process:
    """A coordinator as the world sees it."""

    def __init__(self, made: Making) -> None:
        self.loop, self.node = made.loop, made.node
        self.clock = SimulatedClock(made.loop, made.skew)
        #: It takes requests.
        self.ready = False
        self.stopping = False
        store, telemetry = made.store, NoTelemetry()
        catalogue = Catalogue(store, self.clock, frozenset())
        catalogue._parsed = made.parsed
        self._membership = Membership(store, self.clock, node=made.node, ttl=made.ttl)
        sender = Sender(made.invoker, self.clock, SETTINGS, trusted=self._membership.trusted)
        self.worker = Worker(
            store, catalogue, sender, self.clock, telemetry,
            limits=made.limits, membership=self._membership,
        )  # fmt: skip
        self._told = made.tell
        self._catalogue = catalogue
        self._intake = Intake(store, self.worker, self.clock, telemetry)
        self._post = Post(store, catalogue, self.worker, self.clock)
        self._listen()

    def _listen(self) -> None:
        """Hear of every state that is made durable here, besides those who wait for it."""
        tell = self.worker.changes.tell

        def both(seen: Seen) -> None:
            self._told(seen)
            tell(seen)

        self.worker.engine._tell = both

    def begin(self) -> None:
        """Start it; a process that cannot start ends."""
        self.loop.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await self.worker.start()
        except StoreError:
            self.loop.die()
            return
        self.ready = True

    def leave(self) -> None:
        """Stop it in good order."""
        self.stopping = True
        self.loop.create_task(self._leave())

    async def _leave(self) -> None:
        self.worker.refuse()
        await self._intake.close(2.0)
        await self.worker.stop(2.0)
        self.loop.die()

    def serve(self, request: Coroutine[Any, Any, Any], answer: Callable[[Any], None]) -> None:
        """Serve a request that has arrived; the answer leaves when it is ready, if there is anybody to give it."""
        task = self.loop.create_task(request)
        task.add_done_callback(lambda done: None if done.cancelled() else answer(done.result()))

    # ----------------------------------------------------------------- what can be asked of it

    async def start(self, definition: str, **asked: Any) -> str | None:
        """Start a saga; return its id when that is acknowledged."""
        try:
            version = await self._catalogue.latest(definition)
            assert version is not None
            accepted = await self._intake.start(Start(definition=version, **asked))
        except (StoreError, Busy, Stopping):
            return None
        assert not accepted.reused, "a start that was repeated was taken for another"
        return accepted.saga_id

    async def message(self, saga_id: str, message: Message) -> Any:
        """Take a command or a signal; return a command's verdict, as the kind of its entry."""
        try:
            if not await self._post.deliver(saga_id, message):
                return "unknown"
            if message.kind != "command":
                return "recorded"
            verdict = await self._post.verdict(saga_id, message.id)
        except (StoreError, InboxFull):
            return UNAVAILABLE
        return "recorded" if verdict is None else verdict.entry

    async def callback(self, url: str, body: dict[str, Any]) -> str:
        """Take a callback; return what its sender is told."""
        addressed = read_token(SECRET, url.rpartition("/")[2])
        assert addressed is not None
        said = Callback(step=addressed.step, phase=addressed.phase, **body)
        try:
            return await self._post.callback(addressed, said, by="callback")
        except (StoreError, InboxFull):
            return UNAVAILABLE
