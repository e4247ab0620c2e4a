"""The port to time."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Clock(Protocol):
    """Time, so that nothing else has to know where it comes from."""

    def now(self) -> float:
        """Return epoch seconds (UTC), rounded to milliseconds."""

    def monotonic(self) -> float:
        """Return seconds that never go back and go on while the machine sleeps."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of monotonic time."""

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Return True once the event is set, False when it was not within so many seconds (None: for ever)."""
