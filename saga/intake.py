"""Starts: a saga is durable, with its first intents, before its start is answered."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b, sha256
from typing import Any

import uuid_utils
from pydantic_core import to_json

from saga import entries as e
from saga import views
from saga.catalogue import Version
from saga.decider import Decision, Invoke, decide
from saga.definition import SagaDefinition
from saga.entries import FORMAT, encode
from saga.errors import InputInvalid, Problem, SagaError, StoreUnknown
from saga.expressions import NothingFound, evaluate
from saga.journal import evolve
from saga.ports import Clock, Existing, Lease, NewSaga, Record, Store, Telemetry
from saga.requests import scope
from saga.schemas import validate
from saga.state import SagaState
from saga.tracing import new_trace
from saga.worker import Worker

#: Starts are turned away while writes wait longer than this many seconds.
BACKLOG_LIMIT = 2.0


class Busy(SagaError):
    """Too many starts are waiting to be written: come again after ``retry_after`` seconds."""

    retry_after = 1


class StartUnknown(StoreUnknown):
    """The start's answer was lost: ask again under the same key. ``saga_id`` is the id it has, if it exists."""

    def __init__(self, saga_id: str) -> None:
        super().__init__("the store did not say whether the saga was started")
        self.saga_id = saga_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One request to start a saga."""

    definition: Version
    input: Any = None
    labels: Mapping[str, str | float | int | bool] | None = None
    #: The id the client chose, or None; takes the place of the start key.
    id: str | None = None
    start_key: str | None = None
    #: Nothing is sent before, epoch seconds.
    start_at: float | None = None
    #: Canonical JSON of the request as it was sent.
    sent: bytes = b""
    traceparent: str | None = None
    tracestate: str | None = None
    rerun_of: str | None = None
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of a start."""

    saga_id: str
    #: False when this very start was accepted before: the saga is the same.
    created: bool
    #: The key or id belongs to a start with another body, or to a child saga.
    reused: bool = False


def saga_id(start: Start) -> str:
    """Return the id: the given one, else a hash of the start key, else a new UUIDv7 (RFC 9562).

    An id made of the key makes the insert itself the proof that there is only one.
    """
    if start.id is not None:
        return start.id
    if start.start_key is not None:
        return "key-" + sha256(start.start_key.encode()).hexdigest()[:40]
    return str(uuid_utils.uuid7())


class Intake:
    """Accepts starts."""

    def __init__(self, store: Store, worker: Worker, clock: Clock, telemetry: Telemetry) -> None:
        self._store, self._worker, self._clock, self._telemetry = store, worker, clock, telemetry

    def check_room(self) -> None:
        """Raise :class:`Busy` when starts have to wait too long to be written."""
        if self._worker.stopping or self._store.backlog() > BACKLOG_LIMIT:
            raise Busy("too many starts are waiting to be written")

    async def start(self, start: Start) -> Accepted:
        """Start a saga, or find the one this start was accepted for before.

        Raises :class:`~saga.errors.InputInvalid` with every problem, :class:`Busy`,
        :class:`~saga.errors.StoreUnavailable` (nothing was started) and :class:`StartUnknown`.
        """
        self.check_room()
        fingerprint = blake2b(start.sent, digest_size=16).hexdigest()
        new_id = saga_id(start)
        started = self._started(start, new_id)
        decision, held = self._first_decision(start.definition.definition, evolve(None, started))
        invocations = decision.invocations[: self._worker.slots.take(len(decision.invocations))] if held else ()
        saga = self._new(start, new_id, fingerprint, started, decision, invocations, held=held)
        self._worker.arriving(new_id)
        try:
            existing = await self._insert(saga)
        except BaseException:
            self._worker.not_arriving(new_id)
            self._worker.slots.give_back(len(invocations))
            raise
        if existing is not None:
            self._worker.not_arriving(new_id)
            self._worker.slots.give_back(len(invocations))
            same = existing.fingerprint == fingerprint and existing.start_key == start.start_key
            return Accepted(saga_id=existing.id, created=False, reused=not same)
        self._run(start, saga, started, decision, invocations)
        return Accepted(saga_id=new_id, created=True)

    def _started(self, start: Start, new_id: str) -> e.SagaStarted:
        definition, now = start.definition.definition, self._clock.now()
        if definition.input is not None and (problems := validate(definition.input, start.input)):
            raise InputInvalid(tuple(problems))
        begins = now if start.start_at is None else max(now, start.start_at)
        trace = new_trace(
            start.traceparent, start.tracestate, secrets.token_bytes(16), secrets.token_bytes(8),
            sample=self._telemetry.sample,
        )  # fmt: skip
        entry = e.SagaStarted(
            at=now,
            saga=new_id,
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

    def _first_decision(self, definition: SagaDefinition, state: SagaState) -> tuple[Decision, bool]:
        """Return the first decision, and whether this node has room to run the saga now."""
        decision = decide(definition, state, self._clock.now())
        return decision, self._worker.room > 0 and not decision.state.ended and bool(decision.invocations)

    def _new(
        self,
        start: Start,
        new_id: str,
        fingerprint: str,
        started: e.SagaStarted,
        decision: Decision,
        invocations: tuple[Invoke, ...],
        *,
        held: bool,
    ) -> NewSaga:
        entries = [started, *decision.facts, *(invoke.intent for invoke in invocations)]
        wake_at = decision.wake_at if not decision.invocations else self._clock.now()
        return NewSaga(
            id=new_id,
            start_key=start.start_key,
            fingerprint=fingerprint,
            entries=[encode(entry) for entry in entries],
            summary=views.summary(start.definition.definition, decision.state),
            format=FORMAT,
            owner=self._worker.node if held else None,
            wake_at=wake_at,
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

    def _run(
        self,
        start: Start,
        saga: NewSaga,
        started: e.SagaStarted,
        decision: Decision,
        invocations: tuple[Invoke, ...],
    ) -> None:
        state = decision.state
        for invoke in invocations:
            state = evolve(state, invoke.intent)
        entries = [started, *decision.facts, *(invoke.intent for invoke in invocations)]
        self._telemetry.recorded(entries, None, state)
        if saga.owner is None:
            self._worker.not_arriving(saga.id)
            self._worker.look()
            return
        lease = Lease(saga_id=saga.id, node=self._worker.node, fence=1, seq=len(saga.entries))
        self._worker.adopt(
            lease,
            start.definition.definition,
            state,
            invocations,
            wake_at=decision.wake_at,
            held_back=len(decision.invocations) - len(invocations),
        )


def _labelled(
    definition: SagaDefinition, entry: e.SagaStarted, given: Mapping[str, str | float | int | bool]
) -> e.SagaStarted:
    """Return the entry with the labels of the definition filled in, those of the request before them."""
    roots = scope(definition, evolve(None, entry))
    labels: dict[str, str | float | int | bool] = {}
    problems: list[Problem] = []
    for name, template in definition.labels.items():
        try:
            value = given[name] if name in given else evaluate(template, roots)
        except NothingFound as nothing:
            problems.append(Problem(pointer=f"/labels/{name}", detail=f"nothing was found for {nothing.expression}"))
            continue
        if isinstance(value, str | int | float):
            labels[name] = value
        else:
            problems.append(Problem(pointer=f"/labels/{name}", detail="must be text, a number or a boolean"))
    if problems:
        raise InputInvalid(tuple(problems))
    return replace(entry, labels={**given, **labels})
