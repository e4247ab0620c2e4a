"""Sends requests to participants: the only HTTP client of them.

One call is one request on the wire. What an HTTP client does beyond that by itself is off or bounded here:

* **A dropped connection is never answered by sending again.** aiohttp repeats PUT, DELETE and GET; a
  middleware takes those errors out of its sight. It does take another connection of the pool when the one it
  was given had gone bad *before* a byte was handed over, for then nothing has been sent.
* **Certain or not.** :class:`~saga.ports.invoker.NotSent` is claimed only while no byte can have left: until the
  connection is made, TLS included, and the request is handed to it. Everything later that brings no
  status is :class:`~saga.ports.invoker.NoAnswer`, a reset on a reused connection too: a participant that closes an
  idle connection and one that dies at work look the same from here.
* **A stray answer is nobody's.** What a participant says on an idle connection (a 408 on its way out, a
  second answer) would be taken as the answer to the next request; such a connection is not used again.
* **Redirects, cookies, proxies from the environment:** none.
* **Time** is bounded as a whole, so that a byte a second does not hold it up; making a connection is
  bounded by three seconds within it.
* **Bodies** are inflated by us, a megabyte at most, and never more in memory than that and one chunk.
* **Addresses** are checked when connecting, after the name was resolved: link-local ones, where clouds
  keep their metadata, are refused.
* **Names** are resolved in threads of their own, one a name: a resolver that hangs for one participant
  holds up no other, nor the end of the process.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, Final
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import AddrInfoType, Connection
from yarl import URL

from saga.core.addresses import is_refused
from saga.core.bodies import Collector, Fault, Unreadable
from saga.core.headers import OURS, attempt_headers
from saga.ports.invoker import Answer, Answered, Invocation, NoAnswer, NotSent, Poll

#: Seconds to make a connection in: resolving, connecting, TLS.
CONNECT_TIMEOUT: Final = 3.0
#: Seconds an idle connection is kept for the next request.
KEEP_ALIVE: Final = 60.0
#: Seconds an address is used before its name is resolved again.
DNS_TTL: Final = 300


class HttpInvoker:
    """Invoke participants over HTTP/1.1, on connections that are kept alive.

    It may be made outside an event loop and belongs to the first one it is used in. ``tls`` replaces the
    default context (system authorities, host names checked). ``connections`` bounds the open ones, 0 not at
    all: whoever calls bounds the calls, and a shared pool would let one slow participant starve the others.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, connections: int = 0) -> None:
        self._tls = tls
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._deadlines: set[asyncio.Timeout] = set()

    async def invoke(self, invocation: Invocation) -> Answer:
        """Send exactly one request and return what came of it; raises nothing but cancellation.

        Of the invocation's own headers those that would change the framing or pass for ours are left out.
        """
        try:
            headers = attempt_headers(invocation)
        except (ValueError, OverflowError, OSError) as error:  # of times: which one depends on the platform
            return NotSent(detail=f"the request cannot be made: {error}")
        return await self._exchange(
            invocation.method, invocation.url, headers, invocation.body, invocation.timeout
        )

    async def poll(self, poll: Poll) -> Answer:
        """Ask once about a pending invocation."""
        headers = {**OURS, **poll.headers}
        return await self._exchange("GET", poll.url, headers, None, poll.timeout)

    async def close(self) -> None:
        """Close the connections, and end the calls in flight at once; closing twice changes nothing."""
        self._closed = True
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(0)
        if self._session is not None:
            await self._session.close()

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limit: float
    ) -> Answer:
        if self._closed:
            return NotSent(detail=_STOPPING)
        address = _address(url)
        if address is None:
            return NotSent(detail="the address is malformed, or not percent-encoded")
        wire, deadline = _Wire(headers), asyncio.timeout(limit)
        self._deadlines.add(deadline)
        try:
            async with deadline:
                response = await self._open().request(
                    method,
                    address,
                    data=body,
                    skip_auto_headers=_NO_TYPE if body is None else None,
                    allow_redirects=False,
                    timeout=_timeouts(limit),
                    middlewares=(wire,),
                )
                await wire.read(response)
        except Exception as error:  # noqa: BLE001 - whatever it is has to become an answer
            return wire.failed(error, _STOPPING if self._closed else None)
        finally:
            self._deadlines.discard(deadline)
        return wire.answered()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections,
                    limit_per_host=0,
                    keepalive_timeout=KEEP_ALIVE,
                    ttl_dns_cache=DNS_TTL,
                    resolver=_Resolver(),
                    socket_factory=_socket,
                    ssl=True if self._tls is None else self._tls,
                ),
                request_class=_Request,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


# address

_STOPPING: Final = "the coordinator is stopping"
_VISIBLE: Final = re.compile(r"[!-~]+")
_NO_TYPE: Final = ("Content-Type",)


def _address(url: str) -> URL | None:
    """Return the address with its path as it is given, None when it cannot stand in a request line."""
    try:
        return URL(url, encoded=True) if _VISIBLE.fullmatch(url) else None
    except ValueError:  # a port that is none, a bracket left open
        return None


# one request on its way

#: Connections that had gone bad before anything was sent on them, for one request.
_BAD_CONNECTIONS: Final = 8


class _Stale(Exception):
    """A connection of the pool has gone bad while it was idle, and nothing was sent on it."""


class _Lost(Exception):
    """The request failed; the cause says how. Not an error aiohttp knows, so it does not send again."""


#: Connections on which a request was sent.
_USED: Final[WeakSet[ResponseHandler]] = WeakSet()


class _Request(aiohttp.ClientRequest):
    """Know whether any of the request may have left."""

    sent = False

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        protocol = conn.protocol
        if protocol is None or _is_bad(protocol):
            raise _Stale if protocol in _USED else aiohttp.ServerDisconnectedError
        _USED.add(protocol)
        self.sent = True
        try:
            return await super().send(conn)
        except (aiohttp.ClientConnectionResetError, ValueError):
            # Raised before the first byte is handed over: the connection is closing, or a header is
            # forbidden. Whatever fails after that comes out of reading the answer.
            self.sent = False
            raise


def _is_bad(protocol: ResponseHandler) -> bool:
    """Say whether a connection was closed, or carries bytes that no request of ours asked for.

    The event loop may not have seen either yet, so the connection itself is asked.
    """
    transport = protocol.transport
    if transport is None or transport.is_closing() or protocol.should_close:
        return True
    if protocol not in _USED and transport.get_extra_info("sslcontext") is not None:
        return False  # what waits on a new connection is the rest of the handshake
    waiting = select.poll()
    waiting.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(waiting.poll(0))


class _Wire:
    """Follow one request, and say what came of it."""

    __slots__ = ("_body", "_headers", "_request", "_response")

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._request: aiohttp.ClientRequest | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._body = Collector(None)

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Stand between aiohttp's loop of repetitions and the connection: it never sees a reason to repeat."""
        self._request = request
        request.headers.update(
            self._headers
        )  # here and not with the request, where it costs a tenth of a call
        for _ in range(_BAD_CONNECTIONS):
            try:
                return await handler(request)
            except _Stale:
                continue
            except (aiohttp.ClientError, OSError) as error:
                raise _Lost from error
        raise _Lost from ConnectionError("no connection of the pool could be used")

    async def read(self, response: aiohttp.ClientResponse) -> None:
        """Read the whole body; raises when it is cut, too large or does not inflate."""
        self._response = response
        self._body = body = Collector(response.headers.get("Content-Encoding"))
        content = response.content
        try:
            while not content.at_eof():
                body.feed(await content.readany())
            body.end()
        finally:
            # The connection of a response that was read to its end is back in the pool already; any other
            # must not be used again.
            response.close()

    def answered(self, fault: Fault | None = None) -> Answered:
        """Return the answer; its status must have been seen."""
        response = self._response
        if response is None:  # pragma: no cover - the callers look first
            raise ValueError("there is no answer")
        headers, body = _plain(response.headers), bytes(self._body.read)
        return Answered(status=response.status, headers=headers, body=body, fault=fault)

    def failed(self, error: Exception, why: str | None = None) -> Answer:
        """Return what the error makes of the request; ``why`` replaces the error's own words."""
        if self._response is not None:
            if isinstance(error, Unreadable):
                return self.answered(error.fault)
            return self.answered("slow" if isinstance(error, TimeoutError) and why is None else "cut")
        if isinstance(error, _Lost) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        detail = why or _why(error, sent=self._may_be_sent())
        return NoAnswer(detail=detail) if self._may_be_sent() else NotSent(detail=detail)

    def _may_be_sent(self) -> bool:
        if self._request is None:
            return False
        return not isinstance(self._request, _Request) or self._request.sent


@lru_cache(maxsize=256)
def _timeouts(timeout: float) -> aiohttp.ClientTimeout:
    """Bound the connection only; the whole is bounded by our own deadline."""
    connect = min(CONNECT_TIMEOUT, timeout)
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect)


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    """Return names in lower case and values that are text: bytes that are not UTF-8 are replaced."""
    plain: dict[str, str] = {}
    for given, raw in headers.items():
        name, value = given.lower(), raw
        if not raw.isascii():
            value = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        plain[name] = f"{plain[name]}, {value}" if name in plain else value
    return plain


#: Said of errors that have nothing of their own to say.
_WORDS: Final = (
    (aiohttp.ClientResponseError, "the answer is not HTTP"),
    (aiohttp.ServerDisconnectedError, "the connection was closed before an answer"),
    (aiohttp.InvalidURL, "the address is malformed"),
)


def _why(error: Exception, *, sent: bool) -> str:
    """Return a few words for a person; never an address, which may hold a secret."""
    if isinstance(error, TimeoutError):
        return "no answer in time" if sent else "no connection in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unconnected(error)
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    if isinstance(error, OSError):
        return _os_error(error)
    return f"{type(error).__name__}: {error}" if isinstance(error, ValueError) else type(error).__name__


def _unconnected(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"name not found: {error.host}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        return f"TLS failure: {getattr(cause, 'verify_message', None) or cause}"
    kind = "TLS failure" if isinstance(error.os_error, ssl.SSLError) else "no connection"
    return f"{kind}: {_os_error(error.os_error)}"


def _os_error(error: OSError) -> str:
    if error.errno is None or isinstance(error, (ssl.SSLError, PermissionError)):
        return error.strerror or str(error) or type(error).__name__
    return os.strerror(error.errno).lower()


# connections


class _Resolver(AbstractResolver):
    """Resolve each name in a thread of its own, which does not hold up the end of the process.

    aiohttp asks once for a name however many wait for it, so there are no more threads than names.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name; raises ``OSError`` when there is none."""
        found: Future[list[Any]] = Future()
        threading.Thread(
            target=_look_up, args=(found, host, port, family), name=f"resolve-{host}", daemon=True
        ).start()
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in await asyncio.wrap_future(found)
        ]

    async def close(self) -> None:
        """Do nothing: a thread ends with its look-up."""


def _look_up(found: Future[list[Any]], host: str, port: int, family: int) -> None:
    if not found.set_running_or_notify_cancel():
        return
    try:
        addresses = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
    except (OSError, UnicodeError) as error:  # the latter: a label that is no name
        found.set_exception(error if isinstance(error, OSError) else socket.gaierror(str(error)))
    else:
        found.set_result(addresses)


def _socket(address: AddrInfoType) -> socket.socket:
    """Make a socket for an address that was resolved; raises ``PermissionError`` for one that is refused."""
    family, kind, proto, _, (host, *_) = address
    if is_refused(str(host)):
        raise PermissionError(errno.EACCES, f"{host} is a link-local or metadata address")
    return socket.socket(family=family, type=kind, proto=proto)
