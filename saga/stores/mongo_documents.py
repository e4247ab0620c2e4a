"""What a MongoDB store holds: its collections, its indexes, and how values become documents and back.

A saga is one document, so that every change of it is one conditional update of one document:

* ``owner``, ``held_by`` (the last owner, whose fence need not rise when it comes back), ``fence``, ``seq`` and
  ``last_write``, which is unique to each append and tells whose write stands there, as ``first_write`` does of the
  start;
* ``due_at``, when it is due while nobody owns it; ``risk``; ``claim``, unique to each claim;
* the inbox: ``inbox``, ``waiting`` (how many) and ``volume`` (bytes), ``calls`` (how many ever came) and ``seen``,
  hashes of the ids of all that ever came: a folded message still counts as a duplicate;
* what lists show and searches look at, labels as JSON text;
* ``entries``, the end of the journal, as ``{n, b}``; what comes before it, up to ``base``, is in the collection
  ``segments``. ``size`` counts the bytes of ``entries``.

What is nobody's or never is left out, not null: so that partial indexes hold those that have it. Payloads are bytes,
never documents: what a user names a key means nothing to the server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from saga.ports.stored import Listed, Message, NewSaga, Record, Summary
from saga.stores.mongo_terms import Document, Index, Order

#: The format this release reads and writes; kept in the database.
FORMAT: Final = 1

#: Bytes that one write may add at most, and that may wait in one inbox: a document ends at 16 MB.
WRITE_BYTES: Final = 8_000_000
INBOX_BYTES: Final = 4_000_000

DUE_ORDER: Final[Order] = (("due_at", 1), ("_id", 1))
LIST_ORDER: Final[Order] = (("started_at", -1), ("_id", -1))

_SOMETIME: Final = {"due_at": {"$exists": True}}
_FORWARD: Final = (("started_at", 1), ("_id", 1))

SAGA_INDEXES: Final = (
    # The scans for work: none of them ever meets an ended saga.
    Index("due", (("owner", 1), ("format", 1), *DUE_ORDER), _SOMETIME),
    Index("new", (("format", 1), *DUE_ORDER), {"fence": 0}),
    Index("called", (("owner", 1), ("format", 1), *DUE_ORDER), {"waiting": {"$gt": 0}}),
    Index("owned", (("owner", 1), ("_id", 1)), {"owner": {"$exists": True}}),
    # Lists.
    Index("started", _FORWARD),
    Index("by_status", (("status", 1), *_FORWARD)),
    Index("by_definition", (("definition", 1), *_FORWARD)),
    Index("by_both", (("definition", 1), ("status", 1), *_FORWARD)),
)
SEGMENT_INDEXES: Final = (Index("of_saga", (("saga", 1), ("first", 1))),)
DEFINITION_INDEXES: Final = (Index("by_name", (("name", 1), ("version", 1))),)

#: What a list is made of: no payloads.
LISTED_FIELDS: Final = (
    "owner",
    "fence",
    "status",
    "late",
    "definition",
    "version",
    "started_at",
    "updated_at",
    "ended_at",
    "labels",
    "body",
)
#: What tells what became of a write, without what the saga holds.
HEAD_FIELDS: Final = (
    *("owner", "fence", "seq", "first_write", "last_write", "start_key", "fingerprint"),
    *("calls", "waiting", "volume", "seen"),
    *("inbox.id", "inbox.at", "inbox.about", "inbox.size", "inbox.mark"),
)


# sagas


def saga_document(saga: NewSaga, mark: bytes) -> Document:
    """Return a new saga."""
    held = {} if saga.owner is None else {"owner": saga.owner, "held_by": saga.owner}
    due = {} if saga.wake_at is None else {"due_at": float(saga.wake_at)}
    return {
        "_id": saga.id,
        "start_key": saga.start_key,
        "fingerprint": saga.fingerprint,
        "format": saga.format,
        **held,
        **due,
        "fence": 0 if saga.owner is None else 1,
        "seq": len(saga.entries),
        "first_write": mark,
        "last_write": mark,
        "risk": 0,
        "inbox": [],
        "seen": [],
        **dict.fromkeys(("waiting", "volume", "calls"), 0),
        **summary_fields(saga.summary),
        "entries": numbered(0, saga.entries),
        "base": 0,
        "size": sum(map(len, saga.entries)),
    }


def numbered(seq: int, entries: Sequence[bytes]) -> list[Document]:
    """Return entries as they are kept, those after ``seq``."""
    return [{"n": n, "b": entry} for n, entry in enumerate(entries, seq + 1)]


def summary_fields(summary: Summary) -> Document:
    """Return what an append sets of what lists show."""
    return {
        "status": summary.status,
        "late": summary.late,
        "definition": summary.definition,
        "version": summary.version,
        "started_at": float(summary.started_at),
        "updated_at": float(summary.updated_at),
        "ended_at": summary.ended_at,
        "labels": json.dumps(dict(summary.labels)),
        "body": summary.body,
    }


def record_of(document: Document, sealed: Sequence[bytes]) -> Record:
    """Return a saga with its whole journal."""
    listed = listed_of(document)
    return Record(
        id=listed.id,
        start_key=document["start_key"],
        fingerprint=document["fingerprint"],
        owner=listed.owner,
        fence=listed.fence,
        format=document["format"],
        summary=listed.summary,
        entries=(*sealed, *[entry["b"] for entry in document["entries"]]),
        messages=tuple(messages_of(document)),
    )


def listed_of(document: Document) -> Listed:
    """Return what a list shows of a saga."""
    summary = Summary(
        status=document["status"],
        late=document["late"],
        definition=document["definition"],
        version=document["version"],
        started_at=document["started_at"],
        updated_at=document["updated_at"],
        ended_at=document["ended_at"],
        labels=json.loads(document["labels"]),
        body=document["body"],
    )
    return Listed(id=document["_id"], owner=document.get("owner"), fence=document["fence"], summary=summary)


# the inbox


def digest(message_id: str) -> bytes:
    """Return what is kept of the id of a message for as long as the saga is there."""
    return blake2b(message_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def message_size(message: Message) -> int:
    """Return how much of an inbox a message takes."""
    return len(message.body) + len(message.id) + len(message.by) + 200


def message_document(message: Message, mark: bytes) -> Document:
    """Return a message as it waits."""
    return {
        "id": message.id,
        "kind": message.kind,
        "body": message.body,
        "by": message.by,
        "at": float(message.at),
        "about": message.about,
        "size": message_size(message),
        "mark": mark,
    }


def messages_of(document: Mapping[str, Any]) -> list[Message]:
    """Return the messages that wait, in the order they came."""
    return [
        Message(
            id=kept["id"],
            kind=kept["kind"],
            body=kept["body"],
            by=kept["by"],
            at=kept["at"],
            about=kept["about"],
        )
        for kept in document["inbox"]
    ]
