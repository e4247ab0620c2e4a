"""The one module that names a driver of MongoDB: Motor, or PyMongo's own asynchronous client.

Both speak through PyMongo, with the same commands and the same errors. Where they differ they are covered here:
Motor's calls give futures, which a task does not take, so each is awaited in a coroutine of this module; its
``close`` is a plain call; and every operation of every client waits in one pool of threads, made when Motor is
first imported.

What an error means is told here too. Of a write that was sent nothing is known but what the server said of it:
everything else is :class:`~saga.errors.StoreUnknown`, and read back.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

from bson.errors import BSONError
from pymongo import IndexModel, InsertOne, UpdateOne
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from saga.errors import StoreError, StoreUnavailable, StoreUnknown, StoreUnusable
from saga.stores.mongo_terms import TOO_LARGE, Answer, Change, Document, Index, Operation, Order, Where

T = TypeVar("T")

Driver: TypeAlias = Literal["motor", "pymongo"]

#: Threads Motor works with: a slow server must not take the last one from a heartbeat.
_MOTOR_THREADS: Final = "64"
#: Codes by which it says that it does not know or let in who asks, and so has done nothing.
_NOT_LET_IN: Final = frozenset({13, 18, 8000})
#: Codes for an index that is there under the same name or keys, and is another one.
_OTHER_INDEX: Final = frozenset({67, 85, 86})


class Client:
    """Connections to one database."""

    def __init__(self, address: str, driver: Driver, *, seconds: float, most: int) -> None:
        """Prepare it, inside the event loop that will use it.

        ``seconds`` is how long a server is looked for, and an answer waited for; ``most`` how many connections.
        Raises :class:`~saga.errors.StoreUnusable` for an address that is none.
        """
        try:
            self._client = _factory(driver)(address, **_options(address, seconds, most))
            self._database = self._client.get_default_database("saga")
        except (PyMongoError, ValueError, TypeError) as problem:
            # The driver's words may quote a part of the address, and that may be a part of the password.
            said = "" if "@" in address else f" ({problem})"
            raise StoreUnusable(
                f"SAGA_STORE is no address that can be used{said}: write mongodb://user:password@host:27017/database, "
                "with what is special in user and password percent-encoded"
            ) from None

    def collection(self, name: str) -> Collection:
        """Return a collection of the database."""
        return Collection(self._database[name])

    async def command(self, name: str) -> Document:
        """Return the answer to a command without arguments."""
        return await reading(lambda: self._database.command(name))

    async def drop(self) -> None:
        """Remove the database with all that is in it."""
        with telling(writing=True):
            await self._client.drop_database(self._database.name)

    async def close(self) -> None:
        """Close every connection."""
        closing = self._client.close()
        if inspect.isawaitable(closing):
            await closing


class Collection:
    """A collection, asked and changed through either driver."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    async def one(self, where: Where, fields: Sequence[str] = (), order: Order = ()) -> Document | None:
        """Return the first document, or these fields of it."""
        named = _named(fields)
        return await reading(lambda: self._collection.find_one(where, named, sort=list(order) or None))

    async def some(
        self, where: Where, fields: Sequence[str] = (), order: Order = (), limit: int = 0
    ) -> list[Document]:
        """Return documents, or these fields of them; 0 is no limit."""

        def found() -> Awaitable[list[Document]]:
            cursor = self._collection.find(where, _named(fields), sort=list(order) or None, limit=limit)
            documents: Awaitable[list[Document]] = cursor.to_list(None)
            return documents

        return await reading(found)

    async def count(self, where: Where) -> int:
        """Return how many documents are so."""
        return await reading(lambda: self._collection.count_documents(where))

    async def insert(self, document: Document) -> bool:
        """Add a document; False when its id is taken."""
        try:
            with telling(writing=True):
                await self._collection.insert_one(document)
        except _TakenError:
            return False
        return True

    async def change(self, where: Where, update: Any) -> bool:
        """Change the first document that is so; return whether there was one."""
        with telling(writing=True):
            result = await self._collection.update_one(where, update)
            return bool(result.matched_count)

    async def change_all(self, where: Where, update: Any) -> int:
        """Change every document that is so; return how many there were."""
        with telling(writing=True):
            result = await self._collection.update_many(where, update)
            return int(result.matched_count)

    async def remove(self, where: Where) -> int:
        """Remove every document that is so; return how many there were."""
        with telling(writing=True):
            result = await self._collection.delete_many(where)
            return int(result.deleted_count)

    async def bulk(self, operations: Sequence[Operation]) -> Answer:
        """Do all of them in one command, each by itself; all are changes, or all are inserts."""
        sent = [
            UpdateOne(each.where, each.update) if isinstance(each, Change) else InsertOne(each.document)
            for each in operations
        ]
        try:
            with telling(writing=True):
                result = await self._collection.bulk_write(sent, ordered=False)
        except _PartlyError as partly:
            return partly.answer
        return Answer(done=result.matched_count + result.inserted_count)

    async def ensure(self, indexes: Sequence[Index]) -> None:
        """Make the indexes that are not there."""
        models = [
            IndexModel(
                list(each.keys),
                name=each.name,
                **({} if each.where is None else {"partialFilterExpression": each.where}),
            )
            for each in indexes
        ]
        with telling(writing=True):
            await self._collection.create_indexes(models)

    async def explain(self, where: Where, order: Order = (), limit: int = 0) -> Document:
        """Return how the server finds these documents."""
        cursor = self._collection.find(where, sort=list(order) or None, limit=limit)
        plan: Document = await cursor.explain()
        return plan


# what errors mean


class NotLetIn(StoreUnavailable):
    """The server does not know who asks, or does not let him do this."""


class OtherIndex(StoreError):
    """Somebody has made an index of this name, or of these keys, that is another one."""


class _TakenError(Exception):
    """The id is taken."""


class _PartlyError(Exception):
    """Some of the operations were not done."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


@contextmanager
def telling(*, writing: bool) -> Iterator[None]:
    """Raise what a driver's error means in its place."""
    try:
        yield
    except BulkWriteError as problem:
        raise _PartlyError(_answer(problem.details)) from problem
    except DuplicateKeyError as problem:
        raise _TakenError from problem
    except (ServerSelectionTimeoutError, WaitQueueTimeoutError) as problem:
        raise StoreUnavailable(f"the MongoDB server cannot be reached: {said(problem)}") from problem
    except (DocumentTooLarge, BSONError, OverflowError, UnicodeError) as problem:
        raise StoreError(f"the store cannot hold this: {said(problem)}") from problem
    except PyMongoError as problem:
        raise _meant(problem, writing=writing) from problem


def _meant(problem: PyMongoError, *, writing: bool) -> StoreError:
    code = problem.code if isinstance(problem, OperationFailure) else None
    if code in TOO_LARGE:
        return StoreError(f"the store cannot hold this: {said(problem)}")
    if code in _NOT_LET_IN:
        return NotLetIn(f"the MongoDB server does not let this in: {said(problem)}")
    if code in _OTHER_INDEX:
        return OtherIndex(f"an index stands in the way: {said(problem)}")
    if writing:
        return StoreUnknown(f"the MongoDB server did not say whether it was written: {said(problem)}")
    return StoreUnavailable(f"the MongoDB server did not answer: {said(problem)}")


def said(problem: Exception) -> str:
    """Return the driver's or the server's words: without the state of every server, and without what was sent."""
    if isinstance(problem, OperationFailure):
        words = str((problem.details or {}).get("errmsg", "")) or str(problem)
        return f"{words[:200]} (code {problem.code})"
    return str(problem).partition(", Timeout:")[0].partition(" (configured timeouts:")[0][:200]


def _answer(details: Mapping[str, Any]) -> Answer:
    return Answer(
        done=details["nMatched"] + details["nInserted"],
        errors={each["index"]: each.get("code", 0) for each in details["writeErrors"]},
        doubtful=bool(details["writeConcernErrors"]),
    )


#: A connection that broke under a read is made anew; who has waited for a server in vain is told at once.
_AGAIN: Final = AsyncRetrying(
    retry=retry_if_exception(
        lambda problem: (
            isinstance(problem, AutoReconnect) and not isinstance(problem, ServerSelectionTimeoutError)
        )
    ),
    stop=stop_after_attempt(3),
    wait=wait_exponential(multiplier=0.02, max=0.2) + wait_random(0, 0.02),
    reraise=True,
)


async def reading(read: Callable[[], Awaitable[T]]) -> T:
    """Return what is read; a connection that breaks is no reason to fail yet."""

    async def once() -> T:
        return await read()

    with telling(writing=False):
        try:
            return await once()
        except AutoReconnect as problem:
            if isinstance(problem, ServerSelectionTimeoutError):
                raise
        return await _AGAIN.copy()(once)


# making a client


def _factory(driver: Driver) -> Any:
    """Return the class of the driver's clients; only the one that is used is loaded."""
    if driver == "pymongo":
        from pymongo import AsyncMongoClient  # noqa: PLC0415 - see above

        return AsyncMongoClient
    os.environ.setdefault("MOTOR_MAX_WORKERS", _MOTOR_THREADS)
    from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415 - see above

    return lambda address, **options: AsyncIOMotorClient(
        address, io_loop=asyncio.get_running_loop(), **options
    )


def _options(address: str, seconds: float, most: int) -> dict[str, Any]:
    """Return what the store cannot do without, and what an operator may have set otherwise in the address."""
    given = {name.lower() for name, _ in parse_qsl(urlsplit(address).query)}
    milliseconds = int(seconds * 1000)
    free = {
        "serverSelectionTimeoutMS": milliseconds,
        "connectTimeoutMS": milliseconds,
        "socketTimeoutMS": 2 * milliseconds,
        "wTimeoutMS": milliseconds,
        "maxPoolSize": most,
        "appName": "saga",
    }
    return {
        "w": "majority",
        "journal": True,
        "readConcernLevel": "majority",
        "readPreference": "primary",
        **{name: value for name, value in free.items() if name.lower() not in given},
    }


def _named(fields: Sequence[str]) -> dict[str, int] | None:
    return dict.fromkeys(fields, 1) or None
