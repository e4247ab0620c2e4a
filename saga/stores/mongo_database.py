"""The database of a MongoDB store: connected to, made ready, and told to be unusable when it is."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from saga.errors import StoreError, StoreUnavailable, StoreUnknown, StoreUnusable
from saga.ports.stored import Counters
from saga.setting_texts import without_credentials
from saga.stores import mongo_nodes
from saga.stores.mongo_claims import Claims
from saga.stores.mongo_documents import DEFINITION_INDEXES, FORMAT, SAGA_INDEXES, SEGMENT_INDEXES
from saga.stores.mongo_driver import Client, Collection, Driver, NotLetIn, OtherIndex
from saga.stores.mongo_segments import Heads
from saga.stores.mongo_writer import Writer

log = logging.getLogger("saga.stores.mongo")

#: Seconds a server is looked for; an answer is waited for twice as long. Heartbeats have no use for later ones.
SECONDS: Final = 5.0
BEAT_SECONDS: Final = 1.5
#: Connections at most.
CONNECTIONS: Final = 24
BEAT_CONNECTIONS: Final = 4
#: Times that making the indexes is tried: of nodes that start at once, a server may refuse all but one.
_TRIES: Final = 5


@dataclass(slots=True, kw_only=True)
class Database:
    """Its collections, and what writes to them."""

    sagas: Collection
    segments: Collection
    definitions: Collection
    secrets: Collection
    #: What the store knows of itself: its format, and a document a ping changes.
    about: Collection
    #: Over a client of its own.
    nodes: Collection
    heads: Heads
    claims: Claims
    writer: Writer
    clients: tuple[Client, Client]

    @classmethod
    async def connect(cls, address: str, driver: Driver, counters: Counters) -> Database:
        """Return the database, ready.

        Raises :class:`~saga.errors.StoreUnusable` with what to do when it cannot be used, and
        :class:`~saga.errors.StoreUnavailable` while no server answers.
        """
        client = Client(address, driver, seconds=SECONDS, most=CONNECTIONS)
        beats = Client(address, driver, seconds=BEAT_SECONDS, most=BEAT_CONNECTIONS)
        sagas, segments = client.collection("sagas"), client.collection("segments")
        heads = Heads(sagas, segments)
        made = cls(
            sagas=sagas,
            segments=segments,
            definitions=client.collection("definitions"),
            secrets=client.collection("secrets"),
            about=client.collection("about"),
            nodes=beats.collection("nodes"),
            heads=heads,
            claims=Claims(sagas, segments, heads),
            writer=Writer(sagas, counters),
            clients=(client, beats),
        )
        try:
            await made._prepare()
        except BaseException as problem:
            await made.close()
            if isinstance(problem, StoreError):
                raise _refusal(problem, without_credentials(address)) from problem
            raise
        return made

    async def close(self) -> None:
        """Close the connections."""
        await self.heads.close()
        for client in self.clients:
            await client.close()

    async def ping(self) -> None:
        """Write something, to know that writing works; an answer that is lost is no sign of it."""
        try:
            await self.about.change({"_id": "pulse"}, {"$inc": {"pings": 1}})
        except StoreUnknown as problem:
            raise StoreUnavailable(str(problem)) from problem

    async def secret(self, name: str, fresh: bytes) -> bytes:
        """Keep the first value that comes under the name, and return it."""
        if await self.secrets.insert({"_id": name, "value": fresh}):
            return fresh
        kept = await self.secrets.one({"_id": name})
        if kept is None:
            raise StoreUnavailable(f"the secret {name} was there and is gone")
        return bytes(kept["value"])

    async def _prepare(self) -> None:
        await self._look_at_the_server()
        await self._check_format()
        for tries in range(_TRIES):
            try:
                await self._make_indexes()
                break
            except StoreUnknown:
                if tries == _TRIES - 1:
                    raise
        await self.about.insert({"_id": "pulse", "pings": 0})
        await mongo_nodes.forget(self.nodes, self.sagas)

    async def _look_at_the_server(self) -> None:
        # By the client that is told soonest that nobody answers.
        hello = await self.clients[1].command("hello")
        if not (hello.get("setName") or hello.get("msg") == "isdbgrid"):
            log.warning(
                "the MongoDB server stands alone: good for development. It cannot be replaced when it fails, and "
                "writes are not retried by the driver (retryWrites), which takes a replica set"
            )

    async def _check_format(self) -> None:
        await self.about.insert({"_id": "format", "format": FORMAT})
        kept = await self.about.one({"_id": "format"})
        found = FORMAT if kept is None else kept["format"]
        if found != FORMAT:
            raise StoreUnusable(
                f"the database has format {found}, this release knows up to {FORMAT}: run the newer release"
            )

    async def _make_indexes(self) -> None:
        await asyncio.gather(
            self.sagas.ensure(SAGA_INDEXES),
            self.segments.ensure(SEGMENT_INDEXES),
            self.definitions.ensure(DEFINITION_INDEXES),
        )


def _refusal(problem: StoreError, address: str) -> StoreError:
    """Return what is told of a database that could not be made ready: what a person has to mend, or that it is away."""
    if isinstance(problem, StoreUnusable):
        return problem
    if isinstance(problem, NotLetIn):
        return StoreUnusable(
            f"{address} cannot be used: {problem}; mend user and password in SAGA_STORE, or what the user may do"
        )
    if isinstance(problem, OtherIndex):
        return StoreUnusable(f"{address} cannot be used: {problem}; drop that index, and start again")
    return StoreUnavailable(f"{address} cannot be used: {problem}; start the server, or mend SAGA_STORE")
