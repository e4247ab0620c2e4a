"""What waits for the SQLite store's writing thread: in three ranks, bounded, handed over in batches."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from saga.errors import SagaError, StoreUnavailable
from saga.stores.ranks import BATCH_BYTES, BATCH_WRITES, QUEUE_WRITES, Counted, Rank


class Write:
    """One write that somebody waits for."""

    __slots__ = ("counted", "error", "future", "operation", "queued_at", "size", "value")

    def __init__(
        self,
        operation: Callable[[sqlite3.Connection], Any],
        future: asyncio.Future[Any],
        size: int,
        counted: Counted | None,
    ) -> None:
        self.operation = operation
        self.future = future
        self.size = size
        self.counted = counted
        self.queued_at = time.monotonic()
        self.value: Any = None
        self.error: SagaError | None = None

    def run(self, db: sqlite3.Connection) -> None:
        """Do it in the open transaction; an error of this package refuses it and has written nothing."""
        self.value = self.error = None
        try:
            self.value = self.operation(db)
        except SagaError as refusal:
            self.error = refusal

    def resolve(self) -> None:
        """Tell the waiter, on the event loop's thread."""
        # A waiter that was cancelled is gone; what it asked for has been done as a whole all the same.
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)


class WriteQueue:
    """Filled on the event loop's thread, emptied by the writing thread."""

    def __init__(self) -> None:
        self._wake = threading.Condition(threading.Lock())
        self._ranks: tuple[deque[Write], ...] = tuple(deque() for _ in Rank)
        #: Why nothing more is taken; None while it is.
        self._shut: str | None = None
        self._closed = False

    def put(self, write: Write, rank: Rank) -> None:
        """Add a write.

        Raises :class:`~saga.errors.StoreUnavailable` when the queue is shut, or when it is full and this is
        no result: the sagas that are running bound those.
        """
        with self._wake:
            if self._shut is not None:
                raise StoreUnavailable(self._shut)
            if rank is not Rank.RESULT and len(self) >= QUEUE_WRITES:
                raise StoreUnavailable(f"{QUEUE_WRITES} writes are waiting for the disk")
            self._ranks[rank].append(write)
            self._wake.notify()

    def take(self, timeout: float | None) -> list[Write]:
        """Return a batch, highest rank first; empty after ``timeout`` seconds without any, or when closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._closed or len(self), timeout)
            batch: list[Write] = []
            room = BATCH_BYTES
            for waiting in self._ranks:
                while waiting and len(batch) < BATCH_WRITES and room > 0:
                    batch.append(waiting.popleft())
                    room -= batch[-1].size
            return batch

    def backlog(self) -> float:
        """Return the age in seconds of the oldest write; ``inf`` when the queue is full."""
        with self._wake:
            if len(self) >= QUEUE_WRITES:
                return math.inf
            oldest = min((waiting[0].queued_at for waiting in self._ranks if waiting), default=None)
        return 0.0 if oldest is None else max(0.0, time.monotonic() - oldest)

    def close(self) -> None:
        """Take nothing more; what is queued can still be taken out."""
        with self._wake:
            self._shut = self._shut or "the store is closed"
            self._closed = True
            self._wake.notify()

    def fail(self, reason: str) -> Sequence[Write]:
        """Take nothing more for this reason, and return what was queued."""
        with self._wake:
            self._shut = reason
            left = [write for waiting in self._ranks for write in waiting]
            for waiting in self._ranks:
                waiting.clear()
        return left

    def wait_closed(self) -> None:
        """Block until :meth:`close` has been called."""
        with self._wake:
            self._wake.wait_for(lambda: self._closed)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` has been called."""
        return self._closed

    def __len__(self) -> int:
        return sum(map(len, self._ranks))
