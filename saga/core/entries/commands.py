"""What persons ask of a saga: every command is one of these, with who, when and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from saga.core.entries.base import Commanded
from saga.language.fields import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaPaused(Commanded):
    """Nothing is sent until it is resumed; what arrives is recorded."""

    kind: ClassVar[str] = "saga_paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaResumed(Commanded):
    """It goes on; timers go on from where they stood."""

    kind: ClassVar[str] = "saga_resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaCancelled(Commanded):
    """A person asked for backward recovery, and it begins."""

    kind: ClassVar[str] = "saga_cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaAbandoned(Commanded):
    """It ended with something left undone: by command, or because a compensation was skipped."""

    kind: ClassVar[str] = "saga_abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryCommanded(Commanded):
    """The named invocations are due now, each with a new budget."""

    kind: ClassVar[str] = "retry_commanded"
    #: ``<unit>:<phase>`` of each; empty: the saga as a whole, after an internal error.
    invocations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipCommanded(Commanded):
    """A person decided that this action or compensation shall not be done."""

    kind: ClassVar[str] = "skip_commanded"
    step: str
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveCommanded(Commanded):
    """A person found out what happened, or did it by hand."""

    kind: ClassVar[str] = "resolve_commanded"
    step: str
    phase: Phase
    outcome: Literal["succeeded", "refused", "undone"]
    output: Any = None
    #: A refusal that does not stop the saga (``on_refused: continue``).
    tolerated: bool = False
    #: A refusal past the pivot: known now, but still in the way.
    parked: bool = False
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandUnchanged(Commanded):
    """A command whose effect was there already."""

    kind: ClassVar[str] = "command_unchanged"
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRefused(Commanded):
    """A command that does not fit the saga as it is."""

    kind: ClassVar[str] = "command_refused"
    command: str
    #: Stable word for programs, such as ``pivot-passed``.
    type: str
    detail: str = ""
