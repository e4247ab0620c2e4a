"""Which addresses are never connected to; where a Location may lead is among the outcomes."""

from __future__ import annotations

import pytest

from saga.core.addresses import is_refused


@pytest.mark.parametrize(
    "host",
    [
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
    ],
)
def test_link_local_and_metadata_addresses_are_refused(host: str) -> None:
    """However they are spelled, or wrapped into IPv6."""
    assert is_refused(host)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.253.1.1", "8.8.8.8", "::1", "::ffff:10.0.0.1", "fd00::1"],
)
def test_private_addresses_are_not(host: str) -> None:
    """Participants live on private networks."""
    assert not is_refused(host)
