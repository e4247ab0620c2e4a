"""One store file with one coordinator on it, which is started with a point armed, killed there, and started again."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import aiohttp

from tests.campaign.coordinators import Surroundings, Warm
from tests.campaign.judge import Finding
from tests.campaign.rounds import free_port
from tests.crash_points.armed import ORDERS, Orders
from tests.crash_points.journey import Client, Names, travel
from tests.crash_points.verdict import judged
from tests.crash_points.world import World, definition

#: What a saga is when the point is come to: half done by an earlier life, or started in this one.
Met = Literal["recovered", "fresh", "a file", "an old file"]

#: Seconds an armed life may last.
LIFE = 60.0
#: Seconds a life goes on when everything is done: where nodes beat, until a silent one is buried.
LINGER = {False: 0.12, True: 1.6}


@dataclass(frozen=True, kw_only=True)
class Surrounding:
    """What a life is like, besides the point that is armed in it."""

    #: Several fresh sagas side by side, on a disk that is slow: their writes go down together.
    together: bool = False
    #: The store is said to be shared.
    shared: bool = False
    #: The life before has died while it was evaluating the saga that is recovered.
    noted: bool = False

    def orders(self, **more: Any) -> Orders:
        """Return the orders of such a life."""
        return Orders(shared=self.shared, slow=0.004 if self.together else 0.0, **more)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point in one situation: a line of the table."""

    point: str
    direction: str
    met: Met
    #: Which visit is the last.
    visit: int
    #: Lives that end there, one after the other.
    lives: int = 1
    surrounding: Surrounding = field(default_factory=Surrounding)


@dataclass(kw_only=True)
class Outcome:
    """What became of a cell."""

    cell: Cell
    reached: int = 0
    names: Names | None = None
    troubles: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Stage:
    """Plays cells of one direction, one after the other, on one store."""

    def __init__(
        self, world: World, direction: str, data: Path, *, number: int, paths: tuple[Path, ...]
    ) -> None:
        self._world, self._direction, self._stem = world, direction, f"{direction}-{number}"
        data.mkdir(parents=True)
        self._data, self._orders, self._gate = data, data / "orders.json", data / "gate"
        port = free_port(1000 + number + 100 * len(direction))
        self._warm = Warm(
            surroundings=Surroundings(
                paths=paths,
                log=data / "coordinator.log",
                settings={
                    "SAGA_STORE": f"sqlite:///{data / 'saga.db'}",
                    "SAGA_PORT": str(port),
                    "SAGA_LOG_LEVEL": "warning",
                    "SAGA_NODE_TTL": "500ms",
                    ORDERS: str(self._orders),
                },
            ),
            entry="tests.crash_points.armed:serve",
        )
        self._url = f"http://127.0.0.1:{port}"
        self._number = 0
        self._outcomes: list[Outcome] = []

    async def open(self) -> None:
        """Store the definition, with a coordinator that lives on."""
        await self._warm.open()
        self._connect()
        await self._launch(Orders())
        await self._client.ask("PUT", "/v1/definitions/trip", definition(self._world.urls))

    def _connect(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._client = Client(self._session, self._url)

    async def close(self) -> None:
        """End everything."""
        await self._session.close()
        await self._warm.close()

    # one cell

    async def rehearse(self, surrounding: Surrounding) -> dict[Met, Counter[str]]:
        """Live a whole life with nothing armed; return how often each point is come to."""
        record = self._data / "visits"
        record.unlink(missing_ok=True)
        names = await self._leave_half_done(surrounding)
        recovered = asyncio.Event()
        await self._launch(surrounding.orders(record=str(record)))
        going = asyncio.create_task(self._go(names, surrounding, recovered))
        await recovered.wait()
        count = len(record.read_text().splitlines())
        await going
        assert await self._warm.stop() == 0
        fresh = record.read_text().splitlines()
        # What is counted of a fresh saga begins where the gate was opened, which the record knows.
        opened = fresh.index("gate") if "gate" in fresh else len(fresh)
        await self._launch(Orders())
        return {"recovered": Counter(fresh[:count]), "fresh": Counter(fresh[opened + 1 :])}

    async def play(self, cell: Cell) -> Outcome:
        """Kill the coordinator at the cell's point, and let a life without it bring everything to its end."""
        outcome = Outcome(cell=cell)
        self._outcomes.append(outcome)
        try:
            await self._play(cell, outcome)
        except (TimeoutError, AssertionError) as trouble:
            outcome.troubles.append(f"{type(trouble).__name__}: {trouble}")
        return outcome

    async def _play(self, cell: Cell, outcome: Outcome) -> None:
        names = outcome.names = await self._leave_half_done(cell.surrounding)
        gate = str(self._gate) if cell.met == "fresh" else None
        orders = cell.surrounding.orders(point=cell.point, visit=cell.visit, gate=gate)
        going = asyncio.create_task(self._go(names, cell.surrounding, asyncio.Event()))
        try:
            for life in range(cell.lives):
                await self._launch(orders if life == 0 else replace(orders, visit=1, gate=None))
                if not await self._died(outcome, going):
                    break
            await self._launch(Orders())
            await self._finish(names, going)
        finally:
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)

    async def _died(self, outcome: Outcome, going: asyncio.Task[None]) -> bool:
        """Wait for the end of a life, which is asked for after the journey; return whether it ended at its point."""
        stopping = asyncio.create_task(self._stop_after(going, outcome.cell.surrounding))
        try:
            code = await asyncio.wait_for(self._warm.ended(), LIFE)
        finally:
            stopping.cancel()
        outcome.reached += code == -signal.SIGKILL
        if code not in (0, -signal.SIGKILL):
            outcome.troubles.append(f"the coordinator ended with exit code {code}")
        return code == -signal.SIGKILL

    async def _stop_after(self, going: asyncio.Task[None], surrounding: Surrounding) -> None:
        """Ask a life to end that has gone through everything."""
        again = going.done()
        await asyncio.wait({going})
        await self._client.ask("GET", "/readyz")
        if again:
            await asyncio.sleep(LINGER[surrounding.shared])
        self._warm.signal(signal.SIGTERM)

    async def _finish(self, names: Names, going: asyncio.Task[None]) -> None:
        """Let the last life, in which nothing is armed, end what has been started."""
        if not going.done():
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)
        else:
            await going
        accepted = self._client.told.accepted
        for saga in names.sagas:
            if saga in accepted or await self._known(saga):
                if saga == names.waiting:
                    await self._client.cancel(saga)
                await self._client.over(saga)
        await self._definitions_are_there(names)

    async def _known(self, saga: str) -> bool:
        shown = await self._client.ask("GET", f"/v1/sagas/{saga}", fine=(404,))
        return shown.get("id") == saga

    async def _definitions_are_there(self, names: Names) -> None:
        stored = self._client.told.stored.get(names.definition, set())
        if stored:
            page = await self._client.ask("GET", f"/v1/definitions/{names.definition}/versions")
            there = {each["version"] for each in page["items"]}
            assert stored <= there, (
                f"of {names.definition} versions {stored} were stored, and {there} are there"
            )

    async def _leave_half_done(self, surrounding: Surrounding) -> Names:
        """Kill a life in which nothing is armed while a saga of it is half done."""
        self._number += 1
        self._gate.unlink(missing_ok=True)
        names = Names.of(self._stem, self._number, together=surrounding.together)
        there = self._world.hold(names.recovered)
        await self._client.start(names.recovered)
        await asyncio.wait_for(there.wait(), 20)
        await self._warm.kill()
        if surrounding.noted:
            await self._launch(surrounding.orders(point="store.evaluate after"))
            await asyncio.wait_for(self._warm.ended(), LIFE)
        self._world.let_go(names.recovered)
        return names

    async def _go(self, names: Names, surrounding: Surrounding, recovered: asyncio.Event) -> None:
        """Travel, and open the gate when the fresh saga goes the way that is asked for."""
        if self._direction == "forward":
            opening = asyncio.create_task(self._open_gate_after(recovered))
        else:
            self._world.when_refused(names.fresh[0], self._open_gate)
            opening = None
        try:
            await travel(self._client, names, until_recovered=recovered, linger=LINGER[surrounding.shared])
        finally:
            if opening is not None:
                opening.cancel()

    async def _open_gate_after(self, recovered: asyncio.Event) -> None:
        await recovered.wait()
        self._open_gate()

    def _open_gate(self) -> None:
        self._gate.touch()
        record = self._data / "visits"
        if record.exists():
            with record.open("a") as file:
                file.write("gate\n")

    async def _launch(self, orders: Orders) -> None:
        orders.write(self._orders)
        await self._warm.launch()

    async def judge(self) -> None:
        """Note with each outcome what is not as it was promised."""
        findings = await judged(self._client, self._world, f"{self._stem}-")
        for outcome in self._outcomes:
            sagas = outcome.names.sagas if outcome.names else ()
            outcome.findings += [finding for finding in findings if finding.saga in sagas]
