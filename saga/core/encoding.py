"""Entries as JSON: how they are stored, and what the API shows of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic_core import from_json, to_json

from saga.core.entries import FORMAT, KINDS, Entry
from saga.errors import NewerJournal, UnreadableJournal
from saga.ports.stored import DAMAGED


def _defaults(entry: type[Entry]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (item.name, item.default_factory() if item.default_factory is not MISSING else item.default)
        for item in fields(entry)
    )


_FIELDS = {entry: _defaults(entry) for entry in KINDS.values()}
_TUPLES = {
    entry: tuple(item.name for item in fields(entry) if str(item.type).startswith("tuple"))
    for entry in KINDS.values()
}


def as_dict(entry: Entry) -> dict[str, Any]:
    """Return the entry as a JSON object without the members that have their default."""
    shown: dict[str, Any] = {"kind": entry.kind}
    for name, default in _FIELDS[type(entry)]:
        value = getattr(entry, name)
        if value is default:
            continue
        # A default that equals the value but has another type (0 and False) must be kept.
        if value != default or type(value) is not type(default):
            shown[name] = value
    return shown


def encode(entry: Entry) -> bytes:
    """Return the entry as JSON."""
    return to_json(as_dict(entry))


def decode(body: bytes) -> Entry:
    """Return the entry that :func:`encode` wrote.

    Members that this release does not know are left out: a later release may have added them.
    Raises :class:`~saga.errors.UnreadableJournal` for a kind that is not known and for anything else.
    """
    try:
        members = from_json(body, allow_inf_nan=False)
        kind = members.pop("kind")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableJournal("what is stored is no entry") from error
    entry = KINDS.get(kind) if isinstance(kind, str) else None
    if entry is None:
        raise UnreadableJournal(f"this release knows no entry of the kind {kind!r}")
    try:
        known = {name: members[name] for name, _ in _FIELDS[entry] if name in members}
        for name in _TUPLES[entry]:
            if name in known:
                known[name] = tuple(known[name])
        for name, fits in _checks(kind):
            if name in known and not fits(known[name]):
                raise UnreadableJournal(f"an entry of the kind {kind!r} has another {name}")
        return entry(**known)
    except (TypeError, ValueError) as error:
        raise UnreadableJournal(f"an entry of the kind {kind!r} has other members") from error


_Fits: TypeAlias = Callable[[Any], bool]


@cache
def _checks(kind: str) -> tuple[tuple[str, _Fits], ...]:
    """Return what each member of an entry must be, so that the fold can reckon with it."""
    entry = KINDS[kind]
    hints = get_type_hints(entry)
    return tuple(
        (item.name, _fits(hints[item.name])) for item in fields(entry) if hints[item.name] is not Any
    )


def _fits(hint: Any) -> _Fits:
    """Return whether a value is of a type that entries have."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in inner
    if origin in (Union, UnionType):
        possible = [_fits(each) for each in inner]
        return lambda value: any(fits(value) for fits in possible)
    if origin is tuple:
        return lambda value: all(isinstance(each, str) for each in value)
    if origin is dict:
        return lambda value: (
            isinstance(value, dict) and all(type(each) in _SCALARS for each in value.values())
        )
    return _PLAIN[hint]


_SCALARS: Final = (str, int, float, bool)
#: The fold reckons with floats, which hold no whole number beyond this.
_BEYOND: Final = 2**53
_PLAIN: Final[dict[Any, _Fits]] = {
    str: lambda value: isinstance(value, str),
    bool: lambda value: isinstance(value, bool),
    int: lambda value: type(value) is int and abs(value) <= _BEYOND,
    float: lambda value: math.isfinite(value) if type(value) is float else _PLAIN[int](value),
    type(None): lambda value: value is None,
}


def read(version: int, bodies: Iterable[bytes]) -> tuple[Entry, ...]:
    """Return the entries of a journal of that format.

    Raises :class:`~saga.errors.NewerJournal` for a format of a later release, of which nothing is read: what is
    not known of it might be what matters.
    """
    if version > FORMAT:
        raise NewerJournal(
            f"its journal has format {version} and this release knows up to {FORMAT}: a later release runs it"
        )
    return tuple(_decoded(seq, body) for seq, body in enumerate(bodies, start=1))


def _decoded(seq: int, body: bytes) -> Entry:
    if body == DAMAGED:
        raise UnreadableJournal(f"entry {seq}: it is not what was written; the disk or the file is damaged")
    try:
        return decode(body)
    except UnreadableJournal as error:
        raise UnreadableJournal(f"entry {seq}: {error}") from error
