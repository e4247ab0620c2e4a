"""Start the coordinator, kill it at a random instant, and again; cancels go out just before and just after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.campaign import clock
from tests.campaign.coordinators import Coordinator
from tests.campaign.load import Clients


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How the instants are drawn; seconds."""

    #: A life lasts up to so long from the first answer: or, where that takes long, so many times as long.
    life: float
    stretch: float
    #: So many lives end already while the coordinator is starting up.
    early: float = 0.08
    #: One that has not answered by then is killed as well.
    patience: float = 5.0
    #: Down times are short, but for a few that are long enough for deadlines to pass.
    down: float = 0.006
    long_share: float = 0.03
    long_down: float = 0.5
    #: Share of kills before which, and of restarts after which, something is cancelled.
    cancel_before: float = 0.25
    cancel_after: float = 0.12


#: Of a warm fork, and of a process that has to import everything first.
WARM = Pace(life=0.13, stretch=0.8)
COLD = Pace(life=0.8, stretch=0.5, early=0.2, long_share=0.1, patience=15.0)

#: A cancel goes out so many seconds before a kill at most.
SHORTLY = 0.01


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill: when the coordinator was started, killed and started again, epoch seconds."""

    number: int
    cold: bool
    launched: float
    at: float
    #: When the next one was started.
    again: float
    #: Seconds from its start to its first answer, None when it was killed before.
    ready: float | None = None

    @property
    def line(self) -> str:
        """Return the kill as a line of a table, for a failure to be studied."""
        kind = "cold" if self.cold else "warm"
        ready = "-" if self.ready is None else f"{self.ready:.4f}"
        life, down = self.at - self.launched, self.again - self.at
        return f"{self.number}\t{kind}\t{self.launched:.4f}\t{ready}\t{life:.4f}\t{down:.4f}"


class Killer:
    """Kills, and keeps a list of it."""

    def __init__(self, clients: Clients, *, seed: int) -> None:
        self.kills: list[Kill] = []
        self._clients = clients
        self._dice = random.Random(f"{seed}|killer")
        #: Seconds from the last launch to its first answer.
        self._ready_after = 0.05

    async def kill(
        self, coordinator: Coordinator, count: int, pace: Pace, *, cold: bool, enough: Callable[[], bool]
    ) -> None:
        """Start and kill it so often, or until it is enough; it is down afterwards."""
        for _ in range(count):
            if enough():
                break
            launched = clock.now()
            self._clients.answered.clear()
            await coordinator.launch()
            ready = await self._live(pace, launched)
            await coordinator.kill()
            at, number = clock.now(), len(self.kills) + 1
            self._clients.gate.set()
            await clock.sleep(self._down(pace))
            if self._dice.random() < pace.cancel_after:
                self._clients.gate.clear()
            again = clock.now()
            self.kills.append(
                Kill(number=number, cold=cold, launched=launched, at=at, again=again, ready=ready)
            )
        self._clients.gate.set()

    def _down(self, pace: Pace) -> float:
        if self._dice.random() < pace.long_share:
            return pace.long_down * (0.6 + 0.4 * self._dice.random())
        return pace.down * self._dice.random()

    async def _live(self, pace: Pace, launched: float) -> float | None:
        """Let it live until the instant that is drawn; return when it was ready, if it was."""
        if not self._clients.gate.is_set():
            self._keep(asyncio.create_task(self._cancel_first()))
        if self._dice.random() < pace.early:
            await clock.sleep(self._dice.random() * self._ready_after)
            return None
        await self._clients.heard(pace.patience)
        self._ready_after = clock.now() - launched
        left = self._dice.random() * max(pace.life, pace.stretch * self._ready_after)
        shortly = min(left, self._dice.random() * SHORTLY)
        if self._dice.random() < pace.cancel_before:
            await clock.sleep(left - shortly)
            if victim := self._victim():
                self._keep(asyncio.create_task(self._clients.cancel(victim, when="before kill")))
            await clock.sleep(shortly)
        else:
            await clock.sleep(left)
        return self._ready_after

    async def _cancel_first(self) -> None:
        """Send a cancel as the first request the restarted coordinator gets, unless it is killed before."""
        number = len(self.kills)
        try:
            victim = self._victim()
            while victim is not None and number == len(self.kills):
                if await self._clients.cancel(victim, when="after restart"):
                    break
                await clock.sleep(0.002)
        finally:
            self._clients.gate.set()

    def _victim(self) -> str | None:
        running = list(self._clients.told.running)
        return self._dice.choice(running) if running else None

    def _keep(self, task: asyncio.Task[object]) -> None:
        _KEPT.add(task)
        task.add_done_callback(_KEPT.discard)


#: Tasks whose end nobody waits for.
_KEPT: set[asyncio.Task[object]] = set()
