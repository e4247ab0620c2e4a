"""What is owed for each outcome, and what becomes of a saga when its undoing is over or exhausted.

The rules follow the saga of Garcia-Molina and Salem (1987), with one addition for calls over a network:
an outcome that is not known is treated as *may have happened*.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, TypeAlias


class Effect(StrEnum):
    """What is known of an action's effect."""

    NEVER_INVOKED = "never invoked"
    REFUSED = "refused"  #: certainly no effect
    SKIPPED = "skipped"  #: not wanted, so not invoked
    SUCCEEDED = "succeeded"  #: it took effect
    UNCERTAIN = "uncertain"  #: it may have taken effect
    OPEN = "open"  #: its outcome is still to come


class Undo(StrEnum):
    """Where the compensation of an action is."""

    DUE = "due"  #: not begun
    MOVING = "moving"  #: begun: on the wire, or waiting for its next attempt or its outcome
    UNDONE = "undone"  #: amends are made, by the participant or by a person
    SKIPPED = "skipped"  #: a person decided to leave it
    FAILED = "failed"  #: exhausted: a person has to decide


#: In these the compensation is over and holds nothing back.
OVER = frozenset({Undo.UNDONE, Undo.SKIPPED})

_MAY_BE_THERE = frozenset({Effect.SUCCEEDED, Effect.UNCERTAIN, Effect.OPEN})

#: Where the undoing of a saga stands as a whole.
Standing: TypeAlias = Literal["moving", "compensated", "abandoned", "parked"]


def owed(effect: Effect, *, compensatable: bool) -> bool:
    """Return whether an action with that effect has to be undone.

    ``compensatable`` is False when its definition says that nothing is owed, whether or not it happened.
    An open action counts as one that may have happened.
    """
    return compensatable and effect in _MAY_BE_THERE


def why_not_owed(effect: Effect, undo: Undo, *, compensatable: bool) -> str | None:
    """Return why nothing is to be sent for the action, None when something is."""
    if effect not in _MAY_BE_THERE:
        return effect.value
    if not compensatable:
        return "needs no compensation"
    return undo.value if undo in OVER else None


def standing(undos: Iterable[Undo], *, moving: bool) -> Standing:
    """Return what becomes of a saga whose owed compensations stand so.

    ``moving`` says that something of the saga is still on its way, or can be started. While that is so nothing
    is concluded; after that a failed compensation parks the saga, and one skipped by a person means that it
    ended without being compensated.
    """
    seen = frozenset(undos)
    if moving or (seen & {Undo.DUE, Undo.MOVING} and Undo.FAILED not in seen):
        return "moving"
    if Undo.FAILED in seen:
        return "parked"
    return "abandoned" if Undo.SKIPPED in seen else "compensated"
