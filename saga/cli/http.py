"""The HTTP API as the command line calls it: one request at a time, with the standard library.

Redirects are not followed, because the token would go along; a server on this machine is asked without a proxy.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from saga.cli.failures import Failure, Refused, Unreachable

#: Seconds without a byte after which an answer is given up; the server waits up to 60 s for a saga.
TIMEOUT = 75.0
#: Largest answer that is read.
_LARGEST = 64 * 1024 * 1024
_LOST = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said, when it said yes."""

    status: int
    headers: Mapping[str, str]
    #: The JSON value; None when there is no body.
    body: Any


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: it is an answer like any other, and an unexpected one."""


class Api:
    """A coordinator's HTTP API under one base address."""

    def __init__(self, base: str, token: str | None) -> None:
        self.base = base.rstrip("/")
        self._token = token
        self._opener = urllib.request.build_opener(_NoRedirect, *_proxies(_checked(self.base)))

    def get(self, path: str, **query: Any) -> Any:
        """Return what is there."""
        return self.send("GET", path, query=query).body

    def items(self, path: str, **query: Any) -> Iterator[Mapping[str, Any]]:
        """Yield the items of a list, page after page."""
        cursor: str | None = None
        while True:
            page = self.get(path, **query, cursor=cursor)
            yield from page["items"]
            cursor = page.get("next")
            if cursor is None:
                return

    def post(self, path: str, body: Any, **query: Any) -> Answer:
        """Send JSON."""
        return self.send("POST", path, body, query=query)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; bytes go out as they are, anything else as JSON.

        Raises:
            Refused: the server said no.
            Unreachable: there was no answer, or none of a coordinator.
        """
        request = self._request(method, path, body, query or {}, headers or {})
        try:
            with self._open(request) as response:
                return Answer(response.status, _lower(response.headers), self._json(response.read(_LARGEST)))
        except _LOST as error:
            raise self._unreachable(error) from error

    def _request(
        self, method: str, path: str, body: Any, query: Mapping[str, Any], headers: Mapping[str, str]
    ) -> urllib.request.Request:
        given = {name: value for name, value in query.items() if value is not None}
        url = f"{self.base}{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Accept": "application/json", "User-Agent": "saga-cli"}
        sent |= {"Content-Type": "application/json"} if content is not None else {}
        sent |= {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return urllib.request.Request(url, content, {**sent, **headers}, method=method)  # noqa: S310 -- checked in _checked

    def _open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error.code, error.read(_LARGEST)) from None
        return response

    def _refused(self, status: int, body: bytes) -> Failure:
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if isinstance(document, dict) and status >= 400:
            return Refused(status, document)
        return Unreachable(f"{self.base} answered {status}, and not as a coordinator does; check --server")

    def _json(self, body: bytes) -> Any:
        try:
            return json.loads(body) if body else None
        except ValueError:
            raise Unreachable(f"{self.base} answers, but not as a coordinator does; check --server") from None

    def _unreachable(self, error: Exception) -> Unreachable:
        reason = getattr(error, "reason", error)
        why = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        hint = "is it running? start one with 'saga serve', or name another with --server or SAGA_URL"
        # Not even connected: nothing can have arrived.
        lost = not isinstance(reason, ConnectionRefusedError | socket.gaierror | ssl.SSLError)
        return Unreachable(f"no answer from {self.base} ({why}); {hint}", lost=lost)


def _checked(base: str) -> str:
    """Return the host of a base address."""
    try:
        parts = urlsplit(base)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        named = False
    if not named or parts.query or parts.fragment or parts.username is not None:
        raise Failure(f"{base!r} is no address of a server: write it as http://127.0.0.1:7242")
    return parts.hostname or ""


def _proxies(host: str) -> list[urllib.request.BaseHandler]:
    here = host == "localhost" or host.startswith("127.") or host == "::1"
    return [urllib.request.ProxyHandler({})] if here else []


def _lower(headers: http.client.HTTPMessage) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
