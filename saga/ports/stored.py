"""What a store is given and gives back: sagas, their leases and messages, definitions, nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

SagaStatus: TypeAlias = Literal[
    "running", "compensating", "paused", "parked", "completed", "compensated", "abandoned"
]

#: An owner that begins so is no node but an export under way: no scan claims or releases such a saga.
EXPORT_OWNER = "export:"

#: Messages that may wait in one saga's inbox.
INBOX_LIMIT = 1_000

#: Given in the place of a payload whose bytes are not those that were written: no entry, document or message.
DAMAGED = b"damaged"

#: What is due at once is due so many seconds before the time it carries: that time was told by another node's clock,
#: and nothing may wait for clocks to agree.
AT_ONCE = 365 * 86_400.0

# How likely it is that evaluating a saga ends the process, told by the deaths of nodes.
#: Its owner has died, which tells nothing of one saga among many.
ORPHANED = 1
#: It was among those a node had noted for evaluation when it died; alone, each such death adds one.
SUSPECT = 2
#: Ten nodes died in a row with it alone in their note: it is not evaluated unasked. Fewer are met by chance where a
#: coordinator is killed several times a second.
POISON = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to advance one saga, as far as its holder knows."""

    saga_id: str
    #: Id of the node that holds it.
    node: str
    #: Rises whenever another node takes the saga over.
    fence: int
    #: Sequence number of the last entry in the journal; 0 when it is empty.
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What lists show and searches look at; replaced by every append."""

    status: SagaStatus
    late: bool
    definition: str
    version: int
    started_at: float
    updated_at: float
    ended_at: float | None
    labels: Mapping[str, str | float | int | bool] = field(default_factory=dict)
    #: What a list shows of the saga, as JSON; never payloads.
    body: bytes = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSaga:
    """A saga to be inserted with the first entries of its journal."""

    id: str
    #: The client's start key, or None when the id was given or made.
    start_key: str | None
    #: Hash of the request as sent; tells a repeated start from a reused key.
    fingerprint: str
    #: Entries as JSON, one each; their sequence numbers are 1, 2, 3 …
    entries: Sequence[bytes]
    summary: Summary
    #: Version of the journal's format.
    format: int
    #: Node that runs it from the start (with fence 1), or None: it waits to be claimed (fence 0).
    owner: str | None
    #: When it is due, epoch seconds; None when nothing but a message can move it.
    wake_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """A saga that has the id already; what tells a repeated start from a clash."""

    id: str
    start_key: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What reached a saga from outside and is not yet in its journal."""

    #: Deduplicates: the second message with an id changes nothing.
    id: str
    #: "command", "callback", "signal" or "child".
    kind: str
    #: JSON.
    body: bytes
    #: Who sent it, for the journal.
    by: str
    at: float
    #: The invocation it may settle, ``<step>:<phase>``; None when it settles none.
    about: str | None = None


Delivery: TypeAlias = Literal["new", "duplicate", "unknown", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What became of a delivered message, and who owns the saga (None: nobody)."""

    result: Delivery
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """One durable step of a saga: entries, what they mean for searches, and who holds it then."""

    entries: Sequence[bytes]
    summary: Summary
    #: When it is due next; None when nothing but a message can move it.
    wake_at: float | None
    #: Messages these entries fold; removed from the inbox in the same write.
    folded: Sequence[str] = ()
    #: Put the saga down: no owner afterwards. Refused while an unfolded message waits.
    release: bool = False
    #: Invocations these entries settle; refused while an unfolded message is about one of them.
    settles: Sequence[str] = ()
    #: Raise the fence with this write, so that nothing sent before it counts any more (``abandon``).
    raise_fence: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A saga as stored."""

    id: str
    start_key: str | None
    fingerprint: str
    owner: str | None
    fence: int
    format: int
    #: What lists show of it.
    summary: Summary
    entries: tuple[bytes, ...]
    #: Unfolded messages, oldest first.
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A saga this node now owns, with all it needs to run it."""

    lease: Lease
    record: Record
    #: 0, or from :data:`ORPHANED` up.
    risk: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDefinition:
    """One version of a definition, as normalised JSON."""

    name: str
    version: int
    document: bytes
    created_at: float
    #: True after ``delete_definition`` until the name is put again: no new starts.
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which sagas a list shows; None means any."""

    statuses: frozenset[str] | None = None
    definition: str | None = None
    limit: int = 50
    #: ``(started_at, id)`` of the last item of the page before.
    after: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One row of a list."""

    id: str
    owner: str | None
    fence: int
    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One coordinator as the store knows it."""

    id: str
    beat: int
    dead: bool


@dataclass(slots=True, kw_only=True)
class Counters:
    """What the store has done since it was opened."""

    #: Durable transactions.
    commits: int = 0
    #: Appends and starts that went down in them.
    appends: int = 0
    starts: int = 0
