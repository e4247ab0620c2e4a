"""Coordinators as real processes on simulated replica sets that misbehave, judged by the ledger of their participant."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import mongodb
from tests.acceptance.ledgers import STEPS, Ledger
from tests.acceptance.serving import Serving
from tests.mongo_proxy import Fault, ReplicaSet, replica_set, stepping_down

pytestmark = [pytest.mark.mongodb, pytest.mark.slow, pytest.mark.timeout(300)]

TTL = 2.0


@dataclass
class Stage:
    """Two coordinators that share a database, each by a replica set of its own, and their participant."""

    folder: Path
    database: str
    #: Members that lead the first, and the second, to the same server.
    ways: tuple[ReplicaSet, ReplicaSet]
    ledger: Ledger
    nodes: list[Serving]

    def add(self, way: int, *, program: str = "saga", **settings: str) -> Serving:
        """Start a coordinator."""
        settings = {
            "SAGA_STORE": self.ways[way].address(self.database),
            "SAGA_NODE_TTL": f"{TTL:.0f}s",
            "SAGA_GRACE": "0s",
        } | settings
        log = self.folder / f"log-{len(self.nodes)}"
        self.nodes.append(Serving(self.folder / "unused", log, program=program, **settings))
        return self.nodes[-1]

    async def put(self, at: Serving) -> None:
        """Store the definition."""
        document = self.ledger.document()
        status, said = await at.ask("PUT", f"/v1/definitions/{document['name']}", document)
        assert status in (200, 201), said

    async def start(self, at: Serving, saga_id: str) -> None:
        """Start a saga, again and again until it is acknowledged."""
        body = {"definition": "order", "id": saga_id}
        while True:
            status, said = await at.ask("POST", "/v1/sagas", body)
            if status in (200, 202):
                return
            assert status in (429, 503), said
            await asyncio.sleep(0.05)

    async def start_all(self, ids: list[str], *at: Serving) -> None:
        """Start sagas, eight at once, at one coordinator after the other."""
        waiting = asyncio.Semaphore(8)

        async def start(n: int, saga_id: str) -> None:
            async with waiting:
                await self.start(at[n % len(at)], saga_id)

        await asyncio.gather(*(start(n, saga_id) for n, saga_id in enumerate(ids)))

    async def seen(self, at: Serving, saga_id: str) -> dict[str, Any]:
        """Return a saga as this coordinator shows it, when it can."""
        while True:
            status, said = await at.ask("GET", f"/v1/sagas/{saga_id}")
            if status == 200:
                return dict(said)
            assert status == 503, said
            await asyncio.sleep(0.05)

    async def completed(self, at: Serving, ids: list[str], within: float = 60.0) -> None:
        """Wait until all have completed; none may go any other way."""
        left = list(ids)
        async with asyncio.timeout(within):
            while left:
                found = await self.seen(at, left[-1])
                assert found["status"] in ("running", "completed"), found
                if found["status"] == "completed":
                    left.pop()
                else:
                    await asyncio.sleep(0.05)
        self.ledger.judge(ids)

    async def until(self, what: Callable[[], bool], within: float = 30.0) -> None:
        """Wait for it."""
        async with asyncio.timeout(within):
            while not what():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def staged(folder: Path, seed: int = 1) -> AsyncIterator[Stage]:
    """Set the stage; whatever is left on it is killed in the end."""
    address = await asyncio.to_thread(mongodb.fresh_address)
    async with replica_set(address, seed) as first, replica_set(address, seed + 1) as second:
        stage = Stage(folder, urlsplit(address).path[1:], (first, second), Ledger(), [])
        await stage.ledger.come()
        try:
            yield stage
        finally:
            for node in stage.nodes:
                node.signal(signal.SIGKILL)
                await node.ended()
            stage.ledger.answering.set()
            await stage.ledger.go()
            await mongodb.drop(address)


async def two(stage: Stage, **settings: str) -> tuple[Serving, Serving]:
    """Start both, and store the definition."""
    nodes = stage.add(0, **settings), stage.add(1, **settings)
    await asyncio.gather(*(node.ready() for node in nodes))
    await stage.put(nodes[0])
    return nodes


@pytest.mark.parametrize("driver", mongodb.DRIVERS)
async def test_everything_goes_wrong_and_every_saga_completes(tmp_path: Path, driver: str) -> None:
    """Every fault and a step-down each second: none is lost, parked, or sent an attempt twice."""
    async with staged(tmp_path) as stage:
        nodes = await two(stage, SAGA_MONGODB_DRIVER=driver)
        for way in stage.ways:
            way.slow = 0.5
            way.rates |= dict.fromkeys(Fault, 0.006)
        ids = [f"o{n:03}" for n in range(150)]
        async with stepping_down(stage.ways[0], 1.0), stepping_down(stage.ways[1], 1.3):
            await stage.start_all(ids, *nodes)
            await stage.completed(nodes[0], ids, within=120)
        fired = stage.ways[0].fired + stage.ways[1].fired
        print(f"{driver}: {sum(fired.values())} faults: {dict(fired)}")
        assert sum(fired.values()) > 50


async def test_a_slow_server_is_waited_for(tmp_path: Path) -> None:
    """Two seconds an operation, heartbeats too: slow, and nothing else."""
    async with staged(tmp_path) as stage:
        nodes = await two(stage, SAGA_NODE_TTL="10s")
        for way in stage.ways:
            way.rates[Fault.SLOW] = 1.0
        ids = [f"o{n:03}" for n in range(16)]
        await stage.start_all(ids, *nodes)
        await stage.until(lambda: len(stage.ledger.calls) >= STEPS * len(ids), within=120)
        for way in stage.ways:
            way.rates.clear()
        await stage.completed(nodes[0], ids)
        assert {call.fence for call in stage.ledger.calls} == {1}


async def test_a_server_away_at_the_start_and_for_a_minute_in_the_middle(tmp_path: Path) -> None:
    """It is waited for, alive and not ready; what was acknowledged before goes on after it."""
    async with staged(tmp_path) as stage:
        for way in stage.ways:
            way.go()
        nodes = stage.add(0), stage.add(1)
        for node in nodes:
            await stage.until(lambda node=node: "listening on" in node.log)
            assert (await node.ask("GET", "/healthz"))[0] == 200
            status, said = await node.ask("GET", "/readyz")
            assert (status, "waits for its store" in said["detail"]) == (503, True)
        for way in stage.ways:
            await way.come()
        await asyncio.gather(*(node.ready() for node in nodes))
        await stage.put(nodes[0])

        stage.ledger.answering.clear()
        ids = [f"o{n:03}" for n in range(50)]
        await stage.start_all(ids, *nodes)
        for way in stage.ways:
            way.go()
        stage.ledger.answering.set()
        left = time.monotonic() + 60.0
        while time.monotonic() < left:
            for node in nodes:
                assert (await node.ask("GET", "/healthz"))[0] == 200
            status, said = await nodes[0].ask("POST", "/v1/sagas", {"definition": "order", "id": "late"})
            assert (status, said["type"]) == (503, "store-unavailable")
        for way in stage.ways:
            await way.come()
        await asyncio.gather(*(node.ready() for node in nodes))
        await stage.completed(nodes[0], ids)
        await stage.start(nodes[1], "after")
        await stage.completed(nodes[1], ["after"])


async def test_one_that_is_cut_off_from_the_store_stops_sending_in_time(tmp_path: Path) -> None:
    """The other takes over, and nothing comes from the first after that; back again it takes part under another name."""
    async with staged(tmp_path) as stage:
        first, second = await two(stage)
        stage.ledger.seconds = 0.3
        ids = [f"o{n:03}" for n in range(60)]
        await stage.start_all(ids, first)
        stage.ways[0].go()
        cut = time.monotonic()
        await stage.until(lambda: first.port not in {call.sender for call in stage.ledger.calls[-1:]})
        await stage.completed(second, ids)
        by_first = [call.at for call in stage.ledger.calls if call.sender == first.port]
        by_second = [call.at for call in stage.ledger.calls if call.sender == second.port]
        print(f"the last of the first {max(by_first) - cut:.2f} s after the cut, "
              f"the first of the second {min(by_second) - cut:.2f} s")  # fmt: skip
        assert max(by_first) < min(by_second)
        status, said = await first.ask("GET", "/readyz")
        assert (status, said["type"]) == (503, "not-ready")
        await stage.ways[0].come()
        await first.ready()
        await stage.start(first, "back")
        await stage.completed(second, ["back"])


async def test_one_that_is_cut_off_from_participants_keeps_what_it_has(tmp_path: Path) -> None:
    """Its sagas stay its own, answer commands, and go on when the participants are back."""
    async with staged(tmp_path) as stage:
        first, second = await two(stage)
        await stage.ledger.go()
        ids = [f"o{n:03}" for n in range(20)]
        await stage.start_all(ids, first)
        owners = {(await stage.seen(second, saga_id))["owner"] for saga_id in ids}
        assert len(owners) == 1
        await asyncio.sleep(2 * TTL)
        assert {(await stage.seen(second, saga_id))["owner"] for saga_id in ids} == owners
        for command, status in (("pause", "paused"), ("resume", "running")):
            code, said = await second.ask("POST", f"/v1/sagas/{ids[0]}/{command}", {})
            assert (code, said["status"]) == (200, status)
        await stage.ledger.come()
        await stage.completed(second, ids)
        # What was paused is nobody's, and whoever is asked takes it on.
        assert {call.fence for call in stage.ledger.calls if call.saga != ids[0]} == {1}


async def test_one_that_was_stopped_past_its_lease_records_nothing_of_what_it_had_in_its_hand(
    tmp_path: Path,
) -> None:
    """An answer that waits for it when it goes on is the other's by then; so is what it was about to send."""
    async with staged(tmp_path) as stage:
        first, second = await two(stage)
        stage.ledger.answering.clear()
        await stage.start(first, "on-the-wire")
        await stage.until(lambda: len(stage.ledger.calls) == 1)
        # Of another one the intent is written, and the word of it is on its way when the coordinator is stopped.
        stage.ways[0].answering.clear()
        starting = asyncio.ensure_future(stage.start(first, "written"))
        await stage.ways[0].kept_back.wait()
        first.signal(signal.SIGSTOP)
        stage.ways[0].answering.set()
        stage.ledger.answering.set()

        await stage.until(
            lambda: len({call.saga for call in stage.ledger.calls if call.sender == second.port}) == 2
        )
        await stage.completed(second, ["on-the-wire", "written"])
        sent = len(stage.ledger.calls)
        before, after = stage.ledger.of("on-the-wire")[:2]
        assert (before.attempt, after.attempt, before.fence < after.fence) == (1, 2, True)
        first.signal(signal.SIGCONT)
        await starting
        await first.ready()
        await stage.until(lambda: "goes on as" in first.log or "taken for dead" in first.log)
        assert len(stage.ledger.calls) == sent
        await stage.start(first, "after")
        await stage.completed(second, ["on-the-wire", "written", "after"])


@pytest.mark.parametrize("ahead", [0, 1], ids=["the dead one is behind", "the dead one is ahead"])
async def test_clocks_that_differ_by_an_hour_change_nothing(tmp_path: Path, ahead: int) -> None:
    """Each runs what it starts at once; what one leaves the other takes over within the TTL and a second."""
    async with staged(tmp_path) as stage:
        nodes = tuple(
            stage.add(n, program="tests.acceptance.skewed", CLOCK_SKEW=str(3600 * (n == ahead)))
            for n in range(2)
        )
        first, second = nodes
        await asyncio.gather(*(node.ready() for node in nodes))
        await stage.put(first)
        ids = [f"o{n:03}" for n in range(60)]
        await stage.start_all(ids, *nodes)
        await stage.completed(second, ids)

        stage.ledger.answering.clear()
        late = [f"p{n:03}" for n in range(30)]
        await stage.start_all(late, first)
        await stage.until(lambda: {call.saga for call in stage.ledger.calls} >= set(late))
        first.signal(signal.SIGKILL)
        killed = time.monotonic()
        stage.ledger.answering.set()
        await stage.until(
            lambda: all(any(call.sender == second.port for call in stage.ledger.of(each)) for each in late)
        )
        took = (
            min(call.at for call in stage.ledger.calls if call.sender == second.port and call.saga in late)
            - killed
        )
        print(f"taken over after {took:.2f} s")
        await stage.completed(second, late)
        assert took < TTL + 1.0
