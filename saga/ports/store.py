"""The port to the store, in the domain's own verbs, and in the parts that its users need.

Texts are free of lone surrogates; bytes are opaque.
Every write is durable when the call returns (within the durability that was configured), and a read
that begins after it in the same process sees it. A call that is cancelled is applied wholly or not at all.
Every call may raise :class:`~saga.errors.StoreUnavailable` (nothing was written) and every write
:class:`~saga.errors.StoreUnknown` (it may have been).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from saga.ports.stored import (
    Append,
    Claimed,
    Counters,
    Delivered,
    Existing,
    Lease,
    Listed,
    Message,
    NewSaga,
    NodeRow,
    Query,
    Record,
    StoredDefinition,
)


class Place(Protocol):
    """Where something is kept."""

    #: True when other coordinators may use the store at the same time; then nodes have to show that they live.
    shared: bool


class Definitions(Place, Protocol):
    """Definitions in their versions."""

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


class Sagas(Place, Protocol):
    """Sagas with their journals and inboxes."""

    async def start(self, saga: NewSaga) -> Existing | None:
        """Insert the saga; None when it is new, else what is there under its id (nothing is changed)."""

    # ``newest`` is the newest format of journals that the node knows: it runs no saga of a newer one, and leaves
    # it as it stands to nodes of a later release.

    async def claim(self, node: str, limit: int, now: float, newest: int) -> Sequence[Claimed]:
        """Take up to ``limit`` unowned sagas that are due or have a message.

        Longest due first, but one place in four, counted across calls, goes to sagas nobody has run yet
        (fence 0), so that a long backlog starves nobody. A message makes its saga due at once, whatever
        its ``at``. The fence rises unless this node held the saga last.
        """

    async def take(self, saga_id: str, node: str, newest: int) -> Claimed | None:
        """Take one unowned saga, due or not, ended or not; None when it is owned, unknown or of a newer format."""

    async def append(self, lease: Lease, batch: Append) -> Lease:
        """Add the entries, and return the lease to go on with.

        Raises :class:`~saga.errors.LeaseLost` when fence, owner or sequence is not the lease's, and
        :class:`~saga.errors.MessagesWaiting` when the inbox must be folded first; the journal is unchanged.
        """

    async def next_due(self, newest: int) -> float | None:
        """Return the earliest time an unowned saga is due (by a message, too), None when there is none."""

    async def newer(self, newest: int) -> int:
        """Return how many unowned sagas of newer formats are due now or later: what claims leave out."""

    async def deliver(self, saga_id: str, message: Message) -> Delivered:
        """Put a message into the saga's inbox (at most 1,000 wait there), ended or not."""

    async def messages(self, saga_id: str) -> Sequence[Message]:
        """Return the saga's unfolded messages, oldest first."""

    async def load(self, saga_id: str) -> Record | None:
        """Return the saga with its journal and its inbox, in one consistent view."""

    async def list(self, query: Query) -> Sequence[Listed]:
        """Return summaries, newest first by (started_at, id); never payloads."""


class Nodes(Place, Protocol):
    """The nodes that run sagas, and what each of them owns."""

    async def join(self, node: str) -> None:
        """Make the node known, with beat 0; one that is known already stays as it is."""

    async def beat(self, node: str, beat: int) -> bool:
        """Record a heartbeat; False when the node is dead or unknown, and it must drop every saga.

        The beat that is kept never falls: one that comes after a later one changes nothing.
        """

    async def nodes(self) -> Sequence[NodeRow]:
        """Return every node that is known."""

    async def bury(self, node: str, beat: int) -> bool:
        """Mark a node dead if its beat is still this one; False when it has moved on."""

    async def evaluate(self, node: str, saga_ids: Sequence[str]) -> None:
        """Note that the node is about to evaluate these sagas, instead of those it had noted before.

        Those it had noted before have done no harm: their risk is 0 again. A node that is dead or unknown notes
        nothing.
        """

    async def release_dead(self) -> int:
        """Release every saga whose owner is dead or unknown, raising its fence; returns how many.

        They are due at once, whatever their wake time and their owner's clock: it may have left calls open. They are at risk,
        those that the owner had noted for evaluation more than the others.
        """

    async def inboxes(self, node: str) -> Sequence[str]:
        """Return the ids of the sagas this node owns that have messages waiting."""

    async def owned(self, node: str) -> Sequence[str]:
        """Return the ids of the sagas this node owns: what a claim took whose answer was lost."""

    async def leave(self, node: str) -> None:
        """Release every saga the node owns, as it stands but due at once, and forget the node."""


class Store(Definitions, Sagas, Nodes, Protocol):
    """All of it, in one place that is opened and closed."""

    counters: Counters

    async def open(self) -> None:
        """Make the store ready; what is open already stays so.

        Raises :class:`~saga.errors.StoreUnusable` when a person has to act, and
        :class:`~saga.errors.StoreUnavailable` when it is not there, but may come: then it can be opened again.
        """

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
