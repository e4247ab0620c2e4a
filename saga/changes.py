"""Who waits for a saga to change: an answer to a start, a command's verdict, a watcher."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from saga.definition import SagaDefinition
from saga.ports import Clock
from saga.state import SagaState


class Seen(NamedTuple):
    """A saga as it was made durable, so that whoever waits need not read it again."""

    definition: SagaDefinition
    state: SagaState
    #: The node that holds it, None when nobody does.
    owner: str | None
    fence: int


class Changes:
    """Wakes those who wait for a saga on this node; costs nothing for a saga nobody waits for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watches: dict[str, list[Watch]] = {}

    def tell(self, seen: Seen) -> None:
        """Wake everyone who waits for the saga."""
        for watch in self._watches.get(seen.state.id, ()):
            watch._notice(seen)

    def wake(self) -> None:
        """Wake everyone: there is nothing more to wait for."""
        for watches in self._watches.values():
            for watch in watches:
                watch._event.set()

    def watch(self, saga_id: str, *, only_end: bool = False) -> Watch:
        """Return a watch that notices every change from now on (or only the saga's end).

        It is to be used in a ``with`` statement.
        """
        return Watch(self, saga_id, only_end=only_end)


class Watch:
    """Notices changes of one saga, also those between two waits."""

    def __init__(self, changes: Changes, saga_id: str, *, only_end: bool) -> None:
        self._changes, self._saga_id, self._only_end = changes, saga_id, only_end
        self._event = asyncio.Event()
        #: The saga as it was seen last; None while nothing has changed here.
        self.seen: Seen | None = None

    def __enter__(self) -> Watch:
        """Begin to notice."""
        self._changes._watches.setdefault(self._saga_id, []).append(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop noticing."""
        watches = self._changes._watches[self._saga_id]
        watches.remove(self)
        if not watches:
            del self._changes._watches[self._saga_id]

    def _notice(self, seen: Seen) -> None:
        self.seen = seen
        if seen.state.ended or not self._only_end:
            self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Return True when the saga has changed since the last wait, False when it has not in time."""
        changed = await self._changes._clock.wait(self._event, max(0.0, seconds))
        self._event.clear()
        return changed
