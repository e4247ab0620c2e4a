"""Which nodes live, and how long this one may believe that it does.

The store is authoritative. A node writes a rising ``beat``; an observer that has seen the same beat for the TTL on
its own monotonic clock buries the node, which raises the fence of everything it owned. No clocks are compared.
A node trusts its own beat until *start of the write + TTL - margin*: counted from the start, so that a write that
was slow but succeeded cannot stretch the trust. Local time is used only to stop sooner, never to go on longer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from saga.errors import StoreError
from saga.ports.clock import Clock
from saga.ports.store import Nodes

log = logging.getLogger(__name__)

#: Part of the TTL after which a node stops trusting its last beat.
TRUST = 0.7

#: Beats in one TTL, and looks at those of the others: what dies is found out within the TTL and one of these.
BEATS = 5
LOOKS = 10


class Member(Protocol):
    """What a membership keeps alive: the worker."""

    async def poke(self, saga_id: str) -> None:
        """Look at a saga's inbox now."""

    async def reclaim(self, saga_ids: Sequence[str]) -> None:
        """Run those of these sagas, which the node owns, that it does not know of."""

    def move(self, node: str) -> None:
        """Drop every saga, and go on under another name."""

    def look(self) -> None:
        """Look at the store now: something is due."""


@dataclass(slots=True)
class _Seen:
    """When a node's beat had first been seen, on this node's monotonic clock."""

    beat: int
    since: float


class Membership:
    """Keeps one node alive in the eyes of the others, and buries those that are not."""

    def __init__(self, store: Nodes, clock: Clock, *, node: str, ttl: float) -> None:
        self.node = node
        self._store, self._clock, self._ttl = store, clock, ttl
        self._first_name, self._names = node, 1
        self._beat = 0
        self._trusted_until = float("-inf") if store.shared else float("inf")
        self._seen: dict[str, _Seen] = {}

    def trusted(self) -> bool:
        """Return whether this node may send: always, on a store that is its alone."""
        return self._clock.monotonic() < self._trusted_until

    async def join(self) -> None:
        """Make the node known, and trusted from then on."""
        await self._store.join(self.node)
        if self._store.shared:
            await self.beat()

    async def beat(self) -> bool:
        """Renew; return False when others have buried this node, and it must drop every saga."""
        began = self._clock.monotonic()
        self._beat += 1
        if not await self._store.beat(self.node, self._beat):
            self._trusted_until = float("-inf")
            return False
        self._trusted_until = began + self._ttl * TRUST
        return True

    async def observe(self) -> int:
        """Bury nodes whose beat has stood still for the TTL; return how many sagas were set free."""
        began = self._clock.monotonic()
        rows = [row for row in await self._store.nodes() if row.id != self.node]
        # However long the answer took: the beat was there at some moment between these two.
        ended = self._clock.monotonic()
        for row in rows:
            seen = self._seen.get(row.id)
            if seen is None or seen.beat != row.beat:
                self._seen[row.id] = _Seen(beat=row.beat, since=ended)
            elif (
                began - seen.since >= self._ttl and not row.dead and await self._store.bury(row.id, row.beat)
            ):
                log.warning(
                    "node %s has been silent for %.1f s and is taken for dead", row.id, began - seen.since
                )
        self._seen = {row.id: self._seen[row.id] for row in rows if row.id in self._seen}
        return await self._store.release_dead()

    async def beating(self, member: Member) -> None:
        """Beat until cancelled, and tell the member which of its inboxes others have put something into."""
        while True:
            await self._clock.sleep(self._ttl / BEATS)
            try:
                await self._beat_for(member)
            except StoreError as error:
                log.warning("a heartbeat of node %s failed: %s", self.node, error)

    async def observing(self, member: Member) -> None:
        """Look after the other nodes until cancelled, and after what a lost answer to a claim has left here."""
        strays: set[str] = set()
        own = self._clock.monotonic() + self._ttl
        while True:
            await self._clock.sleep(self._until_next_look())
            try:
                if await self.observe():
                    member.look()
                if self._clock.monotonic() < own:
                    continue
                own = self._clock.monotonic() + self._ttl
                owned = set(await self._store.owned(self.node))
                # What is owned twice in a row is no claim under way.
                await member.reclaim(sorted(owned & strays))
                strays = owned
            except StoreError as error:
                log.warning("node %s could not look after the others: %s", self.node, error)

    def _until_next_look(self) -> float:
        """Return how many seconds to wait: not past the moment at which a node that is silent has to be buried."""
        now = self._clock.monotonic()
        left = (seen.since + self._ttl - now for seen in self._seen.values() if seen.since + self._ttl > now)
        return min([self._ttl / LOOKS, *left])

    async def _beat_for(self, member: Member) -> None:
        if await self.beat():
            for saga_id in await self._store.inboxes(self.node):
                await member.poke(saga_id)
            return
        log.warning("node %s was taken for dead; its sagas are others' now", self.node)
        self._names += 1
        self._beat = 0
        self.node = f"{self._first_name}.{self._names}"
        member.move(self.node)
        await self.join()

    async def leave(self) -> None:
        """Release everything and sign off; a store that cannot be reached finds out by itself."""
        self._trusted_until = float("-inf")
        try:
            await self._store.leave(self.node)
        except StoreError as error:
            log.warning("the node could not be signed off (%s); its sagas are taken over all the same", error)
