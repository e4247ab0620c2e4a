"""Who waits for a saga to change: an answer to a start, a command's verdict, a watcher."""

from __future__ import annotations

import asyncio

from saga.ports import Clock


class Changes:
    """Wakes those who wait for a saga on this node; costs nothing for a saga nobody waits for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, list[asyncio.Event]] = {}

    def tell(self, saga_id: str) -> None:
        """Wake everyone who waits for the saga."""
        for event in self._waiting.get(saga_id, ()):
            event.set()

    def watch(self, saga_id: str) -> Watch:
        """Return a watch that notices every change from now on; to be used in a ``with`` statement."""
        return Watch(self, saga_id)


class Watch:
    """Notices changes of one saga, also those between two waits."""

    def __init__(self, changes: Changes, saga_id: str) -> None:
        self._changes, self._saga_id = changes, saga_id
        self._event = asyncio.Event()

    def __enter__(self) -> Watch:
        """Begin to notice."""
        self._changes._waiting.setdefault(self._saga_id, []).append(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop noticing."""
        waiting = self._changes._waiting[self._saga_id]
        waiting.remove(self._event)
        if not waiting:
            del self._changes._waiting[self._saga_id]

    async def wait(self, seconds: float) -> bool:
        """Return True when the saga has changed since the last wait, False when it has not in time."""
        changed = await self._changes._clock.wait(self._event, max(0.0, seconds))
        self._event.clear()
        return changed
