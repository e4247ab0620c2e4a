"""Who may do what: bearer tokens, and the checks that keep a web page from using a local coordinator.

A browser sends requests to any address a page names. It says truly which page that was (``Origin``) and which
name it asked for (``Host``), so a page elsewhere can neither write here nor, by a name that suddenly resolves to
this machine (DNS rebinding), read here.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web

from saga.api.keys import SETTINGS
from saga.api.refusal import Refusal
from saga.settings import Settings

Role: TypeAlias = Literal["reader", "operator", "admin"]

#: Who did it, for journals.
WHO: Final = web.RequestKey("who", str)

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Machines that look after machines ask by numeric address.
ANY_HOST: Final = frozenset({"/healthz", "/readyz"})


def check_bearer(request: web.Request, role: Role) -> None:
    """Refuse a request without the bearer its route needs; note who it is from.

    This release knows one token, the administrator's, which includes every role.
    """
    token = request.app[SETTINGS].admin_token
    if token is None:
        request[WHO] = "local"
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    said = given.strip().encode("utf-8", "replace")
    if scheme.lower() != "bearer" or not hmac.compare_digest(said, token.encode()):
        challenge = {"WWW-Authenticate": 'Bearer realm="saga"'}
        raise Refusal("unauthorized", f"a bearer token with the role {role} is needed", headers=challenge)
    request[WHO] = "admin"


def who(request: web.Request) -> str:
    """Return who sent the request, for the journal."""
    found: str = request.get(WHO, "anonymous")
    return found


def check_host(request: web.Request) -> None:
    """Refuse a Host this coordinator does not go by, and a write that a page elsewhere has sent."""
    settings, host = request.app[SETTINGS], request.headers.get("Host", "")
    if not _is_ours(settings, host) and request.path not in ANY_HOST:
        detail = "this coordinator does not go by that Host: add the name to SAGA_ALLOWED_HOSTS"
        raise Refusal("host-not-allowed", detail)
    if request.method not in READS:
        _check_origin(settings, request, host)


def _check_origin(settings: Settings, request: web.Request, host: str) -> None:
    origin = request.headers.get("Origin")
    if origin is None:
        elsewhere = request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
    else:
        elsewhere = not _is_same_origin(settings, origin, host)
    if elsewhere:
        raise Refusal("origin-not-allowed", "a page of another origin may not write here")


def _is_same_origin(settings: Settings, origin: str, host: str) -> bool:
    there = origin.partition("://")[2].lower()
    if there == host.lower():
        return True
    public = urlsplit(settings.callback_url).netloc.lower()
    return there in (public, *settings.allowed_hosts)


@lru_cache(maxsize=1024)
def _ours(settings_host: str, public_url: str, allowed: tuple[str, ...], host: str) -> bool:
    name = _name(host)
    if name is None:
        return False
    if name in _LOOPBACK or "*" in allowed or {name, host.lower()} & set(allowed):
        return True
    if name in (settings_host.lower(), urlsplit(public_url).hostname):
        return True
    # A number is no name that could be made to resolve to something else.
    return settings_host not in _LOOPBACK and _is_number(name)


def _is_ours(settings: Settings, host: str) -> bool:
    return _ours(settings.host, settings.callback_url, settings.allowed_hosts, host)


def _name(host: str) -> str | None:
    """Return the name or number of a Host header, without its port; None when it is none."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018 - raises when it is none
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return parts.hostname


def _is_number(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
