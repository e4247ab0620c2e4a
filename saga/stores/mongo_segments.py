"""Sealing: the older part of a long journal goes into documents of its own, which never change.

A saga's document is written anew by the server at each append, so what it holds must stay small. The parts are
inserted first; a part that is there already was put there by somebody who did not come to the end. Then one change
drops from the head what they hold, if nobody else has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Final

from saga.errors import StoreError
from saga.stores.mongo_driver import Collection
from saga.stores.mongo_terms import Document

log = logging.getLogger("saga.stores.mongo")

#: Bytes of entries above which the head of a journal is sealed.
HEAD_BYTES: Final = 256_000
#: Bytes of entries above which an append waits for the sealing.
FULL_BYTES: Final = 4_000_000
#: Bytes of a segment, unless a single entry is larger.
SEGMENT_BYTES: Final = 4_000_000


class Heads:
    """What the heads of the journals that this process writes hold, as far as it knows; seals those that are long."""

    def __init__(self, sagas: Collection, segments: Collection) -> None:
        self._sagas, self._segments = sagas, segments
        self._bytes: dict[str, int] = {}
        self._sealing: dict[str, asyncio.Task[None]] = {}

    def know(self, saga_id: str, size: int) -> None:
        """Begin to count, from so many bytes."""
        self._bytes[saga_id] = size

    def forget(self, saga_id: str) -> None:
        """Count no more: this process does not write it any more."""
        self._bytes.pop(saga_id, None)

    async def make_room(self, saga_id: str, size: int) -> None:
        """Return when so many bytes fit into the saga's document."""
        if self._bytes.get(saga_id, 0) + size > FULL_BYTES:
            self._begin(saga_id)
            await asyncio.shield(self._sealing[saga_id])

    def grow(self, saga_id: str, size: int) -> None:
        """Count so many bytes, and seal beside everything else what has become long."""
        self._bytes[saga_id] = self._bytes.get(saga_id, 0) + size
        if self._bytes[saga_id] > HEAD_BYTES:
            self._begin(saga_id)

    async def close(self) -> None:
        """Return when nothing is being sealed."""
        while self._sealing:
            await asyncio.wait(self._sealing.values())

    def _begin(self, saga_id: str) -> None:
        if saga_id not in self._sealing:
            self._sealing[saga_id] = asyncio.get_running_loop().create_task(self._seal(saga_id))

    async def _seal(self, saga_id: str) -> None:
        try:
            sealed = await seal(self._sagas, self._segments, saga_id)
        except StoreError as problem:
            log.warning("the journal of saga %s could not be sealed: %s", saga_id, problem)
        else:
            if saga_id in self._bytes:
                self._bytes[saga_id] -= sealed
        finally:
            del self._sealing[saga_id]


async def seal(sagas: Collection, segments: Collection, saga_id: str) -> int:
    """Move the entries of the saga's document into segments; return how many bytes that was."""
    head = await sagas.one({"_id": saga_id}, ("base", "entries"))
    if head is None or not head["entries"]:
        return 0
    sealed = head["base"]
    for part in _parts(head["entries"]):
        last = await _keep(segments, saga_id, part)
        sealed = sealed if last is None else last
        if last != part[-1]["n"]:
            break  # somebody has sealed less: the rest is left to the next time
    gone = sum(len(entry["b"]) for entry in head["entries"] if entry["n"] <= sealed)
    dropping = {
        "$set": {"base": sealed},
        "$inc": {"size": -gone},
        "$pull": {"entries": {"n": {"$lte": sealed}}},
    }
    return gone if await sagas.change({"_id": saga_id, "base": head["base"]}, dropping) else 0


async def _keep(segments: Collection, saga_id: str, part: Sequence[Document]) -> int | None:
    """Insert a part of a journal; return the number of the last entry that is kept in it."""
    first, last = part[0]["n"], part[-1]["n"]
    made = {
        "_id": f"{first}:{saga_id}",
        "saga": saga_id,
        "first": first,
        "last": last,
        "entries": [entry["b"] for entry in part],
    }
    if await segments.insert(made):
        return int(last)
    there = await segments.one({"_id": made["_id"]}, ("last",))
    return None if there is None else min(int(there["last"]), last)


def _parts(entries: Sequence[Document]) -> Iterator[list[Document]]:
    part: list[Document] = []
    size = 0
    for entry in entries:
        if part and size + len(entry["b"]) > SEGMENT_BYTES:
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry["b"])
    yield part
