"""How many requests may be on the wire at once, and who waits for a free place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from saga.runs import Run


class Slots:
    """A bound on the calls in flight. A saga that found no place gets its turn again, first come first served."""

    def __init__(self, limit: int, wake: Callable[[Run], None]) -> None:
        self._limit = self._free = limit
        self._wake = wake
        self._waiting: deque[Run] = deque()
        self._queued: set[Run] = set()
        self._closed = False

    @property
    def free(self) -> int:
        """Return how many more calls may be made now."""
        return 0 if self._closed else self._free

    @property
    def taken(self) -> int:
        """Return how many calls are in flight."""
        return self._limit - self._free

    @property
    def waiting(self) -> int:
        """Return how many sagas wait for a place."""
        return len(self._queued)

    def take(self, wanted: int) -> int:
        """Take up to so many places; return how many were taken."""
        taken = min(wanted, self.free)
        self._free -= taken
        return taken

    def give_back(self, count: int) -> None:
        """Give places back, and let those who wait for one have another turn."""
        self._free += count
        self.pass_on()

    def pass_on(self) -> None:
        """Wake as many of those who wait as there are free places: one that was woken may not have taken its."""
        places = self.free
        while places and self._waiting:
            run = self._waiting.popleft()
            self._queued.discard(run)
            if not run.gone:  # what was dropped while it waited leaves its place to the next
                places -= 1
                self._wake(run)

    def queue(self, run: Run) -> None:
        """Wake the saga when a place is free."""
        if run not in self._queued:
            self._queued.add(run)
            self._waiting.append(run)

    def close(self) -> None:
        """Give out no more places."""
        self._closed = True
