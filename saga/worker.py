"""Many sagas: claim what is due, give each its turns, send what they allow, stop in good order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from saga.alarms import Alarms
from saga.catalogue import Catalogue
from saga.changes import Changes, Seen
from saga.claims import Claims
from saga.core.decider import Invoke
from saga.core.entries import FORMAT
from saga.core.outcomes import Outcome, Uncertain
from saga.core.state import SagaState
from saga.engine import Engine
from saga.errors import LeaseLost
from saga.language.model import SagaDefinition
from saga.log_fields import about_saga
from saga.membership import Membership
from saga.ports.clock import Clock
from saga.ports.store import Store
from saga.ports.stored import Claimed, Lease
from saga.ports.telemetry import Telemetry
from saga.runs import Arrived, PollDue, Run, Turn
from saga.sender import Sender
from saga.slots import Slots

log = logging.getLogger(__name__)

#: Seconds after which a turn that could not be made durable is made again.
AGAIN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a worker does at once."""

    #: Sagas in memory; accepted ones beyond wait in the store.
    running: int = 5000
    #: Requests on the wire. One aiohttp client does best with 64 to 100.
    calls: int = 96


class Worker:
    """Runs the sagas this node owns."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        sender: Sender,
        clock: Clock,
        telemetry: Telemetry,
        *,
        membership: Membership,
        limits: Limits = Limits(),
    ) -> None:
        self.node = membership.node
        self._membership = membership
        self.changes = Changes(clock)
        self._store, self._sender, self._clock, self._limits = store, sender, clock, limits
        self._runs: dict[str, Run] = {}
        #: Ids being started or claimed: owned by this node, and not yet in memory.
        self._arriving: set[str] = set()
        #: Those of them that a message came for.
        self._poked: set[str] = set()
        self.slots = Slots(limits.calls, self.wake)
        self._alarms = Alarms(clock, self.wake)
        self.engine = Engine(
            store,
            clock,
            telemetry,
            grant=self.slots.take,
            give_back=self.slots.give_back,
            tell=self.changes.tell,
        )
        self._claims = Claims(store, catalogue, clock, telemetry, engine=self.engine, runner=self)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()
        self.stopping = False
        self._left = False

    # life

    async def start(self) -> None:
        """Join the store's nodes and begin to claim what is due."""
        await self._membership.join()
        loops = [self._alarms.run(), self._claims.run()]
        if self._store.shared:
            loops += [self._membership.beating(self), self._membership.observing(self)]
        self._loops = [asyncio.create_task(loop) for loop in loops]

    def refuse(self) -> None:
        """Take no more work, send nothing more, and keep nobody waiting."""
        self.stopping = True
        self.slots.close()
        self.changes.wake()

    async def stop(self, grace: float) -> None:
        """Take no more work, let calls end for up to ``grace`` seconds, record them, and hand over the rest."""
        self.refuse()
        if self._left:
            return
        self._left = True
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._tasks:
            self._idle.clear()
            await self._clock.wait(self._idle, grace)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._membership.leave()

    @property
    def room(self) -> int:
        """Return how many more sagas may be held in memory."""
        return 0 if self.stopping else max(0, self._limits.running - len(self._runs) - len(self._arriving))

    @property
    def running(self) -> int:
        """Return how many sagas are in memory."""
        return len(self._runs)

    @property
    def trusted(self) -> bool:
        """Return whether this node may send."""
        return self._membership.trusted()

    def held(self, saga_id: str) -> Seen | None:
        """Return a saga this node runs, as it was made durable last; None when it runs none of that id."""
        run = self._runs.get(saga_id)
        return None if run is None else Seen(run.definition, run.state, run.lease.node, run.lease.fence)

    # taking sagas on

    def arriving(self, saga_id: str) -> None:
        """Say that this saga is about to be started here, so that nothing else takes it on meanwhile."""
        self._arriving.add(saga_id)

    def not_arriving(self, saga_id: str) -> None:
        """Say that it is not any more."""
        self._arriving.discard(saga_id)
        self._poked.discard(saga_id)

    def adopt(
        self,
        lease: Lease,
        definition: SagaDefinition,
        state: SagaState,
        invocations: Sequence[Invoke],
        *,
        wake_at: float | None,
        held_back: int,
    ) -> None:
        """Run a saga that was started here, whose first intents are durable."""
        run = Run(lease=lease, definition=definition, state=state, inbox=state.id in self._poked)
        self.not_arriving(state.id)
        if lease.node != self.node:
            # This node was taken for dead meanwhile: whoever looks after it takes the saga over.
            self.slots.give_back(len(invocations))
            return
        self._runs[state.id] = run
        for invoke in invocations:
            self._send(run, invoke)
        self._alarms.set(run, wake_at)
        if held_back or run.inbox:
            self.wake(run)

    async def poke(self, saga_id: str) -> None:
        """Look at a saga's inbox now: a message has come. Takes the saga on if nobody owns it."""
        run = self._runs.get(saga_id)
        if run is not None:
            run.inbox = True
            self.wake(run)
        elif saga_id in self._arriving:
            self._poked.add(saga_id)
        elif not self.stopping:
            self._arriving.add(saga_id)
            try:
                claimed = await self._store.take(saga_id, self.node, FORMAT)
                if claimed is not None:
                    await self._claims.take_on(claimed)
            finally:
                self.not_arriving(saga_id)

    async def reclaim(self, saga_ids: Sequence[str]) -> None:
        """Run those of these sagas, which this node owns, that it does not know of: a claim's answer was lost."""
        for saga_id in saga_ids:
            if saga_id in self._runs or saga_id in self._arriving:
                continue
            record = await self._store.load(saga_id)
            if record is not None and record.owner == self.node:
                seq = len(record.entries)
                lease = Lease(saga_id=saga_id, node=self.node, fence=record.fence, seq=seq)
                await self._claims.take_on(Claimed(lease=lease, record=record))

    def move(self, node: str) -> None:
        """Drop every saga, and go on under another name: this node was taken for dead."""
        for run in tuple(self._runs.values()):
            self._drop(run)
        self.node = node

    def look(self) -> None:
        """Look at the store now: something was put there that is due."""
        self._claims.look()

    # turns

    def wake(self, run: Run) -> None:
        """Give the saga a turn: now, or after the one that is under way."""
        if run.turning:
            run.again = True
        elif not run.gone:
            run.turning = True
            self._spawn(self._woken(run))

    def begin(self, run: Run) -> None:
        """Hold a saga in memory that was claimed."""
        before = self._runs.get(run.state.id)
        if before is not None:
            # It was taken from this node and has come back, before anything here had heard of either.
            self._drop(before)
        self._runs[run.state.id] = run

    async def first_turn(self, run: Run) -> None:
        """Give the saga a turn, and return after it; what the turn sends goes on by itself."""
        if not (run.turning or run.gone):
            run.turning = True
            self._spawn(self._go_on(run, await self._turns(run)))

    async def _woken(self, run: Run) -> None:
        about_saga(run.state)
        await self._go_on(run, await self._turns(run))

    async def _turns(self, run: Run) -> Invoke | None:
        """Give the saga turns until nothing new has come; ``run.turning`` is set by whoever called.

        Returns what the caller is to send in its own task: one invocation of the last turn, counted as in flight.
        """
        try:
            while not run.gone:
                run.again = False
                turn = await self.engine.turn(run)
                self._follow(run, turn)
                self.slots.pass_on()
                first = turn.invocations[0] if turn.invocations else None
                if not run.again:
                    run.in_flight += first is not None
                    return first
                if first is not None:
                    self._send(run, first)
        except LeaseLost as lost:
            log.info("saga %s is dropped: %s", run.state.id, lost)
            self._drop(run)
        except Exception:
            # Whatever it was, the saga is ours and must go on: what has arrived is still there for another turn.
            log.exception("saga %s: a turn could not be made durable", run.state.id)
            self._alarms.set(run, self._clock.now() + AGAIN)
        finally:
            run.turning = False
            # A turn that failed may have been the one that a free place had woken.
            self.slots.pass_on()
        return None

    def _follow(self, run: Run, turn: Turn) -> None:
        """Do what the turn allows, but for its first invocation."""
        for invoke in turn.invocations[1:]:
            self._send(run, invoke)
        for poll in turn.polls:
            self._poll(run, poll)
        if turn.released:
            self._drop(run)
            return
        self._alarms.set(run, turn.wake_at)
        if turn.held_back:
            self.slots.queue(run)

    def _drop(self, run: Run) -> None:
        run.gone = True
        self._alarms.set(run, None)
        if self._runs.get(run.state.id) is run:
            del self._runs[run.state.id]
            if self._limits.running - len(self._runs) == 1:
                self._claims.look()

    def _send(self, run: Run, invoke: Invoke) -> None:
        run.in_flight += 1
        self._spawn(self._go_on(run, invoke))

    async def _go_on(self, run: Run, invoke: Invoke | None) -> None:
        """Make the attempt, and those its outcome leads to: one step after the other takes one task."""
        about_saga(run.state)
        while invoke is not None:
            invoke = await self._attempt(run, invoke)

    async def _attempt(self, run: Run, invoke: Invoke) -> Invoke | None:
        outcome: Outcome | None
        try:
            # Dropped while its intent was made durable: this node may be trusted again by now, but under another
            # lease, and whoever has the saga sends what is open.
            outcome = (
                None
                if run.gone
                else await self._sender.send(run.definition, run.state, invoke, run.lease.fence)
            )
        except Exception:
            # Nobody knows how far it came, so it may have happened.
            log.exception("saga %s: an attempt failed in the coordinator", run.state.id)
            outcome = Uncertain(detail="the coordinator failed while it was sending")
        finally:
            run.in_flight -= 1
            self.slots.give_back(1)
        if outcome is None:
            self._drop(run)
            return None
        intent = invoke.intent
        return await self._arrived(
            run, Arrived(step=intent.step, phase=intent.phase, attempt=intent.attempt, outcome=outcome)
        )

    def _poll(self, run: Run, due: PollDue) -> None:
        run.polled[due.step, due.phase] = float("inf")
        run.in_flight += 1
        self._spawn(self._ask(run, due))

    async def _ask(self, run: Run, due: PollDue) -> None:
        about_saga(run.state)
        outcome: Outcome | None = None
        try:
            outcome = await self._sender.poll(run.definition, run.state, due.step, due.phase, due.location)
        except Exception:
            # Nothing was asked for; it is asked again when the next poll is due.
            log.exception("saga %s: a poll failed in the coordinator", run.state.id)
        finally:
            run.in_flight -= 1
            run.polled[due.step, due.phase] = self._clock.now()
        if outcome is None:
            self.wake(run)
            return
        arrived = Arrived(step=due.step, phase=due.phase, attempt=None, outcome=outcome)
        await self._go_on(run, await self._arrived(run, arrived))

    async def _arrived(self, run: Run, arrived: Arrived) -> Invoke | None:
        """Have a turn for the outcome, in this very task: most of the time no other is under way."""
        run.events.append(arrived)
        if run.turning:
            run.again = True
        elif not run.gone:
            run.turning = True
            return await self._turns(run)
        return None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a saga's task ended with an error", exc_info=error)
