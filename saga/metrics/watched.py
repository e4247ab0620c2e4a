"""Wrappers around the ports: whoever is watched knows nothing of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar, cast

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.state import SagaState
from saga.errors import StoreError, StoreUnavailable, StoreUnknown
from saga.metrics.instruments import Metrics
from saga.ports.clock import Clock
from saga.ports.invoker import Answer, Answered, Invocation, Invoker, NoAnswer, Poll
from saga.ports.store import Store
from saga.ports.stored import Append, Existing, Lease, NewSaga
from saga.ports.telemetry import Telemetry

#: Stands for the service of a call that names an address instead.
BY_URL: Final = "(url)"

P = ParamSpec("P")
T = TypeVar("T")


# what sagas did


class MeteredTelemetry:
    """Counts what becomes durable, and passes it on."""

    def __init__(self, inner: Telemetry, metrics: Metrics) -> None:
        self._inner, self._metrics = inner, metrics
        self.counters = inner.counters

    def sample(self, client_sampled: bool | None, trace_id: str) -> bool:  # noqa: FBT001 - a header's flag
        """Return whether a new saga's trace is exported."""
        return self._inner.sample(client_sampled, trace_id)

    def recorded(self, entries: Sequence[Entry], before: SagaState | None, after: SagaState) -> None:
        """Count the entries."""
        for entry in entries:
            count = _COUNT.get(type(entry))
            if count is not None:
                count(self._metrics, entry, after)
        self._inner.recorded(entries, before, after)

    def taken_over(self, entries: Sequence[Entry]) -> None:
        """Count a saga that was taken on."""
        self._metrics.claims.add()
        self._inner.taken_over(entries)

    async def close(self) -> None:
        """Close the other."""
        await self._inner.close()


_Count: TypeAlias = Callable[[Metrics, Any, SagaState], None]


def _ended(status: str) -> _Count:
    def count(metrics: Metrics, entry: Entry, state: SagaState) -> None:
        metrics.ends.add(state.definition, status)
        metrics.durations.add(max(0.0, entry.at - state.started_at), state.definition, status)

    return count


def _over(outcome: str) -> _Count:
    return lambda metrics, entry, state: metrics.attempts.add(state.definition, entry.phase, outcome)


def _succeeded(phase: str) -> _Count:
    def count(metrics: Metrics, entry: e.StepSucceeded | e.CompensationUndone, state: SagaState) -> None:
        if entry.attempt is not None:  # else it was a timer, a signal or a child
            metrics.attempts.add(state.definition, phase, "succeeded")

    return count


def _uncertain(metrics: Metrics, entry: e.AttemptUncertain, state: SagaState) -> None:
    outcome = "coordinator-lost" if entry.lost else "uncertain"
    metrics.attempts.add(state.definition, entry.phase, outcome)


#: What an entry counts as; every other one counts as nothing.
_COUNT: Final[Mapping[type[Entry], _Count]] = {
    e.SagaStarted: lambda metrics, _entry, state: metrics.started(state.definition),
    e.SagaCompleted: _ended("completed"),
    e.SagaCompensated: _ended("compensated"),
    e.SagaAbandoned: _ended("abandoned"),
    e.SagaParked: lambda metrics, entry, state: metrics.parked.add(state.definition, entry.cause),
    e.SagaMarkedLate: lambda metrics, _entry, state: metrics.late.add(state.definition),
    e.StepSucceeded: _succeeded("action"),
    e.CompensationUndone: _succeeded("compensation"),
    e.AttemptRefused: _over("refused"),
    e.AttemptUncertain: _uncertain,
    e.AttemptNotExecuted: _over("not-executed"),
    e.AttemptPending: _over("pending"),
    e.AttemptDeferred: _over("deferred"),
}


# what was sent


class MeteredInvoker:
    """Counts and times requests to participants."""

    def __init__(self, inner: Invoker, metrics: Metrics, clock: Clock) -> None:
        self._inner, self._metrics, self._clock = inner, metrics, clock

    async def invoke(self, invocation: Invocation) -> Answer:
        """Send the request."""
        began = self._clock.monotonic()
        answer = await self._inner.invoke(invocation)
        self._note(invocation.service, invocation.phase, answer, began)
        return answer

    async def poll(self, poll: Poll) -> Answer:
        """Ask about a pending invocation."""
        began = self._clock.monotonic()
        answer = await self._inner.poll(poll)
        self._note(poll.service, "poll", answer, began)
        return answer

    async def close(self) -> None:
        """Close the other."""
        await self._inner.close()

    def _note(self, service: str | None, phase: str, answer: Answer, began: float) -> None:
        name = service or BY_URL
        self._metrics.requests.add(name, phase, _word(answer))
        self._metrics.request_durations.add(self._clock.monotonic() - began, name)


def _word(answer: Answer) -> str:
    if isinstance(answer, Answered):
        return f"{answer.status // 100}xx" if 100 <= answer.status < 600 else "none"
    return "none" if isinstance(answer, NoAnswer) else "not-sent"


# what was written


def metered(store: Store, metrics: Metrics, clock: Clock) -> Store:
    """Return the store with its writes timed and its failures counted; every other verb goes straight to it."""
    return cast("Store", _MeteredStore(store, metrics, clock))


class _MeteredStore:
    def __init__(self, inner: Store, metrics: Metrics, clock: Clock) -> None:
        self._inner, self._metrics, self._clock = inner, metrics, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def start(self, saga: NewSaga) -> Existing | None:
        return await self._timed("start", self._inner.start, saga)

    async def append(self, lease: Lease, batch: Append) -> Lease:
        return await self._timed("append", self._inner.append, lease, batch)

    async def next_due(self, newest: int) -> float | None:
        try:
            return await self._inner.next_due(newest)
        except StoreError as error:
            self._failed(error)
            raise

    async def _timed(
        self, verb: str, write: Callable[P, Awaitable[T]], *args: P.args, **named: P.kwargs
    ) -> T:
        began = self._clock.monotonic()
        try:
            done = await write(*args, **named)
        except StoreError as error:
            self._failed(error)
            raise
        self._metrics.writes.add(self._clock.monotonic() - began, verb)
        return done

    def _failed(self, error: StoreError) -> None:
        if isinstance(error, StoreUnknown):
            self._metrics.errors.add("unknown")
        elif isinstance(error, StoreUnavailable):
            self._metrics.errors.add("unavailable")
