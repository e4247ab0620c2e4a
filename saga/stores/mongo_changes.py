"""Appends, starts and messages as conditional changes of one saga's document, and what became of each.

Each is first sent as if nothing stood in its way. When the server did not do it, or its answer was lost, the saga's
head tells: it was done (the head carries its mark), it is refused, or it has to be sent again. Sending the same once
more is harmless: what it asks for is not so any more once it was done.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Protocol

from saga.errors import LeaseLost, MessagesWaiting
from saga.ports.stored import AT_ONCE, INBOX_LIMIT, Append, Delivered, Existing, Lease, Message, NewSaga
from saga.stores.mongo_documents import (
    INBOX_BYTES,
    digest,
    message_document,
    message_size,
    numbered,
    saga_document,
    summary_fields,
)
from saga.stores.mongo_terms import Change, Document, Insert, Operation

_MARK_BYTES = 12


class Pending(Protocol):
    """One change of one saga."""

    saga_id: str
    #: Bytes it adds.
    size: int
    #: It inserts; else it changes what is there.
    inserts: bool
    #: Its answer holds something that only the document knows.
    asks: bool

    def operation(self) -> Operation:
        """Return what is sent."""

    def answer(self, head: Document, /) -> Any:
        """Return the answer when the server has said that it was done."""

    def judge(self, head: Document | None) -> Any:
        """Return the answer by what stands there, or raise why it was refused; :data:`AGAIN`: it was not done."""


class Again:
    """Not done, and nothing stands in its way."""


AGAIN = Again()


class Appending:
    """An append under a lease."""

    inserts = asks = False

    def __init__(self, lease: Lease, batch: Append) -> None:
        self.saga_id = lease.saga_id
        self.size = sum(map(len, batch.entries)) + len(batch.summary.body)
        self._lease, self._batch = lease, batch
        self._mark = secrets.token_bytes(_MARK_BYTES)
        #: The saga as it was when messages turned out to wait; None: none are expected but those it folds.
        self._head: Document | None = None

    def operation(self) -> Operation:
        """Return what is sent."""
        lease, batch = self._lease, self._batch
        held = {"_id": lease.saga_id, "owner": lease.node, "fence": lease.fence, "seq": lease.seq}
        inbox, changes, due_at = self._inbox()
        setting = summary_fields(batch.summary) | changes.pop("$set", {})
        setting |= {"last_write": self._mark, "seq": lease.seq + len(batch.entries)}
        dropping = {}
        if batch.raise_fence:
            setting["fence"] = lease.fence + 1
        if batch.release:
            dropping["owner"] = ""
        if due_at is None:
            dropping["due_at"] = ""
        else:
            setting["due_at"] = float(due_at)
        if batch.entries:
            changes["$push"] = {"entries": {"$each": numbered(lease.seq, batch.entries)}}
            changes["$inc"] = {"size": sum(map(len, batch.entries))}
        if dropping:
            changes["$unset"] = dropping
        return Change(held | inbox, {"$set": setting, **changes})

    def _inbox(self) -> tuple[Document, Document, float | None]:
        """Return how the inbox has to be, how it changes, and when the saga is due then."""
        batch = self._batch
        if self._head is not None:
            left = self._left(self._head)
            kept = {"waiting": len(left), "volume": sum(each["size"] for each in left)}
            called = [each["at"] - AT_ONCE for each in left]
            due_at = min(called if batch.wake_at is None else [batch.wake_at, *called], default=None)
            gone = {"$pull": {"inbox": {"id": {"$in": list(batch.folded)}}}}
            return {"calls": self._head["calls"]}, {"$set": kept, **gone}, due_at
        if not batch.folded:
            return {"waiting": 0}, {}, batch.wake_at
        others = {"inbox": {"$not": {"$elemMatch": {"id": {"$nin": list(batch.folded)}}}}}
        return others, {"$set": {"inbox": [], "waiting": 0, "volume": 0}}, batch.wake_at

    def answer(self, _head: Document) -> Lease:
        """Return the answer when it was done."""
        lease, batch = self._lease, self._batch
        fence, seq = lease.fence + batch.raise_fence, lease.seq + len(batch.entries)
        return Lease(saga_id=lease.saga_id, node=lease.node, fence=fence, seq=seq)

    def judge(self, head: Document | None) -> Lease | Again:
        """Return the answer by what stands there, or raise why it was refused."""
        lease, batch = self._lease, self._batch
        if head is not None and head["last_write"] == self._mark:
            return self.answer(head)
        if head is None or (head.get("owner"), head["fence"], head["seq"]) != (
            lease.node,
            lease.fence,
            lease.seq,
        ):
            raise LeaseLost(f"{lease.saga_id} is no longer held as {lease}")
        left = self._left(head)
        if left and (batch.release or any(each["about"] in batch.settles for each in left)):
            raise MessagesWaiting(f"{lease.saga_id} has {len(left)} messages to fold first")
        self._head = head
        return AGAIN

    def _left(self, head: Document) -> Sequence[Document]:
        folded = set(self._batch.folded)
        return [each for each in head["inbox"] if each["id"] not in folded]


class Starting:
    """A start."""

    inserts, asks = True, False

    def __init__(self, saga: NewSaga) -> None:
        self.saga_id = saga.id
        self.size = sum(map(len, saga.entries)) + len(saga.summary.body)
        self._mark = secrets.token_bytes(_MARK_BYTES)
        self._saga = saga

    def operation(self) -> Operation:
        """Return what is sent."""
        return Insert(saga_document(self._saga, self._mark))

    def answer(self, _head: Document) -> None:
        """Return the answer when it was done."""
        return

    def judge(self, head: Document | None) -> Existing | Again | None:
        """Return the answer by what stands there, or raise why it was refused."""
        if head is None:
            return AGAIN
        if head["first_write"] == self._mark:
            return None
        return Existing(id=self.saga_id, start_key=head["start_key"], fingerprint=head["fingerprint"])


class Delivering:
    """A message for an inbox."""

    inserts, asks = False, True

    def __init__(self, saga_id: str, message: Message) -> None:
        self.saga_id = saga_id
        self.size = message_size(message)
        self._message = message
        self._digest = digest(message.id)
        self._mark = secrets.token_bytes(_MARK_BYTES)

    def operation(self) -> Operation:
        """Return what is sent."""
        room = {"waiting": {"$lt": INBOX_LIMIT}, "volume": {"$lte": INBOX_BYTES - self.size}}
        return Change(
            {"_id": self.saga_id, "seen": {"$ne": self._digest}, **room},
            {
                "$push": {"inbox": message_document(self._message, self._mark), "seen": self._digest},
                "$inc": {"waiting": 1, "calls": 1, "volume": self.size},
                "$min": {"due_at": self._message.at - AT_ONCE},
            },
        )

    def answer(self, head: Document) -> Delivered:
        """Return the answer when it was done."""
        return Delivered(result="new", owner=head.get("owner"))

    def judge(self, head: Document | None) -> Delivered | Again:
        """Return the answer by what stands there, or raise why it was refused."""
        if head is None:
            return Delivered(result="unknown")
        owner = head.get("owner")
        if any(each["mark"] == self._mark for each in head["inbox"]):
            return Delivered(result="new", owner=owner)
        if self._digest in head["seen"]:
            return Delivered(result="duplicate", owner=owner)
        if head["waiting"] >= INBOX_LIMIT or head["volume"] + self.size > INBOX_BYTES:
            return Delivered(result="full", owner=owner)
        return AGAIN
