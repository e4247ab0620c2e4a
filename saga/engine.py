"""One saga, one turn: load → decide → act → record.

A turn folds what has arrived (messages first, so that a callback that was answered is never overtaken), asks the
decider, and appends everything in one durable write: the results and the intents of what is to be sent next. What
it returns may be sent, and nothing else may.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import ParamSpec, TypeAlias, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from saga.changes import Seen
from saga.core import entries as e
from saga.core import views
from saga.core.case import case as case_of
from saga.core.case import pending_policy
from saga.core.decider import Decision, Invoke, decide
from saga.core.encoding import encode
from saga.core.entries import Entry
from saga.core.journal import evolve
from saga.core.messages import fold
from saga.core.settlement import lost, settle
from saga.core.state import SagaState, StepState
from saga.core.statuses import Status
from saga.errors import LeaseLost, MessagesWaiting, StoreUnavailable, StoreUnknown
from saga.language.fields import Phase
from saga.language.model import SagaDefinition
from saga.ports.clock import Clock
from saga.ports.store import Store
from saga.ports.stored import Append, Lease, Message, Record
from saga.ports.telemetry import Telemetry
from saga.runs import Arrived, Event, PollDue, Run, Turn

log = logging.getLogger(__name__)

#: A saga that is due later than this many seconds from now is put down: it costs storage, not memory.
KEEP = 5.0


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A turn before it is durable."""

    entries: list[Entry]
    folded: list[str]
    decision: Decision
    granted: Sequence[Invoke]
    state: SagaState
    events: int
    #: When the outcome of each pending invocation is to be asked for next.
    polls: Sequence[tuple[float, PollDue]]
    #: When something is due by time alone, polls included.
    wake_at: float | None


P = ParamSpec("P")
T = TypeVar("T")

Grant: TypeAlias = Callable[[int], int]


class Engine:
    """Advances sagas, one turn at a time; knows nothing of how many there are."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        *,
        grant: Grant,
        give_back: Callable[[int], None],
        tell: Callable[[Seen], None],
    ) -> None:
        self._store, self._clock, self._telemetry = store, clock, telemetry
        #: Takes up to so many places for requests, and returns how many it got.
        self._grant, self._give_back = grant, give_back
        self._tell = tell
        self._patient = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable),
            wait=wait_exponential(multiplier=0.05, max=2.0),
            sleep=clock.sleep,
            before_sleep=lambda retry: log.debug(
                "the store is not available, attempt %d", retry.attempt_number
            ),
            reraise=True,
        )

    async def turn(self, run: Run) -> Turn:
        """Fold what has arrived, decide, and make it durable; return what may be sent.

        Waits as long as the store is unavailable. Raises :class:`~saga.errors.LeaseLost` when the saga is
        another node's.
        """
        while True:
            messages = await self._messages(run)
            draft = self._draft(run, messages)
            release = self._puts_down(run, draft)
            if not draft.entries and not draft.folded and not release:
                return self._turned(draft, released=False)
            try:
                lease = await self._append(run, draft, release=release)
            except MessagesWaiting:
                run.inbox = True
                self._give_back(len(draft.granted))
                continue
            except BaseException:
                self._give_back(len(draft.granted))
                raise
            return self._recorded(run, draft, lease, released=release)

    async def patiently(self, call: Callable[P, Awaitable[T]], *args: P.args, **named: P.kwargs) -> T:
        """Call, and as long as the store is unavailable call again; retrying costs nothing where none is needed."""
        try:
            return await call(*args, **named)
        except StoreUnavailable as error:
            log.warning("the store is not available: %s", error)
        return await self._patient.copy()(call, *args, **named)

    # load

    async def _messages(self, run: Run) -> Sequence[Message]:
        if not run.inbox:
            return ()
        run.inbox = False
        return await self.patiently(self._store.messages, run.state.id)

    # decide

    def _draft(self, run: Run, messages: Sequence[Message]) -> _Draft:
        now = self._clock.now()
        try:
            return self._drafted(run, messages, now, decides=True)
        except Exception:
            log.exception("saga %s: a turn failed; it is parked", run.state.id)
        try:
            return self._drafted(run, messages, now, decides=False)
        except Exception:
            log.exception("saga %s: what arrived cannot be recorded", run.state.id)
        return self._parked(run, run.state, [], messages, now)

    def _drafted(self, run: Run, messages: Sequence[Message], now: float, *, decides: bool) -> _Draft:
        state, entries = run.state, []
        for found in self._arrived(run, messages):
            for entry in found(state, now):
                state = evolve(state, entry)
                entries.append(entry)
        if not decides:
            return self._parked(run, state, entries, messages, now)
        decision = decide(run.definition, state, now)
        places = self._grant(len(decision.invocations)) if decision.invocations else 0
        granted = decision.invocations[:places]
        try:
            state = _with_intents(decision.state, granted)
        except BaseException:
            self._give_back(places)
            raise
        polls = _polls(run.definition, state, run.polled)
        return _Draft(
            entries=[*entries, *decision.facts, *(invoke.intent for invoke in granted)],
            folded=[message.id for message in messages],
            decision=decision,
            granted=granted,
            state=state,
            events=len(run.events),
            polls=polls,
            wake_at=_earliest(decision.wake_at, polls),
        )

    def _arrived(
        self, run: Run, messages: Sequence[Message]
    ) -> Sequence[Callable[[SagaState, float], Sequence[Entry]]]:
        definition = run.definition
        folding = [
            lambda state, now, message=message: fold(definition, state, message, now) for message in messages
        ]
        recording = [
            lambda state, now, event=event: _entries_of(definition, state, event, now) for event in run.events
        ]
        return [*folding, *recording]

    def _parked(
        self, run: Run, state: SagaState, entries: list[Entry], messages: Sequence[Message], now: float
    ) -> _Draft:
        """Return a turn that parks the saga, because the coordinator could not decide."""
        if not state.ended and state.status is not Status.PARKED:
            detail = "the coordinator could not decide; its log says why"
            parked = e.SagaParked(at=now, cause="internal", detail=detail)
            state = evolve(state, parked)
            entries = [*entries, parked]
        return _Draft(
            entries=entries,
            folded=[message.id for message in messages],
            decision=Decision(facts=(), invocations=(), wake_at=None, state=state),
            granted=(),
            state=state,
            events=len(run.events),
            polls=(),
            wake_at=None,
        )

    def _puts_down(self, run: Run, draft: _Draft) -> bool:
        """Return whether the saga has nothing to do for this node in the next seconds."""
        if draft.granted or len(draft.decision.invocations) > len(draft.granted) or run.in_flight:
            return False
        if draft.state.ended:
            return True
        if any(_is_request(unit, phase) for unit, phase in draft.state.open_invocations()):
            # An intent that nobody here is sending: this node must not send any more, and whoever takes the saga
            # over has to find it. Put down, it would never be looked at again.
            return False
        return draft.wake_at is None or draft.wake_at > self._clock.now() + KEEP

    # record

    async def _append(self, run: Run, draft: _Draft, *, release: bool) -> Lease:
        batch = Append(
            entries=[encode(entry) for entry in draft.entries],
            summary=views.summary(run.definition, draft.state),
            wake_at=draft.wake_at,
            folded=draft.folded,
            release=release,
            settles=[about for entry in draft.entries if (about := _settles(entry)) is not None],
            raise_fence=any(isinstance(entry, e.SagaAbandoned) for entry in draft.entries),
        )
        return await self.patiently(self._append_once, run.lease, batch)

    async def _append_once(self, lease: Lease, batch: Append) -> Lease:
        try:
            return await self._store.append(lease, batch)
        except StoreUnknown:
            return await self._read_back(lease, batch)

    async def _read_back(self, lease: Lease, batch: Append) -> Lease:
        """Find out whether a write whose answer was lost was applied; nothing is decided before."""
        record: Record | None = await self.patiently(self._store.load, lease.saga_id)
        if record is None:
            raise LeaseLost(f"saga {lease.saga_id} is gone")
        ours = record.entries[lease.seq :] == tuple(batch.entries)
        fence = lease.fence + (1 if batch.raise_fence else 0)
        holder = None if batch.release else lease.node
        folded = not set(batch.folded) & {message.id for message in record.messages}
        if ours and folded and (record.owner, record.fence) == (holder, fence):
            return Lease(saga_id=lease.saga_id, node=lease.node, fence=fence, seq=len(record.entries))
        if (record.owner, record.fence, len(record.entries)) == (lease.node, lease.fence, lease.seq):
            raise StoreUnavailable("the write was not applied")
        raise LeaseLost(f"saga {lease.saga_id} is another node's")

    def _recorded(self, run: Run, draft: _Draft, lease: Lease, *, released: bool) -> Turn:
        before, run.state, run.lease = run.state, draft.state, lease
        del run.events[: draft.events]
        if draft.entries:
            self._telemetry.recorded(draft.entries, before, draft.state)
            owner = None if released else lease.node
            self._tell(Seen(run.definition, draft.state, owner, lease.fence))
        if released:
            run.gone = True
        return self._turned(draft, released=released)

    def _turned(self, draft: _Draft, *, released: bool) -> Turn:
        due: list[PollDue] = []
        if draft.polls and not released:
            now = self._clock.now()
            due = [poll for at, poll in draft.polls if at <= now]
        return Turn(
            invocations=draft.granted,
            polls=due,
            wake_at=None if released else draft.wake_at,
            held_back=len(draft.decision.invocations) - len(draft.granted),
            released=released,
        )


def _earliest(wake_at: float | None, polls: Sequence[tuple[float, PollDue]]) -> float | None:
    if not polls:
        return wake_at
    times = [at for at, _ in polls if at < inf]
    return min(times if wake_at is None else [wake_at, *times], default=None)


def _with_intents(state: SagaState, granted: Sequence[Invoke]) -> SagaState:
    for invoke in granted:
        state = evolve(state, invoke.intent)
    return state


def _entries_of(definition: SagaDefinition, state: SagaState, event: Event, now: float) -> Sequence[Entry]:
    """Return the entries an event becomes."""
    if isinstance(event, Arrived):
        return settle(definition, state, event.step, event.phase, event.outcome, now, attempt=event.attempt)
    found: list[Entry] = []
    for unit, phase in tuple(state.open_invocations()):
        if not state.ended:
            found += lost(definition, state, unit.name, phase, now)
    return found


def _is_request(unit: StepState, phase: Phase) -> bool:
    attempt = unit.invocation(phase).open
    return attempt is not None and attempt.via == "http"


_SETTLING: Mapping[type[Entry], Phase] = {
    e.StepSucceeded: "action",
    e.StepRefused: "action",
    e.StepUncertain: "action",
    e.StepParked: "action",
    e.CompensationUndone: "compensation",
    e.CompensationFailed: "compensation",
}


def _settles(entry: Entry) -> str | None:
    phase = _SETTLING.get(type(entry))
    return None if phase is None else f"{getattr(entry, 'step', '')}:{phase}"


def _polls(
    definition: SagaDefinition, state: SagaState, polled: Mapping[tuple[str, Phase], float]
) -> list[tuple[float, PollDue]]:
    """Return when the outcome of each pending invocation with an address is to be asked for next."""
    if state.ended or state.status is Status.PAUSED:
        return []
    found: list[tuple[float, PollDue]] = []
    phases: tuple[Phase, Phase] = ("action", "compensation")
    for unit in state.steps.values():
        if unit.action.pending is None and unit.undo.pending is None:
            continue
        for phase in phases:
            pending = unit.invocation(phase).pending
            if pending is None or pending.location is None:
                continue
            policy = pending_policy(case_of(definition, state, unit.name, phase, 0.0))
            last = max(pending.since, polled.get((unit.name, phase), 0.0))
            found.append(
                (last + policy.poll, PollDue(step=unit.name, phase=phase, location=pending.location))
            )
    return found
