"""The store that all coordinators of a world share, reached over a wire that fails.

Inside is a :class:`~saga.stores.memory.MemoryStore`; every request is executed at one instant, some time after it
was sent, and is answered some time after that. What can go wrong with a request is the table :data:`FAULTS`:
another row is another fault.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from saga.errors import LeaseLost, MessagesWaiting, StoreUnavailable, StoreUnknown
from saga.ports.stored import Append, Message
from saga.stores.memory import MemoryStore
from tests.doubles_store import READS
from tests.simulation.clock import BEGIN
from tests.simulation.loop import ProcessLoop, Timeline

#: Seconds a slow one takes, at most.
SLOWEST = 6.0

_MOVES = frozenset({"append", "claim", "start", "take"})


@dataclass(slots=True, eq=False)
class Request:
    """One call of the store's port, on its way."""

    sender: ProcessLoop
    verb: str
    args: tuple[Any, ...]
    named: dict[str, Any]
    future: asyncio.Future[Any]

    @property
    def lost(self) -> Exception:
        """What the caller is told whose answer is lost."""
        what = f"{self.verb} was made to lose its answer"
        return StoreUnavailable(what) if self.verb in READS else StoreUnknown(what)


@dataclass(slots=True)
class SimulatedStore:
    """The one store of a world."""

    timeline: Timeline
    #: Share of requests that meet a fault, 0 to 1.
    rate: float = 0.0
    #: Seconds a healthy request takes one way, at most.
    pace: float = 0.002
    #: The store cannot be reached at all.
    away: bool = False
    fired: Counter[str] = field(default_factory=Counter)
    kept: MemoryStore = field(default_factory=lambda: MemoryStore(shared=True))
    #: Is told who has just moved a saga.
    moved: Callable[[ProcessLoop], None] = lambda _: None
    #: What the caller of each write was told that changed nothing.
    conflicts: Counter[str] = field(default_factory=Counter)
    #: Every write that was executed, with when and what came of it; None: not kept.
    trace: list[tuple[float, str]] | None = None

    def seen_by(self, process: ProcessLoop) -> RemoteStore:
        """Return the store as that process sees it."""
        return RemoteStore(self, process)

    def asked(
        self, process: ProcessLoop, verb: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> asyncio.Future[Any]:
        """Take a request on its way; return what its answer will settle."""
        dice = self.timeline.dice
        request = Request(process, verb, args, named, process.create_future())
        if self.away:
            self._fire("away")
            self.answer(request, StoreUnavailable("the store is away"))
        elif self.rate and dice.random() < self.rate:
            name = dice.choices(_NAMES, _WEIGHTS)[0]
            if FAULTS[name][1](self, request):
                self._fire(name)
        else:
            self.send(request)
        return request.future

    def send(self, request: Request, seconds: float = 0.0) -> None:
        """Let the request reach the store in so many seconds, and be answered."""
        self._send(request, seconds, answered=True)

    def send_unanswered(self, request: Request, seconds: float = 0.0) -> None:
        """Let the request reach the store; nobody hears what came of it."""
        self._send(request, seconds, answered=False)

    def _send(self, request: Request, seconds: float, *, answered: bool) -> None:
        wire = self.pace * self.timeline.dice.random()
        if seconds:
            self.timeline.send(seconds + wire, self._arrive, request, answered)
        else:
            self.timeline.after(wire, self._arrive, request, answered)

    def answer(self, request: Request, answer: object, seconds: float = 0.0) -> None:
        """Let an answer reach the sender in so many seconds."""
        seconds += self.pace * self.timeline.dice.random()
        self.timeline.after(seconds, request.sender.receive, request.future, answer)

    def execute(self, request: Request) -> object:
        """Execute the request now, and return its result or its error."""
        result = self.do(getattr(self.kept, request.verb)(*request.args, **request.named))
        if self.trace is not None and request.verb not in READS:
            self.trace.append((self.timeline.now, f"{request.sender.name} {_told(request, result)}"))
        return result

    def do(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Run a call of the store in memory, which never waits."""
        try:
            call.send(None)
        except StopIteration as done:
            return done.value
        except (LeaseLost, MessagesWaiting) as error:
            self.conflicts[type(error).__name__] += 1
            return error
        raise AssertionError("the store in memory has waited")

    def _arrive(self, request: Request, answered: bool) -> None:  # noqa: FBT001 - by the timeline
        if not request.sender.alive and self.timeline.dice.random() < 0.5:
            # What a process that died had handed to its socket may have left the machine, or not.
            return
        result = self.execute(request)
        if request.verb in _MOVES:
            # Whatever befalls the sender now, it has not yet heard.
            self.moved(request.sender)
        if answered:
            self.answer(request, result)

    def _fire(self, name: str) -> None:
        self.fired[f"store: {name}"] += 1

    def inject(self, saga_id: str, about: str | None) -> None:
        """Put a message that means nothing into the saga's inbox: whoever is writing has to fold first."""
        count = sum(self.fired.values())
        body = b'{"name":"nothing","payload":null}'
        at = round(BEGIN + self.timeline.now, 3)
        message = Message(id=f"noise-{count}", kind="signal", body=body, by="noise", at=at, about=about)
        self.do(self.kept.deliver(saga_id, message))


class RemoteStore:
    """A :class:`~saga.ports.store.Store` as one process sees it: every verb is a request over the wire."""

    shared = True

    def __init__(self, store: SimulatedStore, process: ProcessLoop) -> None:
        self._store, self._process = store, process
        self.counters = store.kept.counters

    def __getattr__(self, verb: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if verb.startswith("_"):
            raise AttributeError(verb)

        async def call(*args: Any, **named: Any) -> Any:
            return await self._store.asked(self._process, verb, args, named)

        setattr(self, verb, call)
        return call

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def backlog(self) -> float:
        return 0.0


def _told(request: Request, result: object) -> str:
    told = []
    for arg in request.args:
        if isinstance(arg, Append):
            entries = b" ".join(arg.entries).decode()
            told.append(
                f"{'release ' * arg.release}folded={list(arg.folded)} settles={list(arg.settles)} {entries}"
            )
        else:
            told.append(repr(arg))
    return f"{request.verb}({', '.join(told)}) -> {str(result)[:80]}"


# --------------------------------------------------------------------------- what can go wrong with a request


def _before(store: SimulatedStore, request: Request) -> bool:
    """Nothing is done, and it says so."""
    store.answer(request, StoreUnavailable(f"{request.verb} was made to fail before it was done"))
    return True


def _after(store: SimulatedStore, request: Request) -> bool:
    """It is done, and the answer is lost."""
    store.send_unanswered(request)
    store.answer(request, request.lost, store.pace)
    return True


def _slow(store: SimulatedStore, request: Request) -> bool:
    """It takes long to reach the store."""
    store.send(request, store.timeline.dice.random() * SLOWEST)
    return True


def _late(store: SimulatedStore, request: Request) -> bool:
    """It is done at once and takes long to answer."""
    seconds = store.timeline.dice.random() * SLOWEST
    store.timeline.after(store.pace, lambda: store.answer(request, store.execute(request), seconds))
    return True


def _limbo(store: SimulatedStore, request: Request) -> bool:
    """The caller is told that nobody knows, and long after that it is done all the same."""
    store.send_unanswered(request, store.timeline.dice.random() * SLOWEST)
    store.answer(request, request.lost)
    return True


def _conflict(store: SimulatedStore, request: Request) -> bool:
    """Something comes in between that the writer has to fold first."""
    batch = request.args[1] if request.verb == "append" else None
    fits = isinstance(batch, Append) and (batch.release or batch.settles)
    if fits:
        store.inject(request.args[0].saga_id, next(iter(batch.settles), None))
    store.send(request)
    return fits


#: Weight and fault by name; a fault returns whether it has really happened.
FAULTS: Mapping[str, tuple[float, Callable[[SimulatedStore, Request], bool]]] = {
    "fails before it is done": (3, _before),
    "fails after it is done": (3, _after),
    "slow": (1, _slow),
    "answers late": (1, _late),
    "done long after it failed": (1, _limbo),
    "conflict": (6, _conflict),
}
_NAMES, _WEIGHTS = list(FAULTS), [weight for weight, _ in FAULTS.values()]

#: Every name by which a fault of the store is counted.
KINDS = [f"store: {name}" for name in (*FAULTS, "away")]
