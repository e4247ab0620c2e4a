"""Starts: a saga is durable, with its first intents, before its start is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b, sha256
from random import getrandbits
from typing import Any

import uuid_utils
from pydantic_core import to_json

from saga.catalogue import Version
from saga.changes import Seen
from saga.core import entries as e
from saga.core import views
from saga.core.decider import Decision, Invoke, decide
from saga.core.encoding import encode
from saga.core.entries import FORMAT
from saga.core.journal import evolve
from saga.core.requests import scope
from saga.core.state import SagaState
from saga.core.tracing import new_trace
from saga.errors import InputInvalid, Problem, SagaError, StoreUnknown
from saga.language.expressions import NothingFound, evaluate
from saga.language.model import SagaDefinition
from saga.language.schemas import validate
from saga.ports.clock import Clock
from saga.ports.store import Store
from saga.ports.stored import Existing, Lease, NewSaga, Record
from saga.ports.telemetry import Telemetry
from saga.worker import Worker

log = logging.getLogger(__name__)

#: Starts are turned away while writes wait longer than this many seconds.
BACKLOG_LIMIT = 2.0


class Busy(SagaError):
    """Too many starts are waiting to be written: come again after ``retry_after`` seconds."""

    retry_after = 1


class Stopping(SagaError):
    """The coordinator is being stopped and takes no more starts."""


class StartUnknown(StoreUnknown):
    """The start's answer was lost: ask again under the same key. ``saga_id`` is the id it has, if it exists."""

    def __init__(self, saga_id: str) -> None:
        super().__init__("the store did not say whether the saga was started")
        self.saga_id = saga_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which saga a start is: what tells the same start, come again, from another one."""

    saga_id: str
    start_key: str | None
    #: Hash of the request as it was sent.
    fingerprint: str
    #: Whether it can be told at all: the client named an id or a start key.
    repeatable: bool


def identify(given: str | None, start_key: str | None, sent: bytes) -> Identity:
    """Return the identity of a start with this id or this start key, and this request as it was sent.

    The id is the given one, else a hash of the start key, else a new UUIDv7 (RFC 9562). An id made of the key
    makes the insert itself the proof that there is only one.
    """
    if given is not None:
        name = given
    elif start_key is not None:
        name = "key-" + sha256(start_key.encode()).hexdigest()[:40]
    else:
        name = str(uuid_utils.uuid7())
    return Identity(
        saga_id=name,
        start_key=start_key,
        fingerprint=blake2b(sent, digest_size=16).hexdigest(),
        repeatable=given is not None or start_key is not None,
    )


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
    #: Made beforehand by whoever has to know the id before the saga is there.
    identity: Identity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of a start."""

    saga_id: str
    #: False when this very start was accepted before: the saga is the same.
    created: bool
    #: The key or id belongs to a start with another body, or to a child saga.
    reused: bool = False
    #: The saga as it was started; None when it was there before.
    seen: Seen | None = None


class Intake:
    """Accepts starts."""

    def __init__(self, store: Store, worker: Worker, clock: Clock, telemetry: Telemetry) -> None:
        self._store, self._worker, self._clock, self._telemetry = store, worker, clock, telemetry
        self._starting: set[asyncio.Task[Accepted]] = set()

    def check_room(self) -> None:
        """Raise :class:`Busy` when starts have to wait too long to be written, :class:`Stopping` at the end."""
        if self._worker.stopping:
            raise Stopping("the coordinator is being stopped")
        if self._store.backlog() > BACKLOG_LIMIT:
            raise Busy("too many starts are waiting to be written")

    async def start(self, start: Start) -> Accepted:
        """Start a saga, or find the one this start was accepted for before.

        A start that is cancelled goes on: what is durable already has to run.

        Raises :class:`~saga.errors.InputInvalid` with every problem, :class:`Busy`, :class:`Stopping`,
        :class:`~saga.errors.StoreUnavailable` (nothing was started) and :class:`StartUnknown`.
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
        return None if record is None else _repeated(identity, record)

    async def _start(self, start: Start) -> Accepted:
        self.check_room()
        identity = start.identity or identify(start.id, start.start_key, start.sent)
        new_id = identity.saga_id
        started = self._started(start, new_id)
        decision, held = self._first_decision(start.definition.definition, evolve(None, started))
        invocations = (
            decision.invocations[: self._worker.slots.take(len(decision.invocations))] if held else ()
        )
        saga = self._new(start, identity, started, decision, invocations, held=held)
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
            return _repeated(identity, existing)
        seen = self._run(start, saga, started, decision, invocations)
        return Accepted(saga_id=new_id, created=True, seen=seen)

    def _started(self, start: Start, new_id: str) -> e.SagaStarted:
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
        identity: Identity,
        started: e.SagaStarted,
        decision: Decision,
        invocations: tuple[Invoke, ...],
        *,
        held: bool,
    ) -> NewSaga:
        entries = [started, *decision.facts, *(invoke.intent for invoke in invocations)]
        wake_at = decision.wake_at if not decision.invocations else self._clock.now()
        return NewSaga(
            id=identity.saga_id,
            start_key=identity.start_key,
            fingerprint=identity.fingerprint,
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
    ) -> Seen:
        state = decision.state
        for invoke in invocations:
            state = evolve(state, invoke.intent)
        entries = [started, *decision.facts, *(invoke.intent for invoke in invocations)]
        self._telemetry.recorded(entries, None, state)
        if saga.owner is None:
            self._worker.not_arriving(saga.id)
            self._worker.look()
            return Seen(start.definition.definition, state, None, 0)
        lease = Lease(saga_id=saga.id, node=saga.owner, fence=1, seq=len(saga.entries))
        self._worker.adopt(
            lease,
            start.definition.definition,
            state,
            invocations,
            wake_at=decision.wake_at,
            held_back=len(decision.invocations) - len(invocations),
        )
        return Seen(start.definition.definition, state, saga.owner, lease.fence)


def _repeated(identity: Identity, existing: Existing | Record) -> Accepted:
    """Return the answer to a start whose id is taken: by the same start, or by another."""
    same = (existing.fingerprint, existing.start_key) == (identity.fingerprint, identity.start_key)
    return Accepted(saga_id=existing.id, created=False, reused=not same)


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
