"""The port to whoever watches: what a trace collector is told, and nobody when there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from saga.core.entries import Entry
    from saga.core.state import SagaState


@dataclass(slots=True, kw_only=True)
class SpanCounters:
    """What became of the spans so far."""

    exported: int = 0
    #: The queue was full, or closed.
    dropped: int = 0
    #: The collector did not take them.
    failed: int = 0

    @property
    def lost(self) -> int:
        """Return how many are nowhere."""
        return self.dropped + self.failed


class Telemetry(Protocol):
    """Tells a trace collector what sagas did; no saga waits for it or is harmed by it."""

    counters: SpanCounters

    def sample(self, client_sampled: bool | None, trace_id: str) -> bool:  # noqa: FBT001 - a header's flag
        """Return whether a new saga's trace is exported; ``client_sampled`` is the client's flag, if any."""

    def recorded(self, entries: Sequence[Entry], before: SagaState | None, after: SagaState) -> None:
        """Take note of entries that are durable; costs microseconds, never raises and never blocks."""

    def taken_over(self, entries: Sequence[Entry]) -> None:
        """Take note of a whole journal this node now owns: its last owner may not have exported it."""

    async def close(self) -> None:
        """Send what is queued, within one second whatever the collector does; closing twice changes nothing."""


class NoTelemetry:
    """Exports nothing; a client's wish to sample is passed on to the participants."""

    def __init__(self) -> None:
        self.counters = SpanCounters()

    def sample(self, client_sampled: bool | None, trace_id: str) -> bool:  # noqa: ARG002, FBT001 - as above
        """Return the client's flag."""
        return bool(client_sampled)

    def recorded(self, entries: Sequence[Entry], before: SagaState | None, after: SagaState) -> None:
        """Do nothing."""

    def taken_over(self, entries: Sequence[Entry]) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""
