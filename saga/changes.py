"""Who waits for a saga to change: an answer to a start, a command's verdict, a watcher."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from saga.core.state import SagaState
from saga.language.model import SagaDefinition
from saga.ports.clock import Clock


class Seen(NamedTuple):
    """A saga as it was made durable, so that whoever waits need not read it again."""

    definition: SagaDefinition
    state: SagaState
    #: The node that holds it, None when nobody does.
    owner: str | None
    fence: int


class Watch:
    """Notices changes of one saga, also those between two waits."""

    def __init__(self, clock: Clock, *, only_end: bool) -> None:
        self._clock, self._only_end = clock, only_end
        self._event = asyncio.Event()
        #: The saga as it was seen last; None while nothing has changed here.
        self.seen: Seen | None = None

    def notice(self, seen: Seen) -> None:
        """Take note of a change."""
        self.seen = seen
        if seen.state.ended or not self._only_end:
            self._event.set()

    def wake(self) -> None:
        """End the wait without a change."""
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Return True when the saga has changed since the last wait, False when it has not in time."""
        changed = await self._clock.wait(self._event, max(0.0, seconds))
        self._event.clear()
        return changed


class Changes:
    """Wakes those who wait for a saga on this node; costs nothing for a saga nobody waits for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watches: dict[str, list[Watch]] = {}

    def tell(self, seen: Seen) -> None:
        """Wake everyone who waits for the saga."""
        for watch in self._watches.get(seen.state.id, ()):
            watch.notice(seen)

    def wake(self) -> None:
        """Wake everyone: there is nothing more to wait for."""
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()

    @contextmanager
    def watch(self, saga_id: str, *, only_end: bool = False) -> Iterator[Watch]:
        """Notice every change (or only the saga's end) within the ``with`` statement."""
        watch = Watch(self._clock, only_end=only_end)
        watches = self._watches.setdefault(saga_id, [])
        watches.append(watch)
        try:
            yield watch
        finally:
            watches.remove(watch)
            if not watches:
                del self._watches[saga_id]
