"""Real time: the one place where the coordinator asks what time it is, or waits for it."""

from __future__ import annotations

import asyncio
import time

#: Goes on while the machine sleeps, so that a lease is over after a suspend. Elsewhere than on Linux: does not.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return epoch seconds (UTC), rounded to milliseconds."""
        return round(time.time(), 3)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.clock_gettime(_CLOCK)

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Return True once the event is set, False when it was not within so many seconds."""
        try:
            # Not wait_for, which makes a task of what it waits for.
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True
