"""What entries have in common: when, and of a command by whom, of an attempt which one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from saga.language.fields import Phase

#: How an invocation is carried out.
Via: TypeAlias = Literal["http", "worker", "child"]

Cause: TypeAlias = Literal[
    "refused",  # a definite no
    "uncertain",  # the outcome stayed unknown
    "unreachable",  # certainly not executed, until the attempts were used up
    "template",  # a reference found nothing
    "deadline",  # the deadline of the forward part has passed
    "cancelled",  # a person asked for it
    "signal-timeout",  # the awaited signal did not come
    "child",  # a child saga ended otherwise than needed
    "size",  # over a limit of size
    "output",  # an output has members that were not found
    "key-expired",  # the participant may have forgotten the key
    "internal",  # the coordinator could not go on
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact. Its kinds are those that :data:`saga.core.entries.KINDS` lists, and no others."""

    kind: ClassVar[str]
    #: Epoch seconds (UTC).
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Commanded(Entry):
    """What a person asked for, and what came of it."""

    by: str = ""
    reason: str = ""
    #: Id of the message that brought the command.
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfAttempt(Entry):
    """What became of one attempt of an action or a compensation."""

    step: str
    phase: Phase
    #: From 1.
    attempt: int
