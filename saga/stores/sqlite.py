"""The store in one SQLite file, for one coordinator.

One thread writes, on the one connection that writes or checkpoints (:mod:`saga.stores.sqlite_writer`);
reads have connections of their own (:mod:`saga.stores.sqlite_reads`). An exclusive lock beside the file
keeps a second process out, which also proves that no other node lives.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from saga.errors import StoreUnavailable
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
from saga.stores import fresh_places, sqlite_nodes, sqlite_reads, sqlite_writes
from saga.stores.ranks import Rank
from saga.stores.sqlite_bulk import Appending, Starting
from saga.stores.sqlite_file import (
    Durability,
    check_folder,
    check_version,
    close_unwritten,
    open_file,
    usable,
)
from saga.stores.sqlite_lock import FileLock
from saga.stores.sqlite_mark import LogMark
from saga.stores.sqlite_reads import Readers
from saga.stores.sqlite_writer import Writer

T = TypeVar("T")


class SqliteStore:
    """Sagas in an SQLite file; satisfies :class:`~saga.ports.store.Store`.

    ``durability`` "full" survives a loss of power; "fast" survives a killed process, but may lose the last
    commits when the machine stops.
    """

    def __init__(
        self,
        path: str | Path,
        durability: Durability = "full",
        *,
        connection: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        """Name the file; it is opened by :meth:`open`.

        ``connection`` is the class of the connection that writes: tests hand in one that fails.
        """
        self.counters = Counters()
        self.shared = False
        # Two names of one file must not mean two locks.
        self._path = Path(path).resolve()
        self._durability = durability
        self._factory = connection
        self._lock = FileLock(self._path)
        self._mark = LogMark(self._path, self._lock)
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._places = 0

    async def open(self) -> None:
        """Open or make the file, and release what earlier processes owned.

        Raises :class:`~saga.errors.StoreUnusable` for a file that is empty, cut, damaged, not ours, of a
        newer format or in use, and for a folder that is not there.
        """
        if self._writer is not None:
            return
        self._writer = Writer(
            path=self._path, counters=self.counters, mark=self._mark, begin=self._begin, end=self._end
        )
        try:
            await self._writer.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer.stop()
            self._writer = self._readers = None

    async def ping(self) -> None:
        """Write, so that a full disk is seen."""
        await self._write(Rank.RESULT, sqlite_writes.ping)

    def backlog(self) -> float:
        return 0.0 if self._writer is None else self._writer.backlog()

    async def failed(self) -> str:
        return await asyncio.shield(self._open_writer().failed)

    async def secret(self, name: str, fresh: bytes) -> bytes:
        return await self._write(Rank.RESULT, partial(sqlite_writes.secret, name=name, fresh=fresh))

    # definitions

    async def put_definition(self, name: str, document: bytes, at: float) -> tuple[StoredDefinition, bool]:
        operation = partial(sqlite_writes.put_definition, name=name, document=document, at=at)
        return await self._write(Rank.RESULT, operation, size=len(document))

    async def delete_definition(self, name: str) -> bool:
        return await self._write(Rank.RESULT, partial(sqlite_writes.delete_definition, name=name))

    async def definition(self, name: str, version: int | None = None) -> StoredDefinition | None:
        operation = partial(sqlite_reads.definition, name=name, version=version)
        return self._open_readers().near(operation, None)

    async def definitions(self) -> Sequence[StoredDefinition]:
        return await self._open_readers().far(sqlite_reads.definitions, [])

    async def versions(self, name: str) -> Sequence[StoredDefinition]:
        return await self._open_readers().far(partial(sqlite_reads.versions, name=name), [])

    # sagas: whoever starts or owns one

    async def start(self, saga: NewSaga) -> Existing | None:
        size = sum(map(len, saga.entries)) + len(saga.summary.body)
        return await self._open_writer().submit(Rank.START, Starting(saga), size=size, counted="starts")

    async def claim(self, node: str, limit: int, now: float, newest: int) -> Sequence[Claimed]:
        return await self._give(partial(self._claim, node=node, limit=limit, now=now, newest=newest))

    async def take(self, saga_id: str, node: str, newest: int) -> Claimed | None:
        taken = await self._give(partial(_take, saga_id=saga_id, node=node, newest=newest))
        return taken[0] if taken else None

    async def append(self, lease: Lease, batch: Append) -> Lease:
        size = sum(map(len, batch.entries)) + len(batch.summary.body)
        operation = Appending(lease, batch)
        return await self._open_writer().submit(Rank.RESULT, operation, size=size, counted="appends")

    async def next_due(self, newest: int) -> float | None:
        return self._open_readers().near(partial(sqlite_reads.next_due, newest=newest), None)

    async def newer(self, newest: int) -> int:
        return await self._open_readers().far(partial(sqlite_reads.newer, newest=newest), 0)

    # the inbox

    async def deliver(self, saga_id: str, message: Message) -> Delivered:
        operation = partial(sqlite_writes.deliver, saga_id=saga_id, message=message)
        return await self._write(Rank.INBOX, operation, size=len(message.body))

    async def messages(self, saga_id: str) -> Sequence[Message]:
        return await self._open_readers().far(partial(sqlite_reads.messages, saga_id=saga_id), [])

    async def inboxes(self, node: str) -> Sequence[str]:
        return self._open_readers().near(partial(sqlite_reads.inboxes, node=node), [])

    async def owned(self, node: str) -> Sequence[str]:
        return await self._open_readers().far(partial(sqlite_reads.owned, node=node), [])

    # reading

    async def load(self, saga_id: str) -> Record | None:
        return await self._open_readers().far(partial(sqlite_reads.load, saga_id=saga_id), None)

    async def list(self, query: Query) -> Sequence[Listed]:
        return await self._open_readers().far(partial(sqlite_reads.listed, query=query), [])

    # nodes

    async def join(self, node: str) -> None:
        await self._write(Rank.RESULT, partial(sqlite_nodes.join, node=node))

    async def beat(self, node: str, beat: int) -> bool:
        return await self._write(Rank.RESULT, partial(sqlite_nodes.beat, node=node, beat=beat))

    async def nodes(self) -> Sequence[NodeRow]:
        return self._open_readers().near(sqlite_reads.nodes, [])

    async def bury(self, node: str, beat: int) -> bool:
        return await self._write(Rank.RESULT, partial(sqlite_nodes.bury, node=node, beat=beat))

    async def evaluate(self, node: str, saga_ids: Sequence[str]) -> None:
        await self._write(Rank.RESULT, partial(sqlite_nodes.evaluate, node=node, saga_ids=saga_ids))

    async def release_dead(self) -> int:
        return await self._write(Rank.RESULT, sqlite_nodes.release_dead)

    async def leave(self, node: str) -> None:
        await self._write(Rank.RESULT, partial(sqlite_nodes.leave, node=node))

    # what the methods share

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        return self._writer

    def _open_readers(self) -> Readers:
        if self._readers is None:
            raise StoreUnavailable("the store is not open")
        # What is read back after a failure may never have reached the disk, and must settle no doubt about a
        # write. The reason is set before anyone is told of the failure.
        if (reason := self._open_writer().reason) is not None:
            raise StoreUnavailable(reason)
        return self._readers

    async def _write(self, rank: Rank, operation: Callable[[sqlite3.Connection], T], size: int = 0) -> T:
        return await self._open_writer().submit(rank, operation, size=size)

    async def _give(self, operation: Callable[[sqlite3.Connection], Sequence[Claimed]]) -> Sequence[Claimed]:
        """Run a claim; what it took is put back when the caller is gone before it is told."""
        claim = self._open_writer().submit(Rank.RESULT, operation)
        try:
            return await asyncio.shield(claim)
        except asyncio.CancelledError:
            claim.add_done_callback(self._put_back)
            raise

    def _put_back(self, claim: asyncio.Future[Sequence[Claimed]]) -> None:
        if claim.exception() is None and claim.result() and self._writer is not None:
            operation = partial(sqlite_writes.put_back, leases=[claimed.lease for claimed in claim.result()])
            with suppress(StoreUnavailable):
                # Nobody waits for this either; when it fails, owned() and the next release still find them.
                self._writer.submit(Rank.RESULT, operation).add_done_callback(asyncio.Future.exception)

    # on the writer's thread

    def _claim(
        self, db: sqlite3.Connection, node: str, limit: int, now: float, newest: int
    ) -> Sequence[Claimed]:
        fresh = fresh_places(self._places, limit)
        claimed = sqlite_writes.claim(db, node=node, limit=limit, now=now, fresh=fresh, newest=newest)
        self._places += len(claimed)
        return claimed

    def _begin(self) -> sqlite3.Connection:
        check_folder(self._path)
        check_version()
        with usable(self._path):
            self._lock.acquire()
            try:
                return self._opened()
            except BaseException:
                self._mark.close()
                self._lock.withdraw()
                raise

    def _opened(self) -> sqlite3.Connection:
        db = open_file(self._path, self._durability, self._factory, self._mark)
        try:
            db.execute("BEGIN IMMEDIATE")
            sqlite_nodes.forget_nodes(db)
            db.execute("COMMIT")
            self._readers = Readers(self._path)
            self._mark.commit()
        except BaseException:
            close_unwritten(self._path, db)
            raise
        return db

    def _end(self, db: sqlite3.Connection | None, *, failed: bool) -> None:
        # The last connection to close copies the log into the file. In order this is the writer; after a
        # failure it is a reader, which cannot, so that nothing more is written or synced.
        if failed and db is not None:
            db.close()
        if self._readers is not None:
            self._readers.close()
        if not failed and db is not None:
            self._mark.clear()
            db.close()
        self._mark.close()
        self._lock.release()


def _take(db: sqlite3.Connection, saga_id: str, node: str, newest: int) -> Sequence[Claimed]:
    taken = sqlite_writes.take(db, saga_id=saga_id, node=node, newest=newest)
    return [] if taken is None else [taken]
