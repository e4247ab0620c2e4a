"""What a start asks for, which saga it is, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any

import uuid_utils

from saga.catalogue import Version
from saga.changes import Seen
from saga.ports.stored import Existing, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which saga a start is: what tells the same start, come again, from another one."""

    saga_id: str
    start_key: str | None
    #: Hash of the request as it was sent.
    fingerprint: str
    #: Whether it can be told at all: the client named an id or a start key.
    repeatable: bool


def identify(given: str | None, start_key: str | None, sent: bytes) -> Identity:
    """Return the identity of a start with this id or this start key, and this request as it was sent.

    The id is the given one, else a hash of the start key, else a new UUIDv7 (RFC 9562). An id made of the key
    makes the insert itself the proof that there is only one.
    """
    if given is not None:
        name = given
    elif start_key is not None:
        name = "key-" + sha256(start_key.encode()).hexdigest()[:40]
    else:
        name = str(uuid_utils.uuid7())
    return Identity(
        saga_id=name,
        start_key=start_key,
        fingerprint=blake2b(sent, digest_size=16).hexdigest(),
        repeatable=given is not None or start_key is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One request to start a saga."""

    definition: Version
    #: Made beforehand by whoever has to know the id before the saga is there.
    identity: Identity
    input: Any = None
    labels: Mapping[str, str | float | int | bool] | None = None
    #: Nothing is sent before, epoch seconds.
    start_at: float | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    rerun_of: str | None = None
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of a start."""

    saga_id: str
    #: False when this very start was accepted before: the saga is the same.
    created: bool
    #: The key or id belongs to a start with another body, or to a child saga.
    reused: bool = False
    #: The saga as it was started; None when it was there before.
    seen: Seen | None = None


def repeated(identity: Identity, existing: Existing | Record) -> Accepted:
    """Return the answer to a start whose id is taken: by the same start, or by another."""
    same = (existing.fingerprint, existing.start_key) == (identity.fingerprint, identity.start_key)
    return Accepted(saga_id=existing.id, created=False, reused=not same)
