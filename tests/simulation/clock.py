"""The clocks of a process: a wall clock that may be wrong, and a monotonic one that has its own zero and pace."""

from __future__ import annotations

import asyncio

from tests.simulation.loop import ProcessLoop

#: Epoch seconds at which every world begins.
BEGIN = 1_700_000_000.0


class SimulatedClock:
    """A :class:`~saga.ports.clock.Clock` of one process."""

    def __init__(self, loop: ProcessLoop, skew: float) -> None:
        self._loop = loop
        #: Seconds the wall clock is fast.
        self.skew = skew

    def now(self) -> float:
        return round(BEGIN + self._loop.timeline.now + self.skew, 3)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        future = self._loop.create_future()
        self._loop.call_later(max(0.0, seconds), _wake, future)
        await future

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
