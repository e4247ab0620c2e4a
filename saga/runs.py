"""A saga in memory: what its owner knows of it, what arrives for it, and what a turn of it allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from saga.core.decider import Invoke
from saga.core.outcomes import Outcome
from saga.core.state import SagaState
from saga.language.fields import Phase
from saga.language.model import SagaDefinition
from saga.ports.stored import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """The outcome of an attempt (its number), or of a poll (None)."""

    step: str
    phase: Phase
    attempt: int | None
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """The saga was claimed: what its last owner had open is in doubt."""


Event: TypeAlias = Arrived | TakenOver


@dataclass(slots=True, eq=False)
class Run:
    """A saga in memory: what its owner knows of it."""

    lease: Lease
    definition: SagaDefinition
    state: SagaState
    #: What has arrived and is not in the journal.
    events: list[Event] = field(default_factory=list)
    #: Messages may wait in the inbox.
    inbox: bool = False
    #: Requests and polls on the wire.
    in_flight: int = 0
    #: When each pending invocation was last asked for its outcome; ``inf`` while it is being asked.
    polled: dict[tuple[str, Phase], float] = field(default_factory=dict)
    #: A turn is under way; another is wanted after it.
    turning: bool = False
    again: bool = False
    #: This node does not own it any more.
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PollDue:
    """A pending invocation whose outcome is to be asked for."""

    step: str
    phase: Phase
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a turn allows."""

    #: Intents that are durable: send these.
    invocations: Sequence[Invoke]
    polls: Sequence[PollDue]
    #: When to have another turn, None when only an event calls for one.
    wake_at: float | None
    #: Invocations that were due and found no free place.
    held_back: int
    #: The saga was put down or has ended: this node holds it no more.
    released: bool
