"""Where what is written out comes from: problems are told at what a person has written.

A call inherits its service or address from its step's action, and its timeout and retries from the definition's
defaults. What is wrong with an inherited value is found in every call that inherits it, and is wrong in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from saga.language.model import SagaDefinition
from saga.language.pointers import keys, parent, value_at


def origin(at: str, document: Mapping[str, Any], definition: SagaDefinition) -> str:
    """Return where the value at a pointer into the normalised definition stands in the document as given.

    A value that stands nowhere is told at the innermost part of the document around it.
    """
    if _holds(document, at):
        return at
    found = next((each for each in _inherited(at, definition) if _holds(document, each)), at)
    while not _holds(document, found):
        found = parent(found)
    return found


def _holds(document: Any, at: str) -> bool:
    return value_at(document, keys(at), _ABSENT) is not _ABSENT


_ABSENT: Final = object()


def _inherited(at: str, definition: SagaDefinition) -> Iterator[str]:
    """Yield the places a value of a call may come from, the nearest first."""
    parts = keys(at)
    if parts[0] != "steps" or len(parts) < 4:
        return
    step, call, *rest = parts[1:]
    if call == "compensation" and rest in (["service"], ["url"]):
        yield f"/steps/{step}/action/{rest[0]}"
    if rest[0] == "worker":
        rest = rest[1:]
    if rest[:1] in (["timeout"], ["retry"]):
        retriable = definition.position(definition.steps[int(step)].name) == "after"
        own = call == "compensation" or (retriable and rest[0] == "retry")
        above = "/".join(["/defaults", "compensation" if own else "action", *rest])
        # The longest wait is compared with the first, and only one of the two need be given.
        yield from (
            (f"{parent(at)}/initial", above, f"{parent(above)}/initial") if rest[1:] == ["max"] else (above,)
        )
