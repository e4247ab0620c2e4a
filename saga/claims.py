"""Taking sagas on: what is due is claimed, what may end the process is noted first, what cannot be run is put down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from saga.catalogue import Catalogue
from saga.core import entries as e
from saga.core import views
from saga.core.encoding import encode, read
from saga.core.entries import FORMAT, Entry
from saga.core.journal import evolve, replay
from saga.core.state import SagaState
from saga.engine import Engine
from saga.errors import LeaseLost, MessagesWaiting, StoreError, StoreUnknown, UnreadableJournal
from saga.log_fields import about, about_saga
from saga.ports.clock import Clock
from saga.ports.store import Store
from saga.ports.stored import ORPHANED, POISON, SUSPECT, Append, Claimed, Summary
from saga.ports.telemetry import Telemetry
from saga.runs import Run, TakenOver

log = logging.getLogger(__name__)

#: Sagas claimed in one go.
BATCH = 200

#: Seconds between two looks at the store for what no one told this node about; the second where others use the store,
#: and one that leaves hands over what nobody is told about.
LOOK_EVERY = 1.0
LOOK_FOR_OTHERS_EVERY = 0.1

#: Seconds after which a note whose answer was lost is written once more.
AGAIN = 0.05


class Runner(Protocol):
    """Who runs what was taken on: the worker."""

    node: str

    @property
    def room(self) -> int:
        """Return how many more sagas may be held in memory."""

    def begin(self, run: Run) -> None:
        """Hold the saga in memory."""

    def wake(self, run: Run) -> None:
        """Give it a turn."""

    async def first_turn(self, run: Run) -> None:
        """Give it a turn, and return after it; what the turn sends goes on by itself."""


class Claims:
    """Takes sagas on for one node."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        clock: Clock,
        telemetry: Telemetry,
        *,
        engine: Engine,
        runner: Runner,
    ) -> None:
        self._store, self._catalogue, self._clock = store, catalogue, clock
        self._telemetry, self._patiently, self._runner = telemetry, engine.patiently, runner
        self._look = asyncio.Event()
        self._look_every = LOOK_FOR_OTHERS_EVERY if store.shared else LOOK_EVERY
        self._evaluating = asyncio.Lock()

    def look(self) -> None:
        """Look at the store now: something was put there that is due, or there is room again."""
        self._look.set()

    async def run(self) -> None:
        """Claim what is due until cancelled."""
        while True:
            try:
                more = await self._claim()
            except StoreError as error:
                log.debug("nothing could be claimed: %s", error)
                more = False
            except Exception:
                log.exception("a claim failed")
                more = False
            if not more:
                await self._clock.wait(self._look, self._look_every)
                self._look.clear()

    async def _claim(self) -> bool:
        """Claim what is due, if there is room; return whether there may be more."""
        limit = min(BATCH, self._runner.room)
        due = await self._store.next_due(FORMAT) if limit else None
        if due is None or due > self._clock.now():
            return False
        claimed = await self._store.claim(self._runner.node, limit, self._clock.now(), FORMAT)
        await self._take_on_all(claimed)
        return len(claimed) == limit

    async def _take_on_all(self, claimed: Sequence[Claimed]) -> None:
        for one in claimed:
            if one.risk < ORPHANED:
                await self._begin(one)
        orphans = [one for one in claimed if one.risk == ORPHANED]
        if orphans:
            await self._evaluate(orphans)
        for one in claimed:
            if one.risk >= POISON:
                await self._leave(
                    one, "the coordinator ended each time it was looked at; its log may say why"
                )
            elif one.risk >= SUSPECT:
                await self._evaluate([one])

    async def take_on(self, claimed: Claimed) -> None:
        """Run a saga that somebody asks for, whatever its risk."""
        if claimed.risk:
            await self._evaluate([claimed])
        else:
            await self._begin(claimed)

    async def _begin(self, claimed: Claimed) -> None:
        run = await self._load(claimed)
        if run is not None:
            self._runner.wake(run)

    async def _evaluate(self, claimed: Sequence[Claimed]) -> None:
        """Run sagas that may end this process, under a durable note that stands until each has had a turn."""
        async with self._evaluating:  # a node has one note
            await self._note([one.lease.saga_id for one in claimed])
            runs = [run for one in claimed if (run := await self._load(one)) is not None]
            await asyncio.gather(*map(self._runner.first_turn, runs))
            await self._note([])

    async def _note(self, saga_ids: Sequence[str]) -> None:
        while True:
            try:
                return await self._patiently(self._store.evaluate, self._runner.node, saga_ids)
            except StoreUnknown:  # the same note once more is the same note
                await self._clock.sleep(AGAIN)

    async def _load(self, claimed: Claimed) -> Run | None:
        """Return a claimed saga in memory; one that cannot be loaded is put down, and stops no other."""
        about(saga_id=claimed.lease.saga_id)
        try:
            return await self._loaded(claimed)
        except UnreadableJournal as error:
            await self._leave(claimed, str(error))
        except Exception as error:
            log.exception("saga %s cannot be loaded", claimed.lease.saga_id)
            await self._leave(claimed, f"the coordinator could not read it: {type(error).__name__}")
        finally:
            about()
        return None

    async def _loaded(self, claimed: Claimed) -> Run | None:
        lease = claimed.lease
        entries = read(claimed.record.format, claimed.record.entries)
        state = replay(entries)
        about_saga(state)
        definition = await self._patiently(self._catalogue.running, state.definition, state.version)
        if definition is None:
            await self._park(claimed, state, f"the definition {state.definition} {state.version} is gone")
            return None
        if lease.node != self._runner.node:
            return None
        # A message may have come since the claim was read, when nothing here could be told of it: look once more.
        run = Run(lease=lease, definition=definition, state=state, events=[TakenOver()], inbox=True)
        self._runner.begin(run)
        self._telemetry.taken_over(entries)
        return run

    async def _leave(self, claimed: Claimed, reason: str) -> None:
        """Put down a saga that cannot be loaded: unchanged, due never, shown as parked with the reason."""
        log.error("saga %s is left as it is: %s", claimed.lease.saga_id, reason)
        summary = views.damaged(claimed.record.summary, reason, self._clock.now())
        await self._put_down(claimed, [], summary)

    async def _park(self, claimed: Claimed, state: SagaState, reason: str) -> None:
        """Park a saga that can be read but not run."""
        log.error("saga %s is parked: %s", claimed.lease.saga_id, reason)
        now = self._clock.now()
        entries: list[Entry] = []
        if not state.ended and state.status != "parked":
            entries = [e.SagaParked(at=now, cause="internal", detail=reason)]
            state = evolve(state, entries[0])
        summary = replace(views.damaged(claimed.record.summary, reason, now), late=state.late)
        await self._put_down(claimed, entries, summary)

    async def _put_down(self, claimed: Claimed, entries: Sequence[Entry], summary: Summary) -> None:
        bodies = [encode(entry) for entry in entries]
        batch = Append(entries=bodies, summary=summary, wake_at=None, release=True)
        try:
            await self._patiently(self._store.append, claimed.lease, batch)
        except (LeaseLost, MessagesWaiting, StoreUnknown) as error:
            log.warning("saga %s could not be put down: %s", claimed.lease.saga_id, error)
