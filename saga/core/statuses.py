"""Where a saga, a step's action and a step's compensation can be."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

Direction: TypeAlias = Literal["forward", "backward"]


class Status(StrEnum):
    """Where a saga is."""

    RUNNING = "running"  #: goes forward
    COMPENSATING = "compensating"  #: goes backward
    PAUSED = "paused"  #: sends nothing until it is resumed
    PARKED = "parked"  #: waits for a person to decide
    COMPLETED = "completed"  #: ended: every step is done
    COMPENSATED = "compensated"  #: ended: everything owed is undone
    ABANDONED = "abandoned"  #: ended: something was left undone, on purpose


class StepStatus(StrEnum):
    """Where a step's action is."""

    PENDING = "pending"  #: not reached
    INVOKING = "invoking"  #: a request is on the wire, or its instances are at work
    WAITING = "waiting"  #: for its next attempt, an outcome, a time, a signal or a child
    SUCCEEDED = "succeeded"  #: it took effect
    REFUSED = "refused"  #: it certainly did not
    UNCERTAIN = "uncertain"  #: nobody knows
    SKIPPED = "skipped"  #: not wanted


class UndoStatus(StrEnum):
    """Where a step's compensation is."""

    PENDING = "pending"  #: not reached, or not owed
    INVOKING = "invoking"  #: a request is on the wire
    WAITING = "waiting"  #: for its next attempt, or an outcome
    UNDONE = "undone"  #: the participant made amends
    FAILED = "failed"  #: exhausted: a person decides
    SKIPPED = "skipped"  #: a person decided to leave it
    RESOLVED = "resolved"  #: a person did it by hand


#: Compensations in these statuses are over and hold nothing back.
UNDO_OVER = frozenset({UndoStatus.UNDONE, UndoStatus.SKIPPED, UndoStatus.RESOLVED})
