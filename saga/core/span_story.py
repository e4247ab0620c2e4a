"""What spans need to know of a saga, moved on entry by entry: far cheaper than the whole state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from saga.core import entries as e
from saga.core.entries.base import Cause, Via
from saga.core.state import SagaState, Trace
from saga.language.fields import Phase


class Running(NamedTuple):
    """A request on the wire, or an outcome that is promised."""

    attempt: int
    since: float
    via: Via
    promised: bool = False


Key: TypeAlias = tuple[str, Phase]


@dataclass(slots=True, kw_only=True)
class Story:
    """One saga, as far as its spans need it."""

    id: str
    definition: str
    version: int
    trace: Trace
    started_at: float
    late: bool = False
    #: Why it went backward.
    cause: Cause | None = None
    paused_at: float | None = None
    #: What is not in ``running`` is as it was here; what is promised there has stood still ``paused`` seconds.
    before: SagaState | None = None
    paused: float = 0.0
    running: dict[Key, Running | None] = field(default_factory=dict)
    #: Last attempt of each action.
    sent: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begun(cls, entry: e.SagaStarted) -> Story | None:
        """Return the story that begins with the entry; None when the saga has no trace."""
        if (trace := Trace.begun(entry)) is None:
            return None
        return cls(
            id=entry.saga, definition=entry.definition, version=entry.version, trace=trace,
            started_at=entry.at,
        )  # fmt: skip

    @classmethod
    def of(cls, state: SagaState) -> Story | None:
        """Return the story so far; None when the saga has no trace."""
        if state.trace is None:
            return None
        return cls(
            id=state.id, definition=state.definition, version=state.version, trace=state.trace,
            started_at=state.started_at, late=state.late, paused_at=state.paused_at, before=state,
            cause=state.failure.kind if state.failure is not None else None,
        )  # fmt: skip

    def runs(self, key: Key) -> Running | None:
        """Return what is on the wire or promised for a step and phase; None when nothing is."""
        if key in self.running or self.before is None:
            return self.running.get(key)
        invocation = self.before.step(key[0]).invocation(key[1])
        if invocation.open is not None:
            return Running(invocation.attempts, invocation.open.since, invocation.open.via)
        if invocation.pending is not None:
            return Running(invocation.attempts, invocation.pending.since + self.paused, "http", promised=True)
        return None

    def last_sent(self, step: str) -> int:
        """Return the number of the action's last attempt; 0 when there was none."""
        if step in self.sent or self.before is None:
            return self.sent.get(step, 0)
        return self.before.step(step).action.attempts

    def unpause(self, at: float) -> None:
        """Move what is promised later, as the state does with every timer."""
        if self.paused_at is None:
            return
        seconds = max(0.0, at - self.paused_at)
        self.paused_at = None
        self.paused += seconds
        for key, was in self.running.items():
            if was is not None and was.promised:
                self.running[key] = was._replace(since=was.since + seconds)
