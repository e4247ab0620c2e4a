"""What is left of a saga whose journal cannot be read to its end by this release: what stands before the fault.

Behind it nothing is certain, neither what an entry means nor whether something in it is sensitive.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from saga.core import views
from saga.core.encoding import decode
from saga.core.entries import FORMAT, Entry
from saga.core.journal import evolve
from saga.core.state import SagaState
from saga.language.model import SagaDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """A journal, and how far it can be read."""

    bodies: Sequence[bytes]
    #: The entries that can be read, from the first on.
    entries: tuple[Entry, ...]
    #: Where they lead to; None when there are none.
    state: SagaState | None


def remains(version: int, bodies: Sequence[bytes]) -> Remains:
    """Return as much of a journal of that format as can be read; of the format of a later release, nothing."""
    entries: list[Entry] = []
    state: SagaState | None = None
    for body in bodies if version <= FORMAT else ():
        try:
            entry = decode(body)
            state = evolve(state, entry)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it ends here
            break
        entries.append(entry)
    return Remains(bodies=bodies, entries=tuple(entries), state=state)


def journal(left: Remains, definition: SagaDefinition | None) -> list[dict[str, Any]]:
    """Return every entry as the API shows it, one that cannot be read as ``{seq, at, kind, raw}``.

    What such a one holds is shown, as ``raw``, when the saga's definition calls nothing sensitive; where the
    definition is not known (None), nothing is.
    """
    if definition is None or left.state is None:
        return [_unread(seq, body, plain=False) for seq, body in enumerate(left.bodies, start=1)]
    shown = views.journal(definition, left.state, left.entries)
    rest = enumerate(left.bodies[len(shown) :], start=len(shown) + 1)
    return shown + [_unread(seq, body, plain=not definition.conceals) for seq, body in rest]


def _unread(seq: int, body: bytes, *, plain: bool) -> dict[str, Any]:
    try:
        value = from_json(body)
    except ValueError:
        value = body.decode(errors="replace")
    said = value if isinstance(value, dict) else {}
    at, kind = None, said.get("kind")
    with suppress(TypeError, ValueError, OverflowError, OSError):
        at = views.when(said.get("at"))
    return {
        "seq": seq,
        "at": at,
        "kind": kind if isinstance(kind, str) else "unreadable",
        "raw": value if plain else None,
    }
