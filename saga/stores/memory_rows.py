"""What the store in memory keeps: sagas and definitions, changed where they stand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

from saga.ports.stored import Lease, Message, Query, Record, StoredDefinition, Summary


@dataclass(slots=True, kw_only=True, eq=False)
class KeptSaga:
    """One saga as it is kept."""

    id: str
    start_key: str | None
    fingerprint: str
    format: int
    entries: list[bytes]
    summary: Summary
    owner: str | None
    #: Who owned it last; None when nobody has.
    held_by: str | None
    fence: int
    #: Epoch seconds from which an unowned saga is due; None when nothing but a message can move it.
    due_at: float | None
    inbox: dict[str, Message] = field(default_factory=dict)
    risk: int = 0
    #: Ids of all messages it ever got: a folded one still counts as a duplicate.
    seen: set[str] = field(default_factory=set)

    def record(self) -> Record:
        """Return the saga as the store shows it."""
        return Record(
            id=self.id,
            start_key=self.start_key,
            fingerprint=self.fingerprint,
            owner=self.owner,
            fence=self.fence,
            format=self.format,
            summary=self.summary,
            entries=tuple(self.entries),
            messages=tuple(self.inbox.values()),
        )

    def is_leased(self, lease: Lease) -> bool:
        """Return whether the lease is what the store knows: owner, fence and sequence."""
        return (self.owner, self.fence, len(self.entries)) == (lease.node, lease.fence, lease.seq)

    def is_due(self, now: float) -> bool:
        """Return whether it is due by then (epoch seconds)."""
        return self.due_at is not None and self.due_at <= now

    def due_by(self, at: float) -> None:
        """Make it due at that time (epoch seconds), if it is not before."""
        self.due_at = at if self.due_at is None else min(self.due_at, at)

    def due_order(self) -> tuple[float, str]:
        """Return what claims are sorted by: longest due first."""
        return inf if self.due_at is None else self.due_at, self.id

    def place(self) -> tuple[float, str]:
        """Return what lists are sorted by, and their cursor."""
        return self.summary.started_at, self.id

    def matches(self, query: Query) -> bool:
        """Return whether a list shows it."""
        return (
            (query.statuses is None or self.summary.status in query.statuses)
            and query.definition in (None, self.summary.definition)
            and (query.after is None or self.place() < query.after)
        )


@dataclass(slots=True)
class KeptName:
    """The versions of one definition, oldest first."""

    versions: list[StoredDefinition] = field(default_factory=list)
    deleted: bool = False

    def shown(self, stored: StoredDefinition) -> StoredDefinition:
        """Return a version as the store shows it: whether it may be started goes by the name."""
        return replace(stored, deleted=self.deleted)
