"""Two coordinators, real processes, on one MongoDB-compatible server."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests import mongodb
from tests.acceptance.serving import Serving

pytestmark = [pytest.mark.mongodb, pytest.mark.slow]

TTL = 2.0


@dataclass(frozen=True)
class Call:
    """A request as it arrived."""

    saga: str
    attempt: int
    fence: int
    callback: str
    #: On the machine's monotonic clock, as every time here.
    at: float


class Services:
    """Participants that say yes, hang until they are let go, or say that they will call back."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Call]] = defaultdict(list)
        self.free = asyncio.Event()

    async def start(self) -> str:
        """Return the address."""
        app = web.Application()
        app.router.add_post("/yes", self._yes)
        app.router.add_post("/hang", self._hang)
        app.router.add_post("/later", self._later)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """End; what hangs is let go."""
        self.free.set()
        await self._runner.cleanup()

    def _note(self, request: web.Request) -> None:
        said = request.headers
        call = Call(
            saga=said["Saga-Id"],
            attempt=int(said["Saga-Attempt"]),
            fence=int(said["Saga-Fence"]),
            callback=said["Saga-Callback"],
            at=time.monotonic(),
        )
        self.calls[call.saga].append(call)

    async def _yes(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({})

    async def _hang(self, request: web.Request) -> web.Response:
        self._note(request)
        await self.free.wait()
        return web.json_response({})

    async def _later(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({}, status=202)


def document(address: str, path: str) -> dict[str, Any]:
    """Return a definition of one step that calls this path."""
    action = {"service": "any", "path": f"/{path}", "timeout": "60s"}
    return {
        "name": path,
        "services": {"any": {"url": address}},
        "steps": [{"name": "one", "action": action, "compensation": "none"}],
    }


@dataclass
class Pair:
    """Two coordinators and what they call."""

    first: Serving
    second: Serving
    services: Services

    async def start(self, at: Serving, definition: str, saga_id: str, **more: Any) -> None:
        """Start a saga at one of them."""
        status, said = await at.ask("POST", "/v1/sagas", {"definition": definition, "id": saga_id, **more})
        assert status == 202, said

    async def status(self, saga_id: str) -> str:
        """Return a saga's status, as the second shows it."""
        return str((await self.second.ask("GET", f"/v1/sagas/{saga_id}"))[1]["status"])

    async def until(self, what: Callable[[], bool], within: float = 20.0) -> None:
        """Wait for it."""
        async with asyncio.timeout(within):
            while not what():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def two(folder: Path, **settings: str) -> AsyncIterator[Pair]:
    """Start both on a database of their own; whatever is left of them is killed in the end."""
    store = await asyncio.to_thread(mongodb.fresh_address)
    services = Services()
    address = await services.start()
    settings = {"SAGA_STORE": store, "SAGA_NODE_TTL": f"{TTL:.0f}s", "SAGA_GRACE": "0s"} | settings
    made = [Serving(folder / "unused", folder / name, **settings) for name in ("first", "second")]
    try:
        await asyncio.gather(*(each.ready() for each in made))
        for path in ("yes", "hang", "later"):
            status, said = await made[0].ask("PUT", f"/v1/definitions/{path}", document(address, path))
            assert status == 201, said
        yield Pair(*made, services)
    finally:
        for each in made:
            each.signal(signal.SIGKILL)
            await each.ended()
        await services.stop()
        await mongodb.drop(store)


async def test_what_is_due_is_run_by_one_of_them(tmp_path: Path) -> None:
    """Both look for it; whoever gets it sends, and nothing is sent twice."""
    async with two(tmp_path) as pair:
        at = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        ids = [f"s{n}" for n in range(200)]
        for chunk in (ids[:100], ids[100:]):
            await asyncio.gather(
                *(
                    pair.start((pair.first, pair.second)[n % 2], "yes", saga_id, start_at=at)
                    for n, saga_id in enumerate(chunk)
                )
            )
        calls = pair.services.calls
        await pair.until(lambda: len(calls) == len(ids))
        async with asyncio.timeout(10):
            while {await pair.status(saga_id) for saga_id in ids} != {"completed"}:
                await asyncio.sleep(0.1)
        assert {saga_id: [call.attempt for call in calls[saga_id]] for saga_id in ids} == {
            saga_id: [1] for saga_id in ids
        }


async def test_a_killed_ones_sagas_are_taken_over(tmp_path: Path, record_property: Any) -> None:
    """Within the TTL and a second, under a higher fence."""
    async with two(tmp_path) as pair:
        ids = [f"s{n}" for n in range(40)]
        for saga_id in ids:
            await pair.start(pair.first, "hang", saga_id)
        calls = pair.services.calls
        await pair.until(lambda: len(calls) == len(ids))
        pair.first.signal(signal.SIGKILL)
        killed = time.monotonic()
        await pair.until(lambda: all(len(each) == 2 for each in calls.values()))
        took = max(each[1].at for each in calls.values()) - killed
        record_property("takeover_seconds", took)
        print(f"taken over after {took:.2f} s, with a TTL of {TTL} s")
        assert took < TTL + 1.0
        for first, second in calls.values():
            assert (first.attempt, second.attempt) == (1, 2)
            assert second.fence > first.fence
        pair.services.free.set()
        async with asyncio.timeout(10):
            while {await pair.status(saga_id) for saga_id in ids} != {"completed"}:
                await asyncio.sleep(0.05)


async def test_commands_and_callbacks_may_be_sent_to_either(tmp_path: Path) -> None:
    """The owner finds what the other has put into the inbox."""
    async with two(tmp_path) as pair:
        await pair.start(pair.first, "later", "s1")
        calls = pair.services.calls
        await pair.until(lambda: "s1" in calls)
        status, said = await pair.second.ask("POST", "/v1/sagas/s1/pause", {"reason": "a look"})
        assert (status, said["status"]) == (200, "paused")
        status, said = await pair.first.ask("POST", "/v1/sagas/s1/resume", {})
        assert (status, said["status"]) == (200, "running")
        path = urlsplit(calls["s1"][0].callback).path
        status, said = await pair.second.ask("POST", path, {"outcome": "succeeded", "output": {}})
        assert status == 200, said
        async with asyncio.timeout(5):
            while await pair.status("s1") != "completed":
                await asyncio.sleep(0.02)
        assert (await pair.first.ask("POST", path, {"outcome": "refused", "error": "no"}))[0] == 409


async def test_one_that_is_stopped_hands_over(tmp_path: Path, record_property: Any) -> None:
    """What it had on the wire is sent again by the other, a moment after it has let go."""
    async with two(tmp_path) as pair:
        ids = [f"s{n}" for n in range(40)]
        for saga_id in ids:
            await pair.start(pair.first, "hang", saga_id)
        calls = pair.services.calls
        await pair.until(lambda: len(calls) == len(ids))
        asked = time.monotonic()
        assert await pair.first.stop() == 0
        await pair.until(lambda: all(len(each) == 2 for each in calls.values()))
        took = max(each[1].at for each in calls.values()) - asked
        record_property("hand_over_seconds", took)
        print(f"handed over {took * 1000:.0f} ms after it was asked to stop")
        assert took < 1.0
        assert {each[1].attempt for each in calls.values()} == {2}
