"""What is read from a MongoDB store: sagas with their journals, lists, what is due."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from math import inf
from typing import Any, Final

from saga.ports.stored import Listed, Message, Query, Record
from saga.stores.mongo_documents import (
    DUE_ORDER,
    LIST_ORDER,
    LISTED_FIELDS,
    listed_of,
    messages_of,
    record_of,
)
from saga.stores.mongo_driver import Collection
from saga.stores.mongo_terms import Document, Where

#: Asked for by name, so that the server knows which index is meant: it holds nothing else.
_EVER: Final = {"$exists": True}


# one saga


async def load(sagas: Collection, segments: Collection, saga_id: str) -> Record | None:
    """Return the saga with its whole journal."""
    document = await sagas.one({"_id": saga_id})
    return None if document is None else (await records(segments, [document]))[0]


async def records(segments: Collection, documents: Sequence[Document]) -> list[Record]:
    """Return sagas with the parts of their journals that have been sealed.

    A part is there before the saga's document says that it is, and never changes; so this is one view.
    """
    sealed: dict[str, list[bytes]] = {document["_id"]: [] for document in documents}
    base = {document["_id"]: document["base"] for document in documents}
    long = [saga_id for saga_id, last in base.items() if last]
    if long:
        parts = await segments.some({"saga": {"$in": long}}, order=(("saga", 1), ("first", 1)))
        for part in parts:
            if part["last"] <= base[part["saga"]]:
                sealed[part["saga"]] += part["entries"]
    return [record_of(document, sealed[document["_id"]]) for document in documents]


async def messages(sagas: Collection, saga_id: str) -> list[Message]:
    """Return the messages that wait, in the order they came."""
    document = await sagas.one({"_id": saga_id}, ("inbox",))
    return [] if document is None else messages_of(document)


# many sagas


async def listed(sagas: Collection, query: Query) -> list[Listed]:
    """Return one page; each status is read from an index that is in the order of the list."""
    statuses = [None] if query.statuses is None else sorted(query.statuses)
    pages = await asyncio.gather(
        *(sagas.some(page(query, status), LISTED_FIELDS, LIST_ORDER, query.limit) for status in statuses)
    )
    rows = heapq.merge(*pages, key=lambda row: (row["started_at"], row["_id"]), reverse=True)
    return [listed_of(row) for row, _ in zip(rows, range(query.limit), strict=False)]


def page(query: Query, status: str | None) -> Where:
    """Return which sagas a page shows, of one status or of all."""
    wanted: dict[str, Any] = {"definition": query.definition, "status": status}
    where = {name: value for name, value in wanted.items() if value is not None}
    if query.after is None:
        return where | {"started_at": {"$lte": inf}}
    at, saga_id = query.after
    before = [{"started_at": {"$lt": at}}, {"started_at": at, "_id": {"$lt": saga_id}}]
    return where | {"started_at": {"$lte": at}, "$or": before}


def due(version: int, now: float = inf) -> Where:
    """Return which sagas of a format nobody owns and are due by then."""
    return {"owner": None, "format": version, "due_at": _EVER | {"$lte": now}}


def new(version: int, now: float) -> Where:
    """Return which of them nobody has run yet."""
    return {"fence": 0, "format": version, "due_at": _EVER | {"$lte": now}}


def called(version: int, now: float) -> Where:
    """Return which sagas have messages, though they are not due by any clock like this one's."""
    return {"owner": None, "format": version, "due_at": _EVER | {"$gt": now}, "waiting": {"$gt": 0}}


def known(newest: int) -> range:
    """Return the formats of journals up to the newest: each is searched by itself, in the order of its index."""
    return range(1, newest + 1)


async def next_due(sagas: Collection, newest: int) -> float | None:
    """Return the earliest time an unowned saga is due."""
    found = await asyncio.gather(
        *(sagas.some(due(version), ("due_at",), DUE_ORDER, 1) for version in known(newest))
    )
    return min((row["due_at"] for rows in found for row in rows), default=None)


async def newer(sagas: Collection, newest: int) -> int:
    """Return how many sagas no scan finds because of their format."""
    return await sagas.count({"owner": None, "format": {"$gt": newest}, "due_at": _EVER})


async def owned(sagas: Collection, node: str) -> list[str]:
    """Return the ids of what the node owns."""
    return [row["_id"] for row in await sagas.some({"owner": node}, ("_id",), (("_id", 1),))]


async def inboxes(sagas: Collection, node: str) -> list[str]:
    """Return the ids of what the node owns and has messages for."""
    where = {"owner": node, "waiting": {"$gt": 0}}
    return [row["_id"] for row in await sagas.some(where, ("_id",), (("_id", 1),))]
