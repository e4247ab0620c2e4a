"""A participant that does what participants must not: a program of its own, and what it saw.

``python -m tests.hostile [PORT [PEM]]`` prints one line of JSON: the ``port`` of the HTTP side, and for each way of
misbehaving before a request is read a port that does just that; with a certificate and its key in one file
there is a ``tls`` port as well. What a request gets is named by its path, as
in ``/drip-body``; what was seen is asked for under ``/-/``:

* ``GET /-/seen``: every request, oldest first, as ``{connection, method, path, key, raw}``
* ``GET /-/told``: what its callbacks were answered with
* ``POST /-/forget``: none of them any more
* ``POST /-/close-idle``, ``POST /-/speak-idle``: close the idle connections, or say on each what nobody asked

Nothing but the standard library, and no HTTP library: what it sends is bytes.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

#: Bytes the bombs inflate to.
BOMB = 300 * 1024 * 1024

JSON_OK = b'{"ok": true}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came in."""

    connection: int
    method: str
    #: With the query, as sent.
    target: str
    raw: bytes

    @property
    def path(self) -> str:
        """The first segment of the path: which behaviour is asked for."""
        return urlsplit(self.target).path.split("/")[1]

    def header(self, name: str) -> str | None:
        """Return the first header of that name."""
        head = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1")
        for line in head.split("\r\n")[1:]:
            given, _, value = line.partition(":")
            if given.lower() == name:
                return value.strip()
        return None

    def asked(self, name: str) -> str:
        """Return a value of the query, "" when it is not given."""
        return parse_qs(urlsplit(self.target).query).get(name, [""])[0]

    def shown(self) -> dict[str, Any]:
        """Return what ``/-/seen`` says of it."""
        return {
            "connection": self.connection,
            "method": self.method,
            "path": self.target,
            "key": self.header("idempotency-key"),
            "raw": self.raw.decode("latin-1"),
        }


@dataclass(slots=True)
class Peer:
    """One connection, from this side."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    #: Requests read on it so far.
    requests: int = 0

    async def say(self, raw: bytes) -> None:
        """Send bytes."""
        self.writer.write(raw)
        await self.writer.drain()

    async def answer(self, status: str, body: bytes = JSON_OK, *headers: str) -> None:
        """Send a well-formed answer."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        await self.say("\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def read(self) -> Request | None:
        """Read one request; None when the other side is done."""
        try:
            first = await self.reader.readexactly(1)
            if first == b"\x16":  # a TLS handshake
                await self.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return None
            head = first + await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        request = Request(connection=self.number, method=method, target=target, raw=head)
        body = await self.reader.readexactly(int(request.header("content-length") or 0))
        self.requests += 1
        return Request(connection=self.number, method=method, target=target, raw=head + body)


#: Deals with one request; the connection is closed afterwards.
Behaviour = Callable[[Peer, Request], Awaitable[None]]


class KeepOpen(Exception):
    """Raised by a behaviour: the connection serves another request."""


BEHAVIOURS: dict[str, Behaviour] = {}
#: Keys that ``/first-then`` has seen.
KNOWN: set[str] = set()
#: What callbacks were answered with, oldest first.
TOLD: list[str] = []


def behaviour(name: str) -> Callable[[Behaviour], Behaviour]:
    """Register what a path does."""

    def register(function: Behaviour) -> Behaviour:
        BEHAVIOURS[name] = function
        return function

    return register


def canned(name: str, raw: bytes) -> None:
    """Register a path that sends these bytes and closes, which may meet the next request on its way."""

    async def send(peer: Peer, _request: Request) -> None:
        await peer.say(raw)

    BEHAVIOURS[name] = send


# --------------------------------------------------------------------------- well-formed answers


@behaviour("ok")
async def _ok(peer: Peer, _request: Request) -> None:
    await peer.answer("200 OK", JSON_OK, "Content-Type: application/json")
    raise KeepOpen


@behaviour("answer")
async def _answer(peer: Peer, request: Request) -> None:
    """Answer with the ``status``, ``body`` and ``header`` of the query."""
    header = request.asked("header")
    await peer.answer(request.asked("status"), request.asked("body").encode(), *([header] if header else []))
    raise KeepOpen


@behaviour("redirect")
async def _redirect(peer: Peer, request: Request) -> None:
    """Send to a page that says 200 to everything."""
    await peer.answer(f"{request.asked('status')} Moved", b"", "Location: /ok")
    raise KeepOpen


@behaviour("cookie")
async def _cookie(peer: Peer, _request: Request) -> None:
    await peer.answer("200 OK", JSON_OK, "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2; Path=/")
    raise KeepOpen


# --------------------------------------------------------------------------- answers that change, and callbacks


@behaviour("first-then")
async def _first_then(peer: Peer, request: Request) -> None:
    """Answer the first request of a key with ``first``, where 0 is none at all, and later ones with ``status``."""
    key = request.header("idempotency-key") or ""
    status = request.asked("status" if key in KNOWN else "first")
    KNOWN.add(key)
    if status == "0":
        return
    await peer.answer(status)
    raise KeepOpen


@behaviour("call-back")
async def _call_back(peer: Peer, request: Request) -> None:
    """Answer 202, but tell the ``outcomes`` before, one after the other; an @ in them stands for the 202."""
    for outcome in request.asked("outcomes").split(","):
        if outcome == "@":
            await peer.answer("202 Later", b"")
        else:
            await _tell(request.header("saga-callback") or "", outcome)
    raise KeepOpen


async def _tell(address: str, outcome: str) -> None:
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    body = json.dumps({"outcome": outcome})
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    TOLD.append((await reader.readline()).decode().split(" ")[1])
    await reader.read()
    writer.close()


# --------------------------------------------------------------------------- connections


@behaviour("close")
async def _close(_peer: Peer, _request: Request) -> None:
    """Close without an answer."""


@behaviour("reset")
async def _reset(peer: Peer, _request: Request) -> None:
    peer.reset()


@behaviour("second-dropped")
async def _second_dropped(peer: Peer, _request: Request) -> None:
    """Answer the first request on a connection, and close it in the moment the next one has come."""
    if peer.requests == 1:
        await peer.answer("204 No Content", b"")
        raise KeepOpen


@behaviour("second-reset")
async def _second_reset(peer: Peer, _request: Request) -> None:
    if peer.requests == 1:
        await peer.answer("204 No Content", b"")
        raise KeepOpen
    peer.reset()


@behaviour("half-close")
async def _half_close(peer: Peer, _request: Request) -> None:
    """Close the sending side in the middle of the answer, and keep listening."""
    await peer.say(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ok"')
    peer.writer.write_eof()
    await peer.reader.read()


@behaviour("silent")
async def _silent(peer: Peer, _request: Request) -> None:
    await peer.reader.read()


@behaviour("two-answers")
async def _two_answers(peer: Peer, _request: Request) -> None:
    """Answer one request twice, in one piece."""
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"
    await peer.say(one + JSON_OK + one + b'{"ok":false}')
    raise KeepOpen


# --------------------------------------------------------------------------- bodies


async def _for_ever(peer: Peer, piece: bytes, pause: float = 0) -> None:
    while not peer.writer.is_closing():
        await peer.say(piece)
        await asyncio.sleep(pause)


@behaviour("endless")
async def _endless(peer: Peer, _request: Request) -> None:
    await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await _for_ever(peer, b"10000\r\n" + b" " * 0x10000 + b"\r\n")


@behaviour("endless-error")
async def _endless_error(peer: Peer, _request: Request) -> None:
    await peer.say(b"HTTP/1.1 409 Conflict\r\n\r\n")
    await _for_ever(peer, b" " * 0x10000)


@behaviour("drip-body")
async def _drip_body(peer: Peer, request: Request) -> None:
    """Send a byte a second of a body that would take weeks."""
    status = request.asked("status") or "200"
    await peer.say(f"HTTP/1.1 {status} OK\r\nContent-Length: 1000000\r\n\r\n".encode())
    await _for_ever(peer, b" ", 1)


@behaviour("drip-headers")
async def _drip_headers(peer: Peer, _request: Request) -> None:
    await peer.say(b"HTTP/1.1 200 OK\r\nX-Long: ")
    await _for_ever(peer, b"x", 1)


@behaviour("continue-for-ever")
async def _continue(peer: Peer, _request: Request) -> None:
    await _for_ever(peer, b"HTTP/1.1 100 Continue\r\n\r\n", 0.01)


def _bomb(window: int) -> bytes:
    """Return about 300 KB that inflate to 300 MB."""
    zipper = zlib.compressobj(9, zlib.DEFLATED, window)
    start = zipper.compress(b"") + zipper.flush(zlib.Z_FULL_FLUSH)
    # After a full flush a block stands by itself, so that one can be repeated.
    block = zipper.compress(b" " * 0x100000) + zipper.flush(zlib.Z_FULL_FLUSH)
    return start + block * (BOMB // 0x100000) + zipper.flush()


@behaviour("gzip-bomb")
async def _gzip_bomb(peer: Peer, _request: Request) -> None:
    await peer.answer("200 OK", _bomb(31), "Content-Encoding: gzip")


@behaviour("deflate-bomb")
async def _deflate_bomb(peer: Peer, _request: Request) -> None:
    await peer.answer("200 OK", _bomb(15), "Content-Encoding: deflate")


@behaviour("bare-deflate-bomb")
async def _bare_deflate_bomb(peer: Peer, _request: Request) -> None:
    await peer.answer("200 OK", _bomb(-15), "Content-Encoding: deflate")


@behaviour("inflates-to-nothing")
async def _inflates_to_nothing(peer: Peer, _request: Request) -> None:
    """Send compressed bytes without end, of which nothing comes."""
    zipper = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = zipper.compress(b"") + zipper.flush(zlib.Z_FULL_FLUSH)
    await peer.say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + start)
    await _for_ever(peer, b"\x00\x00\x00\xff\xff" * 10000)


def _encoded(name: str, coding: str, body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    canned(name, head.encode() + body)


def _bare(body: bytes) -> bytes:
    return zlib.compress(body, wbits=-15)


_encoded("gzip", "gzip", gzip.compress(JSON_OK))
_encoded("deflate", "deflate", zlib.compress(JSON_OK))
_encoded("bare-deflate", "deflate", _bare(JSON_OK))
_encoded("gzip-cut", "gzip", gzip.compress(JSON_OK)[:-6])
_encoded("gzip-damaged", "gzip", gzip.compress(JSON_OK)[:-8] + bytes(8))
_encoded("gzip-and-more", "gzip", gzip.compress(JSON_OK) + b"more")
_encoded("not-gzip", "gzip", JSON_OK)
_encoded("unknown-encoding", "br", JSON_OK)
_encoded("twice-encoded", "gzip, gzip", gzip.compress(gzip.compress(JSON_OK)))
_encoded("empty-encoded", "gzip", b"")

canned("cut", b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ok": true}')
canned("to-the-end", b"HTTP/1.1 200 OK\r\n\r\n" + JSON_OK)
canned("bad-chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfour\r\n{}\r\n\r\n0\r\n\r\n")
canned("cut-chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}")
canned("bad-status-line", b"HTP/1.1 two hundred\r\n\r\n")
canned("not-http", b"220 mail.example ESMTP ready\r\n")
canned("huge-header", b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * 100_000 + b"\r\nContent-Length: 2\r\n\r\n{}")
canned("many-headers", b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 10_000 + b"Content-Length: 2\r\n\r\n{}")
canned("two-lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\n{}  ")
canned(
    "early-hints",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + JSON_OK,
)
canned(
    "foreign-header",
    b"HTTP/1.1 200 OK\r\nX-Name: J\xf6rg\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 0\r\n\r\n",
)


def _body(name: str, body: bytes) -> None:
    """Register a path that answers with this body and keeps the connection."""

    async def send(peer: Peer, _request: Request) -> None:
        await peer.answer("200 OK", body)
        raise KeepOpen

    BEHAVIOURS[name] = send


_body("html", b"<!doctype html><title>Log in</title>")
_body("bom", b"\xef\xbb\xbf" + JSON_OK)
_body("deep", b"[" * 100_000 + b"]" * 100_000)
_body("nan", b'{"price": NaN}')
_body("infinite", b'{"price": 1e999}')
_body("surrogate", b'{"name": "\\ud800"}')
_body("big-integer", b'{"amount": 123456789012345678901234567890}')
_body("just-fits", b'"' + b"x" * (1024 * 1024 - 2) + b'"')
_body("just-too-large", b'"' + b"x" * (1024 * 1024 - 1) + b'"')
_body("empty", b"")


# --------------------------------------------------------------------------- before a request is read


async def _accept_and_close(_peer: Peer) -> None:
    """Close what was accepted at once."""


async def _accept_and_reset(peer: Peer) -> None:
    peer.reset()


async def _accept_and_wait(peer: Peer) -> None:
    """Read nothing, say nothing."""
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads has it
    await asyncio.Event().wait()


BEFORE_READING: dict[str, Callable[[Peer], Awaitable[None]]] = {
    "accept-and-close": _accept_and_close,
    "accept-and-reset": _accept_and_reset,
    "accept-and-wait": _accept_and_wait,
}


# --------------------------------------------------------------------------- the program


@dataclass(slots=True)
class Hostile:
    """The participant: its connections and what it saw."""

    seen: list[Request] = field(default_factory=list)
    peers: dict[int, Peer] = field(default_factory=dict)
    accepted: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.accepted += 1
        peer = Peer(self.accepted, reader, writer)
        self.peers[peer.number] = peer
        try:
            await self._requests(peer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side went away: that is its right
        finally:
            del self.peers[peer.number]
            writer.close()

    async def _requests(self, peer: Peer) -> None:
        while request := await peer.read():
            if request.path == "-":
                await self._control(peer, request)
                return
            self.seen.append(request)
            try:
                await BEHAVIOURS[request.path](peer, request)
            except KeepOpen:
                continue
            return

    async def _control(self, peer: Peer, request: Request) -> None:
        others = [other for other in self.peers.values() if other is not peer]
        match unquote(request.target):
            case "/-/seen":
                await peer.answer("200 OK", json.dumps([one.shown() for one in self.seen]).encode())
                return
            case "/-/told":
                await peer.answer("200 OK", json.dumps(TOLD).encode())
                return
            case "/-/forget":
                self.seen.clear()
                KNOWN.clear()
                TOLD.clear()
            case "/-/close-idle":
                for other in others:
                    other.writer.close()
                    await other.writer.wait_closed()
            case "/-/speak-idle":
                for other in others:
                    await other.answer("200 OK", b'{"ok":"nobody asked"}')
        await peer.answer("204 No Content", b"")


def _before_reading(
    act: Callable[[Peer], Awaitable[None]],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await act(Peer(0, reader, writer))
        finally:
            writer.close()

    return serve


async def main(port: int = 0, pem: str | None = None) -> None:
    """Listen, print where, and serve until killed."""
    hostile = Hostile()
    servers = {"port": await asyncio.start_server(hostile.serve, "127.0.0.1", port)}
    if pem is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(pem)
        servers["tls"] = await asyncio.start_server(hostile.serve, "127.0.0.1", 0, ssl=tls)
    for name, act in BEFORE_READING.items():
        servers[name] = await asyncio.start_server(_before_reading(act), "127.0.0.1", 0)
    ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    print(json.dumps(ports), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int([*sys.argv, "0"][1]), *sys.argv[2:3]))
