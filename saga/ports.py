"""What the engine needs of the outside: a store, an invoker and a clock.

The ports speak of sagas, not of rows or requests, and their values are plain and frozen.
Times are seconds since the epoch (UTC) as ``float``; durations are seconds as ``float``.
An adapter raises nothing but the errors of :mod:`saga.errors`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from saga.core.entries import Entry
    from saga.core.state import SagaState

Phase: TypeAlias = Literal["action", "compensation"]

# --------------------------------------------------------------------------- invoker


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One request that is owed, ready to be sent: what the intent in the journal stands for."""

    saga_id: str
    definition: str
    step: str
    phase: Phase
    #: From 1; the number of this try.
    attempt: int
    #: The idempotency key, the same in every attempt: ``<saga id>:<step>:<phase>``.
    key: str
    #: On a compensation the key of the action it undoes, else None.
    action_key: str | None
    method: str
    #: Absolute address with its path and query, already percent-encoded.
    url: str
    #: The definition's own headers, secrets filled in; names as written.
    headers: Mapping[str, str]
    #: Body bytes, or None to send none.
    body: bytes | None
    #: Seconds until nobody waits for the answer any more.
    timeout: float
    #: When that is, epoch seconds: the ``Saga-Deadline``.
    deadline: float
    #: The ``Saga-Fence``.
    fence: int
    #: The ``Saga-Callback`` address, or None when there is none to offer.
    callback: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """One question about a pending invocation: a GET of the address its 202 named."""

    url: str
    headers: Mapping[str, str]
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The participant answered; whether the body could be read is said by ``fault``."""

    status: int
    #: Header names in lower case; of a repeated header the values are joined with ", ".
    headers: Mapping[str, str]
    #: The inflated body; what was read of it when there is a fault.
    body: bytes
    #: None when the body is complete, else why it is not: "cut", "too-large" or "slow".
    fault: Literal["cut", "too-large", "slow"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Certainly not executed: the request never reached the participant."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """The request may have been executed: it was sent, or may have been, and no answer came."""

    detail: str


Answer: TypeAlias = Answered | NotSent | NoAnswer


class Invoker(Protocol):
    """Sends requests to participants; one call of a method is one request on the wire."""

    async def invoke(self, invocation: Invocation) -> Answer:
        """Send exactly one request and return what came of it; raises nothing but cancellation."""

    async def poll(self, poll: Poll) -> Answer:
        """Ask once about a pending invocation."""

    async def close(self) -> None:
        """Close the connections; calls in flight end as :class:`NoAnswer`."""


# --------------------------------------------------------------------------- clock


class Clock(Protocol):
    """Time, so that nothing else has to know where it comes from."""

    def now(self) -> float:
        """Return epoch seconds (UTC), rounded to milliseconds."""

    def monotonic(self) -> float:
        """Return seconds that never go back and go on while the machine sleeps."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of monotonic time."""

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Return True once the event is set, False when it was not within so many seconds (None: for ever)."""


# --------------------------------------------------------------------------- store

SagaStatus: TypeAlias = Literal[
    "running", "compensating", "paused", "parked", "completed", "compensated", "abandoned"
]
ENDED: frozenset[str] = frozenset({"completed", "compensated", "abandoned"})

#: An owner that begins so is no node but an export under way: no scan claims or releases such a saga.
EXPORT_OWNER = "export:"

#: Messages that may wait in one saga's inbox.
INBOX_LIMIT = 1_000


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
    entries: tuple[bytes, ...]
    #: Unfolded messages, oldest first.
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A saga this node now owns, with all it needs to run it."""

    lease: Lease
    record: Record


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


class Store(Protocol):
    """Definitions, sagas with their journals and inboxes, and the nodes that run them.

    Texts are free of lone surrogates; bytes are opaque.
    Every write is durable when the call returns (within the durability that was configured), and a read
    that begins after it in the same process sees it. A call that is cancelled is applied wholly or not at all.
    Every call may raise :class:`~saga.errors.StoreUnavailable` (nothing was written) and every write
    :class:`~saga.errors.StoreUnknown` (it may have been).
    """

    counters: Counters
    #: True when other coordinators may use the store at the same time; then nodes have to show that they live.
    shared: bool

    async def open(self) -> None:
        """Make the store ready; raises :class:`~saga.errors.StoreUnusable` when a person has to act."""

    async def close(self) -> None:
        """Let queued writes end and release everything; closing twice changes nothing."""

    async def ping(self) -> None:
        """Return when the store can be written to; raises :class:`~saga.errors.StoreUnavailable` if not."""

    def backlog(self) -> float:
        """Return how many seconds the oldest queued write has waited; ``inf`` when the queue is full.

        Starts are turned away while this is long; a start into a full queue is StoreUnavailable.
        """

    async def failed(self) -> str:
        """Return only when the store has stopped for good, with the reason: the process has to end then."""

    async def secret(self, name: str, fresh: bytes) -> bytes:
        """Return the secret kept under the name, the same for every coordinator; ``fresh`` if there was none."""

    # definitions

    async def put_definition(self, name: str, document: bytes, at: float) -> tuple[StoredDefinition, bool]:
        """Store the document as the next version, and say whether it was new.

        A document equal to the latest version makes no version; if that one was deleted it makes the next.
        """

    async def delete_definition(self, name: str) -> bool:
        """Allow no new starts of the name; False when there is none or it is deleted already."""

    async def definition(self, name: str, version: int | None = None) -> StoredDefinition | None:
        """Return that version, or the latest; ``deleted`` says whether it may be started."""

    async def definitions(self) -> Sequence[StoredDefinition]:
        """Return the latest version of every name that is not deleted, by name."""

    async def versions(self, name: str) -> Sequence[StoredDefinition]:
        """Return every version of a name, oldest first; empty when there is none."""

    # sagas: whoever starts or owns one

    async def start(self, saga: NewSaga) -> Existing | None:
        """Insert the saga; None when it is new, else what is there under its id (nothing is changed)."""

    async def claim(self, node: str, limit: int, now: float) -> Sequence[Claimed]:
        """Take up to ``limit`` unowned sagas that are due or have a message.

        Longest due first, but one place in four, counted across calls, goes to sagas nobody has run yet
        (fence 0), so that a long backlog starves nobody. A message makes its saga due from its ``at``, and
        claimable even before. The fence rises unless this node held the saga last.
        """

    async def take(self, saga_id: str, node: str) -> Claimed | None:
        """Take one unowned saga, due or not, ended or not; None when it is owned or unknown."""

    async def append(self, lease: Lease, batch: Append) -> Lease:
        """Add the entries, and return the lease to go on with.

        Raises :class:`~saga.errors.LeaseLost` when fence, owner or sequence is not the lease's, and
        :class:`~saga.errors.MessagesWaiting` when the inbox must be folded first; the journal is unchanged.
        """

    async def next_due(self) -> float | None:
        """Return the earliest time an unowned saga is due (by a message, too), None when there is none."""

    # the inbox

    async def deliver(self, saga_id: str, message: Message) -> Delivered:
        """Put a message into the saga's inbox (at most 1,000 wait there), ended or not."""

    async def messages(self, saga_id: str) -> Sequence[Message]:
        """Return the saga's unfolded messages, oldest first."""

    async def inboxes(self, node: str) -> Sequence[str]:
        """Return the ids of the sagas this node owns that have messages waiting."""

    async def owned(self, node: str) -> Sequence[str]:
        """Return the ids of the sagas this node owns: what a claim took whose answer was lost."""

    # reading

    async def load(self, saga_id: str) -> Record | None:
        """Return the saga with its journal and its inbox, in one consistent view."""

    async def list(self, query: Query) -> Sequence[Listed]:
        """Return summaries, newest first by (started_at, id); never payloads."""

    # nodes

    async def join(self, node: str) -> None:
        """Make the node known, with beat 0; one that is known already stays as it is."""

    async def beat(self, node: str, beat: int) -> bool:
        """Record a heartbeat; False when the node is dead or unknown, and it must drop every saga."""

    async def nodes(self) -> Sequence[NodeRow]:
        """Return every node that is known."""

    async def bury(self, node: str, beat: int) -> bool:
        """Mark a node dead if its beat is still this one; False when it has moved on."""

    async def release_dead(self) -> int:
        """Release every saga whose owner is dead or unknown, raising its fence; returns how many.

        They are due at once, whatever their wake time: the owner may have left calls open.
        """

    async def leave(self, node: str) -> None:
        """Release every saga the node owns, as it stands but due at once, and forget the node."""


# --------------------------------------------------------------------------- telemetry


class Telemetry(Protocol):
    """Tells a trace collector what sagas did; no saga waits for it or is harmed by it."""

    def sample(self, client_sampled: bool | None, trace_id: str) -> bool:  # noqa: FBT001 - a header's flag
        """Return whether a new saga's trace is exported; ``client_sampled`` is the client's flag, if any."""

    def recorded(self, entries: Sequence[Entry], before: SagaState | None, after: SagaState) -> None:
        """Take note of entries that are durable; costs microseconds, never raises and never blocks."""

    def taken_over(self, entries: Sequence[Entry]) -> None:
        """Take note of a whole journal this node now owns: its last owner may not have exported it."""

    async def close(self) -> None:
        """Send what is queued, within one second whatever the collector does; closing twice changes nothing."""


class NoTelemetry:
    """Exports nothing; a client's wish to sample is passed on to the participants."""

    def sample(self, client_sampled: bool | None, trace_id: str) -> bool:  # noqa: ARG002, FBT001 - as above
        """Return the client's flag."""
        return bool(client_sampled)

    def recorded(self, entries: Sequence[Entry], before: SagaState | None, after: SagaState) -> None:
        """Do nothing."""

    def taken_over(self, entries: Sequence[Entry]) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""
