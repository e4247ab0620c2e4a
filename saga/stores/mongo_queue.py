"""What waits to be sent to MongoDB: in three ranks, bounded, and never two changes of one saga on their way at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from saga.errors import StoreUnavailable
from saga.stores.mongo_changes import Delivering, Pending
from saga.stores.ranks import BATCH_BYTES, BATCH_WRITES, QUEUE_WRITES, Counted, Rank


class Write:
    """One change that somebody waits for."""

    __slots__ = ("change", "counted", "future", "queued_at", "rank")

    def __init__(
        self, change: Pending, rank: Rank, counted: Counted | None, future: asyncio.Future[Any]
    ) -> None:
        self.change, self.rank, self.counted, self.future = change, rank, counted, future
        self.queued_at = time.monotonic()

    def succeed(self, value: Any) -> None:
        """Tell the waiter; one that was cancelled is gone, and what it asked for is done all the same."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Tell the waiter why not."""
        if not self.future.done():
            self.future.set_exception(error)


class WriteQueue:
    """Used on the event loop alone."""

    def __init__(self) -> None:
        self._ranks: tuple[deque[Write], ...] = tuple(deque() for _ in Rank)
        #: Sagas of which a change is queued or on its way, with the changes that wait for it.
        self._busy: dict[str, deque[Write]] = {}
        self._count = 0
        self._closed = False

    def put(self, write: Write) -> None:
        """Add a write.

        Raises :class:`~saga.errors.StoreUnavailable` when the queue is closed, or when it is full and this is
        no result: the sagas that are running bound those.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if write.rank is not Rank.RESULT and self._count >= QUEUE_WRITES:
            raise StoreUnavailable(f"{QUEUE_WRITES} writes are waiting for the server")
        self._count += 1
        saga_id = write.change.saga_id
        if saga_id in self._busy:
            self._busy[saga_id].append(write)
        else:
            self._busy[saga_id] = deque()
            self._ranks[write.rank].append(write)

    def take(self, most: int = BATCH_WRITES) -> list[Write]:
        """Return what is to be sent together, highest rank first; empty when nothing waits."""
        batch: list[Write] = []
        room = BATCH_BYTES
        for waiting in self._ranks:
            while waiting and len(batch) < most and room > 0:
                for write in self._with_its_likes(waiting.popleft(), most - len(batch)):
                    batch.append(write)
                    room -= write.change.size
        self._count -= len(batch)
        return batch

    def _with_its_likes(self, write: Write, most: int) -> Iterable[Write]:
        """Return a write, and if it is a message those for the same inbox right behind it."""
        yield write
        behind = self._busy[write.change.saga_id]
        while most > 1 and isinstance(write.change, Delivering) and behind:
            if not isinstance(behind[0].change, Delivering):
                return
            yield behind.popleft()
            most -= 1

    def sent(self, batch: Iterable[Write]) -> None:
        """Let what has waited for these come forward: they are answered."""
        for saga_id in {write.change.saga_id for write in batch}:
            behind = self._busy[saga_id]
            if behind:
                write = behind.popleft()
                self._ranks[write.rank].append(write)
            else:
                del self._busy[saga_id]

    def backlog(self) -> float:
        """Return the age in seconds of the oldest write; ``inf`` when the queue is full."""
        if self._count >= QUEUE_WRITES:
            return math.inf
        oldest = min((waiting[0].queued_at for waiting in self._ranks if waiting), default=None)
        return 0.0 if oldest is None else max(0.0, time.monotonic() - oldest)

    def close(self) -> None:
        """Take nothing more; what is queued can still be taken out."""
        self._closed = True

    def __len__(self) -> int:
        return self._count
