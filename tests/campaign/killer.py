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

    #: A life lasts up to so long, counted from the fork or from the start of the process.
    life: float
    #: So many lives end already while the coordinator is starting up, within ``start_up`` seconds.
    early: float = 0.08
    start_up: float = 0.03
    #: Down times are short, but for a few that are long enough for deadlines to pass.
    down: float = 0.006
    long_share: float = 0.03
    long_down: float = 0.5
    #: Share of kills before which, and of restarts after which, something is cancelled.
    cancel_before: float = 0.25
    cancel_after: float = 0.12


#: Of a warm fork, and of a process that has to import everything first.
WARM = Pace(life=0.22)
COLD = Pace(life=2.2, early=0.15, start_up=0.7, long_share=0.1)


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill: when the coordinator was started, killed and started again, epoch seconds."""

    number: int
    cold: bool
    launched: float
    at: float
    #: When the next one was started.
    again: float

    @property
    def line(self) -> str:
        """Return the kill as a line of a table, for a failure to be studied."""
        kind = "cold" if self.cold else "warm"
        return f"{self.number}\t{kind}\t{self.launched:.4f}\t{self.at - self.launched:.4f}\t{self.again - self.at:.4f}"


class Killer:
    """Kills, and keeps a list of it."""

    def __init__(self, clients: Clients, *, seed: int) -> None:
        self.kills: list[Kill] = []
        self._clients = clients
        self._dice = random.Random(f"{seed}|killer")

    async def kill(
        self, coordinator: Coordinator, count: int, pace: Pace, *, cold: bool, enough: Callable[[], bool]
    ) -> None:
        """Start and kill it so often, or until it is enough; it is down afterwards."""
        for _ in range(count):
            if enough():
                return
            launched = clock.now()
            await coordinator.launch()
            await self._live(pace, launched)
            await coordinator.kill()
            at = clock.now()
            self._clients.gate.set()
            await clock.sleep(self._down(pace))
            if self._dice.random() < pace.cancel_after:
                self._clients.gate.clear()
            kill = Kill(number=len(self.kills) + 1, cold=cold, launched=launched, at=at, again=clock.now())
            self.kills.append(kill)
        self._clients.gate.set()

    def _down(self, pace: Pace) -> float:
        if self._dice.random() < pace.long_share:
            return pace.long_down * (0.6 + 0.4 * self._dice.random())
        return pace.down * self._dice.random()

    async def _live(self, pace: Pace, launched: float) -> None:
        early = self._dice.random() < pace.early
        until = launched + self._dice.random() * (pace.start_up if early else pace.life)
        first = None
        if not self._clients.gate.is_set():
            first = asyncio.create_task(self._cancel_first(until))
        last = self._dice.random() * 0.01 if self._dice.random() < pace.cancel_before else None
        await clock.sleep(max(0.0, until - (last or 0.0) - clock.now()))
        if last is not None and (victim := self._victim()):
            self._keep(asyncio.create_task(self._clients.cancel(victim, when="before kill")))
            await clock.sleep(max(0.0, until - clock.now()))
        if first is not None:
            self._keep(first)

    async def _cancel_first(self, until: float) -> None:
        """Send a cancel as the first request the restarted coordinator gets."""
        try:
            victim = self._victim()
            while victim is not None and clock.now() < until:
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
