"""The store in a MongoDB database, for any number of coordinators.

Every change of a saga is one conditional update of its document (:mod:`saga.stores.mongo_documents`), acknowledged by
a majority and journalled; those that are ready go down together (:mod:`saga.stores.mongo_writer`). There are no
transactions, no change streams and no clock of the server's, so a lone server is enough for development.
Heartbeats have a client of their own: a server that is busy with sagas must not make its nodes look dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from saga.errors import LeaseLost, StoreUnavailable
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
from saga.stores import mongo_definitions, mongo_nodes, mongo_reads
from saga.stores.mongo_changes import Appending, Delivering, Starting
from saga.stores.mongo_database import Database
from saga.stores.mongo_driver import Driver
from saga.stores.ranks import Rank

T = TypeVar("T")


class MongoStore:
    """Sagas in a MongoDB database; satisfies :class:`~saga.ports.store.Store`."""

    def __init__(self, address: str, driver: Driver = "motor") -> None:
        """Name the database; it is connected to by :meth:`open`."""
        self.counters = Counters()
        self.shared = True
        self._address, self._driver = address, driver
        self._database: Database | None = None
        #: Writes under way that no caller's end may break off.
        self._under_way: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect, and make what is not there.

        Raises :class:`~saga.errors.StoreUnusable` when it lets nobody in, and for a database of a newer format;
        :class:`~saga.errors.StoreUnavailable` while no server answers.
        """
        if self._database is None:
            self._database = await Database.connect(self._address, self._driver, self.counters)

    async def close(self) -> None:
        if self._database is None:
            return
        await self._database.writer.close()
        while self._under_way:
            await asyncio.wait(self._under_way)
        database, self._database = self._database, None
        if database is not None:
            await database.close()

    async def ping(self) -> None:
        """Write; what callers who are gone have left to be done is done before."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._whole(self._open().ping())

    def backlog(self) -> float:
        return 0.0 if self._database is None else self._database.writer.backlog()

    async def failed(self) -> str:
        """Wait until cancelled: a server that fails may come back."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def secret(self, name: str, fresh: bytes) -> bytes:
        return await self._whole(self._open().secret(name, fresh))

    # definitions

    async def put_definition(self, name: str, document: bytes, at: float) -> tuple[StoredDefinition, bool]:
        return await self._whole(mongo_definitions.put(self._open().definitions, name, document, at))

    async def delete_definition(self, name: str) -> bool:
        return await self._whole(mongo_definitions.delete(self._open().definitions, name))

    async def definition(self, name: str, version: int | None = None) -> StoredDefinition | None:
        return await mongo_definitions.definition(self._open().definitions, name, version)

    async def definitions(self) -> Sequence[StoredDefinition]:
        return await mongo_definitions.all_latest(self._open().definitions)

    async def versions(self, name: str) -> Sequence[StoredDefinition]:
        return await mongo_definitions.versions(self._open().definitions, name)

    # sagas: whoever starts or owns one

    async def start(self, saga: NewSaga) -> Existing | None:
        database, starting = self._open(), Starting(saga)
        existing: Existing | None = await database.writer.submit(starting, Rank.START, "starts")
        if existing is None and saga.owner is not None:
            database.heads.know(saga.id, sum(map(len, saga.entries)))
        return existing

    async def claim(self, node: str, limit: int, now: float, newest: int) -> Sequence[Claimed]:
        return await self._given(self._open().claims.claim(node, limit, now, newest))

    async def take(self, saga_id: str, node: str, newest: int) -> Claimed | None:
        taken = await self._given(self._open().claims.take(saga_id, node, newest))
        return taken[0] if taken else None

    async def append(self, lease: Lease, batch: Append) -> Lease:
        database, appending = self._open(), Appending(lease, batch)
        added = sum(map(len, batch.entries))
        await database.heads.make_room(lease.saga_id, added)
        try:
            after: Lease = await database.writer.submit(appending, Rank.RESULT, "appends")
        except LeaseLost:
            database.heads.forget(lease.saga_id)
            raise
        database.heads.grow(lease.saga_id, added)
        if batch.release:
            database.heads.forget(lease.saga_id)
        return after

    async def next_due(self, newest: int) -> float | None:
        return await mongo_reads.next_due(self._open().sagas, newest)

    async def newer(self, newest: int) -> int:
        return await mongo_reads.newer(self._open().sagas, newest)

    # the inbox

    async def deliver(self, saga_id: str, message: Message) -> Delivered:
        delivering = Delivering(saga_id, message)
        delivered: Delivered = await self._open().writer.submit(delivering, Rank.INBOX)
        return delivered

    async def messages(self, saga_id: str) -> Sequence[Message]:
        return await mongo_reads.messages(self._open().sagas, saga_id)

    async def inboxes(self, node: str) -> Sequence[str]:
        return await mongo_reads.inboxes(self._open().sagas, node)

    async def owned(self, node: str) -> Sequence[str]:
        return await mongo_reads.owned(self._open().sagas, node)

    # reading

    async def load(self, saga_id: str) -> Record | None:
        database = self._open()
        return await mongo_reads.load(database.sagas, database.segments, saga_id)

    async def list(self, query: Query) -> Sequence[Listed]:
        return await mongo_reads.listed(self._open().sagas, query)

    # nodes

    async def join(self, node: str) -> None:
        await self._whole(mongo_nodes.join(self._open().nodes, node))

    async def beat(self, node: str, beat: int) -> bool:
        return await self._whole(mongo_nodes.beat(self._open().nodes, node, beat))

    async def nodes(self) -> Sequence[NodeRow]:
        return await mongo_nodes.rows(self._open().nodes)

    async def bury(self, node: str, beat: int) -> bool:
        return await self._whole(mongo_nodes.bury(self._open().nodes, node, beat))

    async def evaluate(self, node: str, saga_ids: Sequence[str]) -> None:
        database = self._open()
        await self._whole(mongo_nodes.evaluate(database.nodes, database.sagas, node, saga_ids))

    async def release_dead(self) -> int:
        database = self._open()
        return await self._whole(mongo_nodes.release_dead(database.nodes, database.sagas))

    async def leave(self, node: str) -> None:
        database = self._open()
        await self._whole(mongo_nodes.leave(database.nodes, database.sagas, node))

    # what the methods share

    def _open(self) -> Database:
        if self._database is None:
            raise StoreUnavailable("the store is not open")
        return self._database

    async def _whole(self, write: Coroutine[Any, Any, T]) -> T:
        """Do a write to its end, also when its caller is gone: breaking it off would leave it in doubt."""
        return await asyncio.shield(self._begin(write))

    def _begin(self, write: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(write)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # when the caller is gone, nobody else asks

    async def _given(self, claim: Coroutine[Any, Any, Sequence[Claimed]]) -> Sequence[Claimed]:
        """Run a claim; what it took is put back when the caller is gone before it is told."""
        task = self._begin(claim)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._begin(self._put_back(task))
            raise

    async def _put_back(self, claim: asyncio.Task[Sequence[Claimed]]) -> None:
        claimed = await claim
        await self._open().claims.put_back([one.lease for one in claimed])
