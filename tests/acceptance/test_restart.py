"""What a coordinator does that finds thousands of unfinished sagas in its file, and how it leaves."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.acceptance.serving import Serving

UNFINISHED = 5000


class Gate:
    """A participant that answers nothing until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.calls = 0
        self.first: float | None = None

    async def start(self) -> str:
        """Return its address."""
        app = web.Application()
        app.router.add_route("*", "/{what:.*}", self._do)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """End."""
        await self._runner.cleanup()

    async def _do(self, _request: web.Request) -> web.Response:
        self.calls += 1
        await self.open.wait()
        if self.first is None:
            self.first = asyncio.get_running_loop().time()
        return web.json_response({})


def document(address: str, **call: Any) -> dict[str, Any]:
    """Return a definition of one step."""
    action = {"service": "any", "path": "/do"} | call
    return {
        "name": "waiting",
        "services": {"any": {"url": address}},
        "steps": [{"name": "one", "action": action, "compensation": {"path": "/undo"}}],
    }


@pytest.mark.slow
async def test_every_unfinished_saga_is_resumed_and_a_poisoned_one_stops_none(tmp_path: Path) -> None:
    """Killed with 5,000 sagas in flight, restarted: all complete but the one whose journal is damaged."""
    gate = Gate()
    address = await gate.start()
    store = tmp_path / "saga.db"
    server = await Serving(store, tmp_path / "log").ready()
    await server.ask("PUT", "/v1/definitions/waiting", document(address, timeout="2m"))
    gaps = asyncio.Semaphore(32)

    async def start(number: int) -> None:
        async with gaps:
            status, _ = await server.ask("POST", "/v1/sagas", {"definition": "waiting", "id": f"s{number}"})
            assert status == 202

    await asyncio.gather(*(start(number) for number in range(UNFINISHED)))
    server.signal(signal.SIGKILL)
    await server.ended()
    with sqlite3.connect(store) as connection:
        connection.execute(
            "UPDATE entries SET entry = ?, sum = NULL WHERE saga_id = 's7' AND seq = 1",
            (b'{"kind":"from_2031"}',),
        )
    connection.close()

    gate.open.set()
    again = await Serving(store, tmp_path / "log").ready()
    try:
        loop = asyncio.get_running_loop()
        counted = await _ended(again)
        assert counted == UNFINISHED - 1
        assert gate.first is not None
        assert gate.first < loop.time()
        status, problem = await again.ask("GET", "/v1/sagas?status=parked")
        assert status == 200
        assert [item["id"] for item in problem["items"]] == ["s7"]
        status, shown = await again.ask("GET", "/v1/sagas/s7")
        assert (status, shown["status"], shown["problem"]["type"]) == (200, "parked", "journal-unreadable")
    finally:
        assert await again.stop() == 0
        await gate.stop()


async def _ended(server: Serving) -> int:
    """Wait until nothing runs any more, and return how many completed."""
    while (await server.ask("GET", "/v1/sagas?status=running&limit=1"))[1]["items"]:
        await asyncio.sleep(0.1)
    count, cursor = 0, ""
    while cursor is not None:
        _, page = await server.ask(
            "GET", f"/v1/sagas?status=completed&limit=200{cursor and '&cursor=' + cursor}"
        )
        count += len(page["items"])
        cursor = page["next"]
    return count


@pytest.mark.slow
async def test_sigterm_lets_calls_end_records_them_and_leaves(tmp_path: Path) -> None:
    """The call on the wire is awaited and recorded; nothing new is sent; the next coordinator goes on."""
    gate = Gate()
    address = await gate.start()
    store = tmp_path / "saga.db"
    # The call is let go as soon as it is seen that the coordinator stops, which on a busy machine takes its time.
    server = await Serving(store, tmp_path / "log", SAGA_GRACE="1m").ready()
    two = document(address, timeout="1m")
    two["steps"].append(
        {"name": "two", "action": {"service": "any", "path": "/do"}, "compensation": {"path": "/undo"}}
    )
    await server.ask("PUT", "/v1/definitions/waiting", two)
    await server.ask("POST", "/v1/sagas", {"definition": "waiting", "id": "one"})
    while gate.calls == 0:
        await asyncio.sleep(0.01)
    server.signal(signal.SIGTERM)
    while (await server.ask("GET", "/readyz"))[0] == 200:
        await asyncio.sleep(0.01)
    gate.open.set()
    assert await server.ended() == 0
    assert gate.calls == 1

    again = await Serving(store, tmp_path / "log").ready()
    try:
        while (await again.ask("GET", "/v1/sagas/one"))[1]["status"] != "completed":
            await asyncio.sleep(0.02)
        _, journal = await again.ask("GET", "/v1/sagas/one/journal")
        kinds = [entry["kind"] for entry in journal["items"]]
        assert "attempt_uncertain" not in kinds
        assert gate.calls == 2
    finally:
        await again.stop()
        await gate.stop()
