"""Sends what is queued to MongoDB: all that is ready in one command, a few commands at once.

Nothing waits for company: while batches are on their way, the next one gathers. Each change of a batch is done or not
by itself. When the server says that all were done they are answered at once. Else one search for the heads of the
sagas tells of each whether it was done, is refused, or has to be sent again, and nothing is answered before.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential, wait_random

from saga.errors import StoreError, StoreUnavailable, StoreUnknown
from saga.ports.stored import Counters
from saga.stores.mongo_changes import Again, Pending
from saga.stores.mongo_documents import HEAD_FIELDS, WRITE_BYTES
from saga.stores.mongo_driver import Collection
from saga.stores.mongo_queue import Write, WriteQueue
from saga.stores.mongo_terms import Answer, Document
from saga.stores.ranks import BATCH_WRITES, Counted, Rank

log = logging.getLogger("saga.stores.mongo")

#: Batches on their way at once.
BATCHES: Final = 4
#: Writes that are not divided between batches.
FEW: Final = 32
#: Seconds after which what could not be settled is left to the caller as unknown.
SETTLE_SECONDS: Final = 10.0


class Writer:
    """The queue, and the batches that are on their way."""

    def __init__(self, sagas: Collection, counters: Counters) -> None:
        """Prepare a writer, inside the event loop that will use it."""
        self._sagas, self._counters = sagas, counters
        self._loop = asyncio.get_running_loop()
        self._queue = WriteQueue()
        self._sending: set[asyncio.Task[None]] = set()
        self._woken = False

    def submit(self, change: Pending, rank: Rank, counted: Counted | None = None) -> asyncio.Future[Any]:
        """Queue a change; the future is resolved when it is durable.

        Raises :class:`~saga.errors.StoreUnavailable` as :meth:`WriteQueue.put` does, and
        :class:`~saga.errors.StoreError` for more than a document can hold.
        """
        if change.size > WRITE_BYTES:
            raise StoreError(
                f"the store cannot hold {change.size} bytes in one write of saga {change.saga_id}"
            )
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(Write(change, rank, counted, future))
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._send)
        return future

    def backlog(self) -> float:
        """Return the age in seconds of the oldest queued write; ``inf`` when the queue is full."""
        return self._queue.backlog()

    async def close(self) -> None:
        """Take nothing more, and return when all that was queued is answered."""
        self._queue.close()
        self._send()
        while self._sending:
            await asyncio.wait(self._sending)
            self._send()

    def _send(self) -> None:
        self._woken = False
        while len(self._sending) < BATCHES and (batch := self._queue.take(self._share())):
            task = self._loop.create_task(self._settle(batch))
            self._sending.add(task)
            task.add_done_callback(partial(self._sent, batch))

    def _share(self) -> int:
        """Return how many writes go into the next batch: a server does several at once, but few writes not faster."""
        free = BATCHES - len(self._sending)
        return min(BATCH_WRITES, max(FEW, math.ceil(len(self._queue) / free)))

    def _sent(self, batch: Sequence[Write], task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        problem = None if task.cancelled() else task.exception()
        if problem is not None:
            log.error("a batch of writes broke", exc_info=problem)
        for write in batch:  # whatever happened, no waiter is left waiting
            write.fail(StoreUnknown(f"the store's writer broke: {problem!r}"))
        self._queue.sent(batch)
        self._send()

    async def _settle(self, batch: Sequence[Write]) -> None:
        """Answer every write of a batch; inserts and changes are commands of their own."""
        # In one order everywhere, so that commands that meet in some documents wait for one another, and never both.
        ordered = sorted(batch, key=lambda write: write.change.saga_id)
        kinds = [[write for write in ordered if write.change.inserts is inserts] for inserts in (True, False)]
        await asyncio.gather(
            *(_Batch(self._sagas, self._counters, writes).settle() for writes in kinds if writes)
        )


class _Batch:
    """Writes that are sent in one command."""

    def __init__(self, sagas: Collection, counters: Counters, writes: Sequence[Write]) -> None:
        self._sagas, self._counters = sagas, counters
        self._left = list(writes)
        #: Some may have been done without this node knowing.
        self._doubt = False
        self._doubted = False

    async def settle(self) -> None:
        """Send, and find out what became of each, until every one is answered or the time is over."""
        try:
            await self._trying()(self._round)
        except (StoreUnavailable, StoreUnknown) as problem:
            lost = StoreUnknown(f"the store did not say whether it was written: {problem}")
            for write in self._left:
                write.fail(lost if self._doubted else problem)

    @staticmethod
    def _trying() -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type((_UnsettledError, StoreUnknown)),
            stop=stop_after_delay(SETTLE_SECONDS),
            wait=wait_exponential(multiplier=0.002, max=0.5) + wait_random(0, 0.005),
            reraise=True,
        )

    async def _round(self) -> None:
        """Send what is left once, and judge it; raises when some of it has to be sent again."""
        if not self._doubt:
            answer = await self._bulk()
            if answer is None:
                return
            if answer.done == len(self._left) and not answer.doubtful:
                await self._all_done()
                return
        try:
            heads = await self._heads(HEAD_FIELDS)
        except StoreUnavailable as problem:
            raise StoreUnknown(str(problem)) from problem
        self._doubt = False
        self._left = [write for write in self._left if self._judged(write, heads)]
        if self._left:
            raise _UnsettledError("it was not done yet")

    async def _bulk(self) -> Answer | None:
        """Send; None when all of it has been answered."""
        try:
            answer = await self._sagas.bulk([write.change.operation() for write in self._left])
        except StoreUnknown:
            self._doubt = self._doubted = True
            raise
        except StoreUnavailable:
            raise
        except StoreError as problem:
            await self._unfit(problem)
            return None
        self._counters.commits += answer.done > 0
        self._doubted = self._doubted or answer.doubtful
        for place, write in enumerate(self._left):
            if answer.too_large(place):
                write.fail(
                    StoreError(f"the store cannot hold saga {write.change.saga_id}: it would be too large")
                )
        self._left = [write for place, write in enumerate(self._left) if not answer.too_large(place)]
        return answer

    async def _unfit(self, problem: StoreError) -> None:
        """One of them cannot be sent at all: it fails alone."""
        if len(self._left) == 1:
            self._left[0].fail(problem)
            return
        for write in self._left:
            await _Batch(self._sagas, self._counters, [write]).settle()

    async def _all_done(self) -> None:
        asking = [write for write in self._left if write.change.asks]
        heads = await self._told(asking) if asking else {}
        for write in self._left:
            self._done(write, write.change.answer(heads.get(write.change.saga_id, {})))

    async def _told(self, writes: Sequence[Write]) -> Mapping[str, Document]:
        """Return what the answers hold of the documents; what cannot be read is left out."""
        try:
            return await self._heads(("owner",), writes)
        except StoreUnavailable:
            return {}

    async def _heads(
        self, fields: Sequence[str], writes: Sequence[Write] | None = None
    ) -> Mapping[str, Document]:
        ids = {write.change.saga_id for write in writes or self._left}
        found = await self._sagas.some({"_id": {"$in": sorted(ids)}}, fields)
        return {head["_id"]: head for head in found}

    def _judged(self, write: Write, heads: Mapping[str, Document]) -> bool:
        """Answer a write by what stands there; return whether it has to be sent again."""
        try:
            value = write.change.judge(heads.get(write.change.saga_id))
        except StoreError as refusal:
            write.fail(refusal)
            return False
        if isinstance(value, Again):
            return True
        self._done(write, value)
        return False

    def _done(self, write: Write, value: Any) -> None:
        if write.counted == "appends":
            self._counters.appends += 1
        elif write.counted == "starts":
            self._counters.starts += value is None
        write.succeed(value)


class _UnsettledError(StoreUnknown):
    """Some writes were not done, and nothing stands in their way: they are sent again."""
