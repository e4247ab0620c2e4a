"""A replica set that is none: members that lead to one MongoDB-compatible server and misbehave by a seed.

Each member is a proxy that reads the wire protocol (OP_MSG, and OP_QUERY for the first greeting). To drivers they look
like a replica set with a primary, which can step down; so retryable writes are in use, and the server behind, which
knows nothing of them, does what a driver sends again a second time. What they do wrong is told by the seed, command
by command; in which order commands of different connections come, it does not tell.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from bson import BSON, ObjectId, decode

_HEADER: Final = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
#: The flag of a message that nobody answers.
_NO_ANSWER: Final = 2
_GREETINGS: Final = frozenset({"hello", "ismaster", "isMaster"})
_WRITES: Final = frozenset({"insert", "update", "delete", "findAndModify", "createIndexes"})
_READS: Final = frozenset({"find", "getMore", "aggregate", "count"})

#: The name of the set.
NAME: Final = "simulated"


class Fault(Enum):
    """What goes wrong with one command."""

    #: The connection breaks before the server has seen it.
    CUT_BEFORE = "cut before"
    #: The server has done it, and the connection breaks before the answer.
    CUT_AFTER = "cut after"
    #: The answer comes late.
    SLOW = "slow"
    #: The member says that it is no primary, and has done nothing.
    NOT_PRIMARY = "not primary"
    #: It was interrupted by a step-down, before or after it was done.
    STEPPED_DOWN = "stepped down"
    INTERRUPTED = "interrupted by a change of state"
    #: The server is being shut down, before or after it was done.
    SHUTDOWN = "shutdown"
    INTERRUPTED_AT_SHUTDOWN = "interrupted at shutdown"
    #: Done, but not by a majority in time.
    NO_MAJORITY = "write concern timed out"
    #: Done, but not by a majority when the primary stepped down.
    LOST_MAJORITY = "stepped down before the majority"


class _Error(NamedTuple):
    code: int
    name: str
    words: str


_ERRORS: Final[Mapping[Fault, _Error]] = {
    Fault.NOT_PRIMARY: _Error(10107, "NotWritablePrimary", "not primary"),
    Fault.STEPPED_DOWN: _Error(189, "PrimarySteppedDown", "operation was interrupted"),
    Fault.INTERRUPTED: _Error(11602, "InterruptedDueToReplStateChange", "operation was interrupted"),
    Fault.SHUTDOWN: _Error(91, "ShutdownInProgress", "the server is in quiesce mode and will shut down"),
    Fault.INTERRUPTED_AT_SHUTDOWN: _Error(11600, "InterruptedAtShutdown", "interrupted at shutdown"),
}
_CONCERNS: Final[Mapping[Fault, _Error]] = {
    Fault.NO_MAJORITY: _Error(64, "WriteConcernTimeout", "waiting for replication timed out"),
    Fault.LOST_MAJORITY: _Error(189, "PrimarySteppedDown", "operation was interrupted"),
}
_NO_SECONDARY_READS: Final = _Error(13435, "NotPrimaryNoSecondaryOk", "not primary and secondaryOk=false")


class _Message(NamedTuple):
    """A message as it came, and the document it begins with."""

    raw: bytes
    request: int
    answers: int
    code: int
    document: Mapping[str, Any]

    @property
    def command(self) -> str:
        return next(iter(self.document), "")

    @property
    def wants_answer(self) -> bool:
        return self.code != _OP_MSG or not struct.unpack_from("<I", self.raw, 16)[0] & _NO_ANSWER


class ReplicaSet:
    """The members; everything that may be changed of their behaviour may be changed at any time."""

    def __init__(self, upstream: tuple[str, int], *, seed: int = 0, members: int = 3) -> None:
        self._upstream, self._dice, self._count = upstream, random.Random(seed), members
        #: How often each goes wrong, 0 to 1.
        self.rates: dict[Fault, float] = {}
        #: Seconds a slow answer takes.
        self.slow = 2.0
        #: What went wrong, how often.
        self.fired: Counter[Fault] = Counter()
        #: What was asked for: the command and its collection.
        self.commands: Counter[tuple[str, str]] = Counter()
        #: Answers to writes of sagas are kept back while this is not set.
        self.answering = asyncio.Event()
        self.answering.set()
        self.kept_back = asyncio.Event()
        self.primary, self._term = 0, 1
        self._ports: list[int] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    def address(self, database: str) -> str:
        """Return the address of a database."""
        hosts = ",".join(self._hosts())
        return f"mongodb://{hosts}/{database}?replicaSet={NAME}&heartbeatFrequencyMS=500"

    def _hosts(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self._ports]

    async def come(self) -> None:
        """Listen, at the same addresses every time."""
        for member in range(self._count):
            server = await asyncio.start_server(
                partial(self._connected, member),
                "127.0.0.1",
                self._ports[member] if len(self._ports) > member else 0,
            )
            self._servers.append(server)
            if len(self._ports) <= member:
                self._ports.append(server.sockets[0].getsockname()[1])

    def go(self) -> None:
        """Refuse connections, and break those there are."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for writer in tuple(self._connections):
            writer.transport.abort()

    async def end(self) -> None:
        """Go for good."""
        self.go()
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def step_down(self) -> None:
        """Let the next member be the primary."""
        self.primary, self._term = (self.primary + 1) % self._count, self._term + 1

    # one connection

    def _connected(self, member: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(member, reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, member: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        behind: asyncio.StreamWriter | None = None
        try:
            answers, behind = await asyncio.open_connection(*self._upstream)
            while True:
                message = await _read(reader)
                if message.code not in (_OP_MSG, _OP_QUERY):
                    return
                answer = await self._answered(member, message, answers, behind)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            self._connections.discard(writer)
            for each in (writer, behind):
                if each is not None:
                    each.transport.abort()

    async def _answered(
        self, member: int, message: _Message, answers: asyncio.StreamReader, behind: asyncio.StreamWriter
    ) -> bytes | None:
        """Return what is answered; None ends the connection, b"" is no answer."""

        async def pass_on() -> _Message | None:
            behind.write(message.raw)
            return await _read(answers) if message.wants_answer else None

        name = message.command
        self.commands[name, str(message.document[name])] += 1
        if name in _WRITES | _READS:
            if member == self.primary:
                return await self._by_primary(message, pass_on)
            error = _NO_SECONDARY_READS if name in _READS else _ERRORS[Fault.NOT_PRIMARY]
            return _refusal(message, error, labels=True)
        said = await pass_on()
        if said is None:
            return b""
        return self._greeting(member, said) if name in _GREETINGS else said.raw

    async def _by_primary(
        self, message: _Message, pass_on: Callable[[], Awaitable[_Message | None]]
    ) -> bytes | None:
        """Return what the primary answers to what is about data."""
        fault = self._fault(message.command)
        if fault in _ERRORS:
            if fault is not Fault.NOT_PRIMARY and self._dice.random() < 0.5:
                await pass_on()
            return _refusal(message, _ERRORS[fault], labels=message.command in _WRITES)
        said = None if fault is Fault.CUT_BEFORE else await pass_on()
        if said is None or fault is Fault.CUT_AFTER:
            return None
        if fault is Fault.SLOW:
            await asyncio.sleep(self.slow)
        if message.document[message.command] == "sagas" and message.command in _WRITES:
            if not self.answering.is_set():
                self.kept_back.set()
            await self.answering.wait()
        return _with_concern(said, fault) if fault in _CONCERNS else said.raw

    def _fault(self, name: str) -> Fault | None:
        point = self._dice.random()
        for fault, rate in self.rates.items():
            if point < rate:
                if fault in _CONCERNS and name not in _WRITES:
                    return None
                self.fired[fault] += 1
                return fault
            point -= rate
        return None

    def _greeting(self, member: int, said: _Message) -> bytes:
        document = {key: value for key, value in said.document.items() if key != "topologyVersion"}
        primary = member == self.primary
        document |= {
            "setName": NAME,
            "setVersion": 1,
            "hosts": self._hosts(),
            "me": self._hosts()[member],
            "primary": self._hosts()[self.primary],
            "secondary": not primary,
            "isWritablePrimary" if "isWritablePrimary" in document else "ismaster": primary,
        }
        if primary:
            document["electionId"] = ObjectId(self._term.to_bytes(12, "big"))
        return _written(said, document)


async def _read(reader: asyncio.StreamReader) -> _Message:
    head = await reader.readexactly(16)
    length, request, answers, code = _HEADER.unpack(head)
    raw = head + await reader.readexactly(length - 16)
    return _Message(raw, request, answers, code, decode(_document(raw, code)))


def _document(raw: bytes, code: int) -> bytes:
    if code == _OP_REPLY:
        start = 36
    elif code == _OP_QUERY:
        start = raw.index(b"\0", 20) + 9
    else:
        start = 21
        assert raw[20] == 0, "a message begins with its body"
    (size,) = struct.unpack_from("<i", raw, start)
    return raw[start : start + size]


def _written(like: _Message, document: Mapping[str, Any]) -> bytes:
    """Return an answer like another one, with this document in it."""
    body = BSON.encode(document)
    before = like.raw[16:36] if like.code == _OP_REPLY else b"\0\0\0\0\0"
    return _HEADER.pack(16 + len(before) + len(body), like.request, like.answers, like.code) + before + body


def _refusal(message: _Message, error: _Error, *, labels: bool) -> bytes:
    document: dict[str, Any] = {"ok": 0.0, "errmsg": error.words, "code": error.code, "codeName": error.name}
    if labels:
        document["errorLabels"] = ["RetryableWriteError"]
    body = b"\0\0\0\0\0" + BSON.encode(document)
    return _HEADER.pack(16 + len(body), 0, message.request, _OP_MSG) + body


def _with_concern(said: _Message, fault: Fault) -> bytes:
    error = _CONCERNS[fault]
    concern: dict[str, Any] = {"code": error.code, "codeName": error.name, "errmsg": error.words}
    document = {**said.document, "writeConcernError": concern}
    if fault is Fault.NO_MAJORITY:
        concern["errInfo"] = {"wtimeout": True}
    else:
        document["errorLabels"] = ["RetryableWriteError"]
    return _written(said, document)


@asynccontextmanager
async def replica_set(server: str, seed: int = 0) -> AsyncIterator[ReplicaSet]:
    """Let one come in front of the server at this address, and go in the end."""
    parts = urlsplit(server)
    members = ReplicaSet((parts.hostname or "127.0.0.1", parts.port or 27017), seed=seed)
    await members.come()
    try:
        yield members
    finally:
        await members.end()


@asynccontextmanager
async def stepping_down(members: ReplicaSet, seconds: float) -> AsyncIterator[None]:
    """Let the primary step down every so many seconds."""

    async def again_and_again() -> None:
        while True:
            await asyncio.sleep(seconds)
            members.step_down()

    task = asyncio.ensure_future(again_and_again())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
