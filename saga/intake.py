"""Starts: a saga is durable, with its first intents, before its start is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import getrandbits

from pydantic_core import to_json

from saga.changes import Seen
from saga.core import entries as e
from saga.core import views
from saga.core.decider import Decision, Invoke, decide
from saga.core.encoding import encode
from saga.core.entries import FORMAT, Entry
from saga.core.journal import evolve
from saga.core.requests import scope
from saga.core.state import SagaState
from saga.core.tracing import new_trace
from saga.errors import Busy, InputInvalid, Problem, SagaError, StartUnknown, Stopping, StoreUnknown
from saga.language.expressions import NothingFound, evaluate
from saga.language.model import SagaDefinition
from saga.language.schemas import validate
from saga.ports.clock import Clock
from saga.ports.store import Store
from saga.ports.stored import Existing, Lease, NewSaga, Record
from saga.ports.telemetry import Telemetry
from saga.starts import Accepted, Identity, Start, repeated
from saga.worker import Worker

log = logging.getLogger(__name__)

#: Starts are turned away while writes wait longer than this many seconds.
BACKLOG_LIMIT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _First:
    """The first turn of a saga, before it is durable."""

    decision: Decision
    #: This node runs it from the start.
    held: bool
    #: Those of the decision's invocations that found a free place.
    invocations: Sequence[Invoke]
    entries: Sequence[Entry]
    #: The state after the entries.
    state: SagaState


class Intake:
    """Accepts starts."""

    def __init__(self, store: Store, worker: Worker, clock: Clock, telemetry: Telemetry) -> None:
        self._store, self._worker, self._clock, self._telemetry = store, worker, clock, telemetry
        self._starting: set[asyncio.Task[Accepted]] = set()

    def check_room(self) -> None:
        """Raise ``Busy`` when starts have to wait too long to be written, ``Stopping`` at the end."""
        if self._worker.stopping:
            raise Stopping("the coordinator is being stopped")
        if self._store.backlog() > BACKLOG_LIMIT:
            raise Busy("too many starts are waiting to be written")

    async def start(self, start: Start) -> Accepted:
        """Start a saga, or find the one this start was accepted for before.

        A start that is cancelled goes on: what is durable already has to run.

        Raises :class:`~saga.errors.InputInvalid` with every problem, :class:`~saga.errors.Busy`,
        :class:`~saga.errors.Stopping`, :class:`~saga.errors.StoreUnavailable` (nothing was started) and
        :class:`~saga.errors.StartUnknown`.
        """
        task = asyncio.create_task(self._start(start))
        self._starting.add(task)
        task.add_done_callback(self._started_or_not)
        return await asyncio.shield(task)

    def _started_or_not(self, task: asyncio.Task[Accepted]) -> None:
        self._starting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("a start failed: %s", error)

    async def close(self, grace: float) -> None:
        """Let the starts that are being written end, within so many seconds."""
        if self._starting:
            await asyncio.wait(self._starting, timeout=grace)

    async def find(self, identity: Identity) -> Accepted | None:
        """Return the saga this start was accepted for before, None when there is none.

        For a start that cannot be accepted now (its definition may be deleted meanwhile): its repetition can.
        """
        record = await self._store.load(identity.saga_id) if identity.repeatable else None
        return None if record is None else repeated(identity, record)

    async def _start(self, start: Start) -> Accepted:
        self.check_room()
        first = self._first(start.definition.definition, self._started(start))
        try:
            saga = self._new(start, first)
            self._worker.arriving(saga.id)
            existing = await self._insert(saga)
        except BaseException:
            self._forget(first)
            raise
        if existing is not None:
            self._forget(first)
            return repeated(start.identity, existing)
        return Accepted(saga_id=saga.id, created=True, seen=self._run(start, saga, first))

    def _started(self, start: Start) -> e.SagaStarted:
        definition, now = start.definition.definition, self._clock.now()
        if definition.input is not None and (problems := validate(definition.input, start.input, "/input")):
            raise InputInvalid(tuple(problems))
        begins = now if start.start_at is None else max(now, start.start_at)
        # Of ids of traces nothing is asked but that they differ; the system's randomness costs a call of the system.
        ids = getrandbits(192).to_bytes(24, "big")
        trace = new_trace(
            start.traceparent, start.tracestate, ids[:16], ids[16:], sample=self._telemetry.sample
        )
        entry = e.SagaStarted(
            at=now,
            saga=start.identity.saga_id,
            definition=start.definition.name,
            version=start.definition.version,
            input=start.input,
            start_at=start.start_at,
            deadline=None if definition.timeout is None else begins + definition.timeout,
            due=None if definition.due is None else begins + definition.due,
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            parent_span_id=trace.parent_span_id,
            sampled=trace.sampled,
            tracestate=trace.tracestate,
            rerun_of=start.rerun_of,
            by=start.by,
            size=len(to_json(start.input)),
        )
        return _labelled(definition, entry, start.labels or {})

    def _first(self, definition: SagaDefinition, started: e.SagaStarted) -> _First:
        """Return the first turn; it invokes nothing where this node has no room to run the saga now."""
        decision = decide(definition, evolve(None, started), self._clock.now())
        held = self._worker.room > 0 and not decision.state.ended and bool(decision.invocations)
        places = self._worker.slots.take(len(decision.invocations)) if held else 0
        invocations, state = decision.invocations[:places], decision.state
        for invoke in invocations:
            state = evolve(state, invoke.intent)
        entries = [started, *decision.facts, *(invoke.intent for invoke in invocations)]
        return _First(decision=decision, held=held, invocations=invocations, entries=entries, state=state)

    def _forget(self, first: _First) -> None:
        """Give up what a start that came to nothing had taken."""
        self._worker.not_arriving(first.state.id)
        self._worker.slots.give_back(len(first.invocations))

    def _new(self, start: Start, first: _First) -> NewSaga:
        decision, identity = first.decision, start.identity
        return NewSaga(
            id=identity.saga_id,
            start_key=identity.start_key,
            fingerprint=identity.fingerprint,
            entries=[encode(entry) for entry in first.entries],
            summary=views.summary(start.definition.definition, decision.state),
            format=FORMAT,
            owner=self._worker.node if first.held else None,
            wake_at=decision.wake_at if not decision.invocations else self._clock.now(),
        )

    async def _insert(self, saga: NewSaga) -> Existing | None:
        try:
            return await self._store.start(saga)
        except StoreUnknown:
            pass
        try:
            record: Record | None = await self._store.load(saga.id)
        except SagaError as error:
            raise StartUnknown(saga.id) from error
        if record is None:
            raise StartUnknown(saga.id)
        # Entries hold random trace ids: equal ones are ours, and written by this very call.
        if record.entries[: len(saga.entries)] == tuple(saga.entries):
            return None
        return Existing(id=record.id, start_key=record.start_key, fingerprint=record.fingerprint)

    def _run(self, start: Start, saga: NewSaga, first: _First) -> Seen:
        definition, state, decision = start.definition.definition, first.state, first.decision
        self._telemetry.recorded(first.entries, None, state)
        if saga.owner is None:
            self._worker.not_arriving(saga.id)
            self._worker.look()
            return Seen(definition, state, None, 0)
        lease = Lease(saga_id=saga.id, node=saga.owner, fence=1, seq=len(saga.entries))
        self._worker.adopt(
            lease,
            definition,
            state,
            first.invocations,
            wake_at=decision.wake_at,
            held_back=len(decision.invocations) - len(first.invocations),
        )
        return Seen(definition, state, saga.owner, lease.fence)


def _labelled(
    definition: SagaDefinition, entry: e.SagaStarted, given: Mapping[str, str | float | int | bool]
) -> e.SagaStarted:
    """Return the entry with the labels of the definition filled in, those of the request before them."""
    if not given and not definition.labels:
        return entry
    roots = scope(definition, evolve(None, entry))
    labels: dict[str, str | float | int | bool] = {}
    problems: list[Problem] = []
    for name, template in definition.labels.items():
        try:
            value = given[name] if name in given else evaluate(template, roots)
        except NothingFound as nothing:
            problems.append(
                Problem(pointer=f"/labels/{name}", detail=f"nothing was found for {nothing.expression}")
            )
            continue
        if isinstance(value, str | int | float):
            labels[name] = value
        else:
            problems.append(Problem(pointer=f"/labels/{name}", detail="must be text, a number or a boolean"))
    if problems:
        raise InputInvalid(tuple(problems))
    return replace(entry, labels={**given, **labels})
