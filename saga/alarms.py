"""Wake times of the sagas in memory."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from saga.ports.clock import Clock
from saga.runs import Run


class Alarms:
    """Gives a saga its turn when it is due. One heap and one waiting task, however many there are."""

    def __init__(self, clock: Clock, ring: Callable[[Run], None]) -> None:
        self._clock, self._ring = clock, ring
        self._heap: list[tuple[float, int, Run]] = []
        self._set: dict[Run, float] = {}
        self._earlier = asyncio.Event()
        self._count = 0

    def set(self, run: Run, at: float | None) -> None:
        """Wake the saga at that time, epoch seconds, instead of the time set before; None: not at all."""
        if at is None:
            self._set.pop(run, None)
            return
        if self._set.get(run) == at:
            return
        self._set[run] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, run))
        if self._heap[0][0] == at:
            self._earlier.set()

    async def run(self) -> None:
        """Ring until cancelled."""
        while True:
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                at, _, run = heapq.heappop(self._heap)
                # An alarm that was moved or removed is still in the heap; only the one that stands counts.
                if self._set.get(run) == at:
                    del self._set[run]
                    self._ring(run)
            self._earlier.clear()
            await self._clock.wait(self._earlier, self._heap[0][0] - now if self._heap else None)
