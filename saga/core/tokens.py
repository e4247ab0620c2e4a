"""Callback tokens: which invocation a callback is about, and the proof that this coordinator said so.

A token is the invocation in base64url, a dot, and an HMAC-SHA256 over it (RFC 2104) in base64url. Nothing is
looked up, so a token is valid on every coordinator that shares the store's key, across attempts and restarts.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from saga.language.fields import Phase

_PHASES: dict[str, Phase] = {"a": "action", "c": "compensation"}
_LETTERS: dict[Phase, str] = {"action": "a", "compensation": "c"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressed:
    """The invocation a token stands for."""

    saga_id: str
    step: str
    phase: Phase


def make_token(secret: bytes, addressed: Addressed) -> str:
    """Return the token of an invocation."""
    said = _encode(f"{_LETTERS[addressed.phase]}{addressed.step}/{addressed.saga_id}".encode())
    return f"{said}.{_encode(_proof(secret, said))}"


def read_token(secret: bytes, token: str) -> Addressed | None:
    """Return the invocation, None for a token that was altered or is not ours; compares in constant time."""
    said, dot, proof = token.partition(".")
    if not dot or not token.isascii() or not hmac.compare_digest(_encode(_proof(secret, said)), proof):
        return None
    text = urlsafe_b64decode(said + "=" * (-len(said) % 4)).decode()
    step, _, saga_id = text[1:].partition("/")
    return Addressed(saga_id=saga_id, step=step, phase=_PHASES[text[0]])


def _proof(secret: bytes, said: str) -> bytes:
    proof = _keyed(secret).copy()
    proof.update(said.encode())
    return proof.digest()


@lru_cache(maxsize=8)
def _keyed(secret: bytes) -> hmac.HMAC:
    # A copy of what has taken the key already: hmac.digest lets go of the interpreter for each proof, and then waits
    # until another thread lets go of it in turn.
    return hmac.new(secret, digestmod=sha256)


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
