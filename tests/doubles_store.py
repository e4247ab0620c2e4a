"""A store that fails on purpose, around any other store.

A fault is one of four: nothing was done and it says so; it was done and the answer is lost; it is slow
before; it is slow after. Which call meets which fault is a plan: :func:`scripted` for a test that tells one
story, :func:`seeded` for a simulation. ``fired`` counts the faults that really happened, so that a test can
assert that it tested something.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import Enum
from typing import TypeVar

from saga.errors import StoreUnavailable, StoreUnknown
from saga.ports.store import Store
from saga.ports.stored import (
    Append,
    Claimed,
    Counters,
    Delivered,
    Existing,
    Lease,
    Listed,
    Message,
    NewSaga,
    NodeRow,
    Query,
    Record,
    StoredDefinition,
)

T = TypeVar("T")


class Fault(Enum):
    """What goes wrong with one call."""

    #: Nothing is done: StoreUnavailable.
    BEFORE = "before"
    #: It is done and the answer is lost: StoreUnknown from a write, StoreUnavailable from a read.
    AFTER = "after"
    #: It takes long to reach the store.
    SLOW = "slow"
    #: It is done at once and takes long to answer.
    LATE = "late"


#: Given the name of the method that is called: the fault this call meets, or None.
Plan = Callable[[str], Fault | None]

READS = frozenset(
    {
        "definition",
        "definitions",
        "versions",
        "next_due",
        "newer",
        "messages",
        "inboxes",
        "owned",
        "load",
        "list",
        "nodes",
    }
)
WRITES = frozenset(
    {
        "ping",
        "secret",
        "put_definition",
        "delete_definition",
        "start",
        "claim",
        "take",
        "append",
        "deliver",
        "join",
        "beat",
        "bury",
        "evaluate",
        "release_dead",
        "leave",
    }
)


def scripted(script: Mapping[str, Sequence[Fault | None]]) -> Plan:
    """Return a plan that gives each method its faults in order, and none afterwards."""
    left = {method: list(faults) for method, faults in script.items()}
    return lambda method: left[method].pop(0) if left.get(method) else None


def seeded(
    seed: int,
    rate: float,
    methods: Collection[str] = READS | WRITES,
    faults: Sequence[Fault] = tuple(Fault),
) -> Plan:
    """Return a plan that fails the share ``rate`` (0 to 1) of the calls of these methods, the same each time."""
    dice = random.Random(seed)
    return lambda method: dice.choice(faults) if method in methods and dice.random() < rate else None


def never(_method: str) -> Fault | None:
    """Plan no fault."""
    return None


class FaultyStore:
    """A :class:`~saga.ports.store.Store` that does what the one inside it does, unless the plan says otherwise.

    ``plan`` may be changed at any time. ``sleep`` is how a slow call waits, for ``delay`` seconds; a test with
    virtual time hands in its own.
    """

    def __init__(
        self,
        inner: Store,
        plan: Plan = never,
        *,
        delay: float = 0.01,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.inner = inner
        self.plan = plan
        self.fired: Counter[tuple[str, Fault]] = Counter()
        self.shared = inner.shared
        self.counters: Counters = inner.counters
        self._delay = delay
        self._sleep = sleep

    async def _call(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        fault = self.plan(method)
        if fault is not None:
            self.fired[method, fault] += 1
        if fault is Fault.BEFORE:
            raise StoreUnavailable(f"{method} was made to fail before it was done")
        if fault is Fault.SLOW:
            await self._sleep(self._delay)
        result = await call()
        if fault is Fault.LATE:
            await self._sleep(self._delay)
        if fault is Fault.AFTER:
            lost = StoreUnknown if method in WRITES else StoreUnavailable
            raise lost(f"{method} was made to lose its answer")
        return result

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    def backlog(self) -> float:
        return self.inner.backlog()

    async def failed(self) -> str:
        return await self.inner.failed()

    async def ping(self) -> None:
        await self._call("ping", self.inner.ping)

    async def secret(self, name: str, fresh: bytes) -> bytes:
        return await self._call("secret", lambda: self.inner.secret(name, fresh))

    async def put_definition(self, name: str, document: bytes, at: float) -> tuple[StoredDefinition, bool]:
        return await self._call("put_definition", lambda: self.inner.put_definition(name, document, at))

    async def delete_definition(self, name: str) -> bool:
        return await self._call("delete_definition", lambda: self.inner.delete_definition(name))

    async def definition(self, name: str, version: int | None = None) -> StoredDefinition | None:
        return await self._call("definition", lambda: self.inner.definition(name, version))

    async def definitions(self) -> Sequence[StoredDefinition]:
        return await self._call("definitions", self.inner.definitions)

    async def versions(self, name: str) -> Sequence[StoredDefinition]:
        return await self._call("versions", lambda: self.inner.versions(name))

    async def start(self, saga: NewSaga) -> Existing | None:
        return await self._call("start", lambda: self.inner.start(saga))

    async def claim(self, node: str, limit: int, now: float, newest: int) -> Sequence[Claimed]:
        return await self._call("claim", lambda: self.inner.claim(node, limit, now, newest))

    async def take(self, saga_id: str, node: str, newest: int) -> Claimed | None:
        return await self._call("take", lambda: self.inner.take(saga_id, node, newest))

    async def append(self, lease: Lease, batch: Append) -> Lease:
        return await self._call("append", lambda: self.inner.append(lease, batch))

    async def next_due(self, newest: int) -> float | None:
        return await self._call("next_due", lambda: self.inner.next_due(newest))

    async def newer(self, newest: int) -> int:
        return await self._call("newer", lambda: self.inner.newer(newest))

    async def deliver(self, saga_id: str, message: Message) -> Delivered:
        return await self._call("deliver", lambda: self.inner.deliver(saga_id, message))

    async def messages(self, saga_id: str) -> Sequence[Message]:
        return await self._call("messages", lambda: self.inner.messages(saga_id))

    async def inboxes(self, node: str) -> Sequence[str]:
        return await self._call("inboxes", lambda: self.inner.inboxes(node))

    async def owned(self, node: str) -> Sequence[str]:
        return await self._call("owned", lambda: self.inner.owned(node))

    async def load(self, saga_id: str) -> Record | None:
        return await self._call("load", lambda: self.inner.load(saga_id))

    async def list(self, query: Query) -> Sequence[Listed]:
        return await self._call("list", lambda: self.inner.list(query))

    async def join(self, node: str) -> None:
        await self._call("join", lambda: self.inner.join(node))

    async def beat(self, node: str, beat: int) -> bool:
        return await self._call("beat", lambda: self.inner.beat(node, beat))

    async def nodes(self) -> Sequence[NodeRow]:
        return await self._call("nodes", self.inner.nodes)

    async def bury(self, node: str, beat: int) -> bool:
        return await self._call("bury", lambda: self.inner.bury(node, beat))

    async def evaluate(self, node: str, saga_ids: Sequence[str]) -> None:
        await self._call("evaluate", lambda: self.inner.evaluate(node, saga_ids))

    async def release_dead(self) -> int:
        return await self._call("release_dead", self.inner.release_dead)

    async def leave(self, node: str) -> None:
        await self._call("leave", lambda: self.inner.leave(node))
