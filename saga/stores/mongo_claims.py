"""Taking sagas: which node gets which.

A claim looks for sagas and takes each under the condition that it is still as it was found; then it reads what bears
its mark. So of nodes that find the same saga one gets it, and a claim whose answer was lost is read back like any other.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from saga.errors import StoreUnknown
from saga.ports.stored import Claimed, Lease
from saga.stores import fresh_places
from saga.stores.mongo_documents import DUE_ORDER
from saga.stores.mongo_driver import Collection
from saga.stores.mongo_reads import called, due, known, new, records
from saga.stores.mongo_segments import Heads
from saga.stores.mongo_terms import Change, Document, Where

_FOUND: Final = ("fence", "held_by", "due_at")


@dataclass(slots=True)
class Claims:
    """Takes sagas for the nodes of one process, one claim at a time."""

    sagas: Collection
    segments: Collection
    heads: Heads
    #: Places that were ever handed out.
    places: int = 0
    claiming: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def claim(self, node: str, limit: int, now: float, newest: int) -> list[Claimed]:
        """Take up to ``limit`` sagas; what another node was faster to take is made up for."""
        taken: list[Claimed] = []
        async with self.claiming:
            while len(taken) < limit:
                found = await self._find(limit - len(taken), now, newest)
                won = await self._give(found, node)
                self.places += len(won)
                taken += won
                if len(won) == len(found):
                    break
        return taken

    async def _find(self, limit: int, now: float, newest: int) -> list[Document]:
        """Return whom a claim is for: the longest due, but some places for those nobody ran yet."""
        fresh = fresh_places(self.places, limit)
        every, first = await asyncio.gather(
            self._search(
                [where(version, now) for version in known(newest) for where in (due, called)], limit
            ),
            self._search([new(version, now) for version in known(newest)], fresh),
        )
        chosen = {row["_id"]: row for row in first}
        for row in every:
            if len(chosen) >= limit:
                break
            chosen[row["_id"]] = row
        return sorted(chosen.values(), key=_longest_due)

    async def _search(self, wheres: Sequence[Where], limit: int) -> list[Document]:
        """Return what any of the searches finds, the longest due first."""
        if not limit:
            return []
        found = await asyncio.gather(*(self.sagas.some(where, _FOUND, DUE_ORDER, limit) for where in wheres))
        return sorted(chain.from_iterable(found), key=_longest_due)[:limit]

    async def take(self, saga_id: str, node: str, newest: int) -> list[Claimed]:
        """Take this saga if nobody owns it, and its format is known."""
        while True:
            found = await self.sagas.one({"_id": saga_id}, ("owner", "format", *_FOUND))
            if found is None or found.get("owner") is not None or found["format"] > newest:
                return []
            if won := await self._give([found], node):
                return won

    async def _give(self, found: Sequence[Document], node: str) -> list[Claimed]:
        """Take each that is still as it was found; return those that were, in the same order."""
        if not found:
            return []
        mark = secrets.token_bytes(12)
        lost: StoreUnknown | None = None
        try:
            await self.sagas.bulk(
                [_taking(row, node, mark) for row in sorted(found, key=lambda row: row["_id"])]
            )
        except StoreUnknown as problem:  # what it took is read now, or found by owned() later
            lost = problem
        ids = [row["_id"] for row in found]
        won = await self.sagas.some({"_id": {"$in": ids}, "owner": node, "claim": mark})
        if lost is not None and not won:
            raise lost
        given = {document["_id"]: document for document in won}
        won = [given[saga_id] for saga_id in ids if saga_id in given]
        for document in won:
            self.heads.know(document["_id"], document["size"])
        return [
            Claimed(
                lease=Lease(saga_id=record.id, node=node, fence=record.fence, seq=document["seq"]),
                record=record,
                risk=document["risk"],
            )
            for document, record in zip(won, await records(self.segments, won), strict=True)
        ]

    async def put_back(self, leases: Sequence[Lease]) -> None:
        """Undo claims whose claimer did not wait for them; what has moved on since is left alone."""
        changes = [
            Change(
                {"_id": lease.saga_id, "owner": lease.node, "fence": lease.fence, "seq": lease.seq},
                {"$unset": {"owner": ""}},
            )
            for lease in leases
        ]
        if changes:
            await self.sagas.bulk(changes)


def _taking(row: Document, node: str, mark: bytes) -> Change:
    fence = row["fence"] + (row.get("held_by") != node)
    given = {"owner": node, "held_by": node, "fence": fence, "claim": mark}
    return Change({"_id": row["_id"], "owner": None, "fence": row["fence"]}, {"$set": given})


def _longest_due(row: Document) -> tuple[float, str]:
    return row["due_at"], row["_id"]
