"""The store that keeps everything in memory: the reference every other store is compared with.

Nothing survives the process. No method awaits between reading and writing, so each is atomic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from saga.errors import LeaseLost, MessagesWaiting
from saga.ports.stored import (
    AT_ONCE,
    EXPORT_OWNER,
    INBOX_LIMIT,
    ORPHANED,
    SUSPECT,
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
from saga.stores import fresh_places
from saga.stores.memory_rows import KeptName, KeptSaga


class MemoryStore:
    """Sagas for tests and trials; satisfies :class:`~saga.ports.store.Store`."""

    def __init__(self, *, shared: bool = False) -> None:
        """Make an empty store; ``shared`` says that several coordinators of this process will use it."""
        self.counters = Counters()
        self.shared = shared
        self._secrets: dict[str, bytes] = {}
        self._names: dict[str, KeptName] = {}
        self._sagas: dict[str, KeptSaga] = {}
        #: The same sagas again, split so that scans never meet an ended one: owned, and unowned but due.
        self._owned: dict[str, KeptSaga] = {}
        self._due: dict[str, KeptSaga] = {}
        self._nodes: dict[str, NodeRow] = {}
        #: Ids that each node has noted for evaluation.
        self._noted: dict[str, Sequence[str]] = {}
        self._places = 0

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Keep everything: a test may go on with the same store."""

    async def ping(self) -> None:
        """Do nothing."""

    def backlog(self) -> float:
        """Return 0.0: nothing is ever queued."""
        return 0.0

    async def failed(self) -> str:
        """Wait until cancelled: memory does not fail."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def secret(self, name: str, fresh: bytes) -> bytes:
        self.counters.commits += name not in self._secrets
        return self._secrets.setdefault(name, fresh)

    # definitions

    async def put_definition(self, name: str, document: bytes, at: float) -> tuple[StoredDefinition, bool]:
        known = self._names.setdefault(name, KeptName())
        if known.versions and not known.deleted and known.versions[-1].document == document:
            return known.versions[-1], False
        version = len(known.versions) + 1
        stored = StoredDefinition(name=name, version=version, document=document, created_at=at)
        known.versions.append(stored)
        known.deleted = False
        self.counters.commits += 1
        return stored, True

    async def delete_definition(self, name: str) -> bool:
        known = self._names.get(name)
        if known is None or known.deleted:
            return False
        known.deleted = True
        self.counters.commits += 1
        return True

    async def definition(self, name: str, version: int | None = None) -> StoredDefinition | None:
        known = self._names.get(name, KeptName())
        wanted = len(known.versions) if version is None else version
        return known.shown(known.versions[wanted - 1]) if 1 <= wanted <= len(known.versions) else None

    async def definitions(self) -> Sequence[StoredDefinition]:
        return [known.versions[-1] for _, known in sorted(self._names.items()) if not known.deleted]

    async def versions(self, name: str) -> Sequence[StoredDefinition]:
        known = self._names.get(name, KeptName())
        return [known.shown(stored) for stored in known.versions]

    # sagas: whoever starts or owns one

    async def start(self, saga: NewSaga) -> Existing | None:
        if there := self._sagas.get(saga.id):
            return Existing(id=there.id, start_key=there.start_key, fingerprint=there.fingerprint)
        kept = KeptSaga(
            id=saga.id,
            start_key=saga.start_key,
            fingerprint=saga.fingerprint,
            format=saga.format,
            entries=list(saga.entries),
            summary=saga.summary,
            owner=saga.owner,
            held_by=saga.owner,
            fence=0 if saga.owner is None else 1,
            due_at=saga.wake_at,
        )
        self._sagas[saga.id] = kept
        self.counters.starts += 1
        self._changed(kept)
        return None

    async def claim(self, node: str, limit: int, now: float, newest: int) -> Sequence[Claimed]:
        known = [saga for saga in self._due.values() if saga.format <= newest]
        due = [saga for saga in known if saga.inbox or saga.is_due(now)]
        due.sort(key=KeptSaga.due_order)
        new = [saga for saga in due if saga.fence == 0 and saga.is_due(now)]
        fresh = new[: fresh_places(self._places, limit)]
        taken = set(fresh)
        chosen = fresh + [saga for saga in due if saga not in taken][: limit - len(fresh)]
        self._places += len(chosen)
        return [self._give(saga, node) for saga in sorted(chosen, key=KeptSaga.due_order)]

    async def take(self, saga_id: str, node: str, newest: int) -> Claimed | None:
        saga = self._sagas.get(saga_id)
        if saga is None or saga.owner is not None or saga.format > newest:
            return None
        return self._give(saga, node)

    async def append(self, lease: Lease, batch: Append) -> Lease:
        saga = self._sagas.get(lease.saga_id)
        if saga is None or not saga.is_leased(lease):
            raise LeaseLost(f"{lease.saga_id} is no longer held as {lease}")
        left = {key: message for key, message in saga.inbox.items() if key not in batch.folded}
        if left and (batch.release or any(message.about in batch.settles for message in left.values())):
            raise MessagesWaiting(f"{lease.saga_id} has {len(left)} messages to fold first")
        saga.entries += batch.entries
        saga.summary = batch.summary
        saga.inbox = left
        saga.due_at = batch.wake_at
        for message in left.values():
            saga.due_by(message.at - AT_ONCE)
        saga.fence += batch.raise_fence
        saga.owner = None if batch.release else lease.node
        self.counters.appends += 1
        self._changed(saga)
        return replace(lease, fence=saga.fence, seq=len(saga.entries))

    async def next_due(self, newest: int) -> float | None:
        times = (saga.due_at for saga in self._due.values() if saga.format <= newest)
        return min((at for at in times if at is not None), default=None)

    async def newer(self, newest: int) -> int:
        return sum(saga.format > newest for saga in self._due.values())

    # the inbox

    async def deliver(self, saga_id: str, message: Message) -> Delivered:
        saga = self._sagas.get(saga_id)
        if saga is None:
            return Delivered(result="unknown")
        if message.id in saga.seen:
            return Delivered(result="duplicate", owner=saga.owner)
        if len(saga.inbox) >= INBOX_LIMIT:
            return Delivered(result="full", owner=saga.owner)
        saga.inbox[message.id] = message
        saga.seen.add(message.id)
        saga.due_by(message.at - AT_ONCE)
        self._changed(saga)
        return Delivered(result="new", owner=saga.owner)

    async def messages(self, saga_id: str) -> Sequence[Message]:
        saga = self._sagas.get(saga_id)
        return [] if saga is None else list(saga.inbox.values())

    async def inboxes(self, node: str) -> Sequence[str]:
        return sorted(saga.id for saga in self._owned_by(node) if saga.inbox)

    async def owned(self, node: str) -> Sequence[str]:
        return sorted(saga.id for saga in self._owned_by(node))

    # reading

    async def load(self, saga_id: str) -> Record | None:
        saga = self._sagas.get(saga_id)
        return None if saga is None else saga.record()

    async def list(self, query: Query) -> Sequence[Listed]:
        found = sorted(
            (saga for saga in self._sagas.values() if saga.matches(query)), key=KeptSaga.place, reverse=True
        )
        return [
            Listed(id=saga.id, owner=saga.owner, fence=saga.fence, summary=saga.summary)
            for saga in found[: query.limit]
        ]

    # nodes

    async def join(self, node: str) -> None:
        self._nodes.setdefault(node, NodeRow(id=node, beat=0, dead=False))
        self.counters.commits += 1

    async def beat(self, node: str, beat: int) -> bool:
        row = self._nodes.get(node)
        if row is None or row.dead:
            return False
        self._nodes[node] = replace(row, beat=max(row.beat, beat))
        self.counters.commits += 1
        return True

    async def nodes(self) -> Sequence[NodeRow]:
        return [self._nodes[node] for node in sorted(self._nodes)]

    async def bury(self, node: str, beat: int) -> bool:
        row = self._nodes.get(node)
        if row is None or row.beat != beat:
            return False
        self._nodes[node] = replace(row, dead=True)
        self.counters.commits += 1
        return True

    async def evaluate(self, node: str, saga_ids: Sequence[str]) -> None:
        row = self._nodes.get(node)
        if row is None or row.dead:
            return
        for saga_id in set(self._noted.get(node, ())).difference(saga_ids):
            if saga_id in self._sagas:
                self._sagas[saga_id].risk = 0
        self._noted[node] = tuple(saga_ids)
        self.counters.commits += 1

    async def release_dead(self) -> int:
        living = {row.id for row in self._nodes.values() if not row.dead}
        orphans = [saga for saga in self._owned.values() if not _is_alive(saga.owner, living)]
        for saga in orphans:
            saga.fence += 1
            saga.risk = self._risk(saga)
        for node in self._noted.keys() - living:
            del self._noted[node]
        self._release(orphans)
        return len(orphans)

    async def leave(self, node: str) -> None:
        self._release(self._owned_by(node))
        self._nodes.pop(node, None)
        self._noted.pop(node, None)

    # what the methods share

    def _changed(self, saga: KeptSaga) -> None:
        """Count one write, and keep the two indexes true."""
        self.counters.commits += 1
        self._owned.pop(saga.id, None)
        self._due.pop(saga.id, None)
        if saga.owner is not None:
            self._owned[saga.id] = saga
        elif saga.due_at is not None:
            self._due[saga.id] = saga

    def _risk(self, saga: KeptSaga) -> int:
        noted = self._noted.get(saga.owner or "", ())
        if saga.id not in noted:
            return max(saga.risk, ORPHANED)
        return max(saga.risk, SUSPECT) + (len(noted) == 1)

    def _owned_by(self, node: str) -> Sequence[KeptSaga]:
        return [saga for saga in self._owned.values() if saga.owner == node]

    def _give(self, saga: KeptSaga, node: str) -> Claimed:
        saga.fence += saga.held_by != node
        saga.owner = saga.held_by = node
        self._changed(saga)
        lease = Lease(saga_id=saga.id, node=node, fence=saga.fence, seq=len(saga.entries))
        return Claimed(lease=lease, record=saga.record(), risk=saga.risk)

    def _release(self, sagas: Iterable[KeptSaga]) -> None:
        for saga in sagas:
            saga.owner = None
            saga.due_by(saga.summary.updated_at - AT_ONCE)
            self._changed(saga)


def _is_alive(owner: str | None, living: set[str]) -> bool:
    return owner is None or owner in living or owner.startswith(EXPORT_OWNER)
