"""The campaign's own time: waiting at random instants is what it is for."""

from __future__ import annotations

import asyncio
import time

#: Nanoseconds that all processes of one machine count alike; ledgers of different participants are compared by it.
ticks = time.monotonic_ns


def now() -> float:
    """Return epoch seconds, to be compared with the times in journals."""
    return time.time()


async def sleep(seconds: float) -> None:
    """Return after so many seconds."""
    await asyncio.sleep(seconds)
