"""Rules of addresses: where a ``Location`` may lead, and what is never connected to. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

#: Visible ASCII but the backslash, which some readers take for a slash.
_ADDRESS: Final = re.compile(r"[!-\[\]-~]{1,2000}")
_PORTS: Final = {"http": 80, "https": 443}


def same_host(base: str, location: str | None) -> str | None:
    """Return the absolute address a ``Location`` names, None when it leaves scheme, host or port of base.

    ``base`` is the address the request went to; a relative location is resolved against it (RFC 9110
    section 10.2.2). Fragment and user-info are dropped: what is kept of it is shown. What is malformed is None.
    """
    if location is None or not _ADDRESS.fullmatch(location):
        return None
    try:
        there = urlsplit(urljoin(base, location))
        same = _origin(there) == _origin(urlsplit(base))
    except ValueError:  # a port that is no number, a bracket left open
        return None
    return there._replace(fragment="", netloc=there.netloc.rpartition("@")[2]).geturl() if same else None


def _origin(address: SplitResult) -> tuple[str, str | None, int | None]:
    port = _PORTS.get(address.scheme) if address.port is None else address.port
    return address.scheme, address.hostname, port


#: Beside the link-local ones: the metadata service of a large cloud under IPv6.
_METADATA: Final = ip_address("fd00:ec2::254")
#: ``::/96``, ``::ffff:0:0/96`` and ``64:ff9b::/96``, in which the last four bytes are an IPv4 address.
_EMBEDDING: Final = frozenset(ip_address(prefix).packed[:12] for prefix in ("::", "::ffff:0:0", "64:ff9b::"))


def is_refused(host: str) -> bool:
    """Return whether the numeric address is link-local or a metadata service, however it is spelled."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.packed[:12] in _EMBEDDING:
            address = IPv4Address(address.packed[12:])
        else:
            address = address.sixtofour or address
    return address.is_link_local or address == _METADATA
