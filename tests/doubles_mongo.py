"""A MongoDB store whose server misbehaves on purpose: what is sent is not done, is done and not answered, or done late."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, TypeVar

from saga.errors import StoreUnavailable, StoreUnknown
from saga.stores.mongo import MongoStore
from saga.stores.mongo_driver import Collection

T = TypeVar("T")


class Failure(Enum):
    """What goes wrong with one command."""

    #: It is not sent.
    UNSENT = "unsent"
    #: It is sent and breaks on the way: not done.
    LOST = "lost"
    #: It is done, and the answer is lost.
    UNANSWERED = "unanswered"
    #: Its time runs out, and it is done all the same a while later.
    LATE = "late"


class FailingCollection(Collection):
    """The sagas of a store, over connections that fail by a seed; ``fired`` counts what really happened."""

    def __init__(self, inner: Collection, seed: int, rate: float) -> None:
        super().__init__(inner._collection)
        self._inner, self._dice, self._rate = inner, random.Random(seed), rate
        self.fired: Counter[Failure | str] = Counter()
        self.late: set[asyncio.Task[Any]] = set()

    async def bulk(self, operations: Any) -> Any:
        return await self._fail(lambda: self._inner.bulk(operations))

    async def change(self, where: Any, update: Any) -> bool:
        return await self._fail(lambda: self._inner.change(where, update))

    async def change_all(self, where: Any, update: Any) -> int:
        return await self._fail(lambda: self._inner.change_all(where, update))

    async def some(self, *args: Any, **named: Any) -> Any:
        if self._dice.random() < self._rate:
            self.fired["read"] += 1
            raise StoreUnavailable("made to fail")
        return await self._inner.some(*args, **named)

    async def _fail(self, call: Callable[[], Awaitable[T]]) -> T:
        if self._dice.random() >= self._rate:
            return await call()
        failure = self._dice.choice(tuple(Failure))
        self.fired[failure] += 1
        if failure is Failure.UNSENT:
            raise StoreUnavailable("made to fail")
        if failure is Failure.UNANSWERED:
            await call()
        if failure is Failure.LATE:
            task = asyncio.ensure_future(self._later(call))
            self.late.add(task)
            task.add_done_callback(self.late.discard)
        raise StoreUnknown("made to fail")

    async def _later(self, call: Callable[[], Awaitable[Any]]) -> None:
        await asyncio.sleep(self._dice.uniform(0.005, 0.1))
        await call()


def fail(store: MongoStore, seed: int, rate: float) -> FailingCollection:
    """Let the share ``rate`` (0 to 1) of all commands about sagas fail."""
    database = store._open()
    failing = FailingCollection(database.sagas, seed, rate)
    database.sagas = database.claims.sagas = database.writer._sagas = database.heads._sagas = failing
    return failing
