"""A disk that fills up: no start is lost or half made, no outcome is false, and it goes on when there is room."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.acceptance.serving import Serving


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        assert "SAGA_TESTS_ARE_COMPLETE" not in os.environ, mounted.stderr
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Participant:
    """Answers 200, but holds what it is told to hold."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.held = asyncio.Event()

    async def start(self) -> str:
        """Return its address."""
        app = web.Application(client_max_size=2**21)
        app.router.add_post("/{what}", self._do)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """End."""
        await self._runner.cleanup()

    async def _do(self, request: web.Request) -> web.Response:
        self.calls.append(request.headers["Idempotency-Key"])
        if request.match_info["what"] == "held":
            await self.held.wait()
        return web.json_response({})


def definition(address: str) -> dict[str, Any]:
    """Return two steps, the first of which is held."""
    undo = {"path": "/undo"}
    return {
        "name": "filling",
        "services": {"any": {"url": address}},
        "steps": [
            {
                "name": "one",
                "action": {"service": "any", "path": "/held", "timeout": "1m"},
                "compensation": undo,
            },
            {"name": "two", "action": {"service": "any", "path": "/free"}, "compensation": undo},
        ],
    }


@pytest.mark.slow
async def test_a_full_disk_turns_starts_away_and_changes_no_outcome(small_disk: Path, tmp_path: Path) -> None:
    """503 while it is full; a saga in flight waits with its outcome and completes when there is room."""
    participant = Participant()
    server = Serving(small_disk / "saga.db", tmp_path / "log")
    try:
        address = await participant.start()
        await server.ready()
        await server.ask("PUT", "/v1/definitions/filling", definition(address))
        status, saga = await server.ask("POST", "/v1/sagas", {"definition": "filling", "input": {}})
        assert status == 202
        (small_disk / "filler").write_bytes(b"")
        _fill(small_disk / "filler")

        refused = await _until_refused(server)
        assert (refused["status"], refused["type"]) == (503, "store-unavailable")
        participant.held.set()
        while (
            "two" not in str(participant.calls)
            and (await server.ask("GET", f"/v1/sagas/{saga['id']}"))[0] == 200
        ):
            # The outcome of the first step cannot be written, so the second must not be sent.
            if server.log.count("not available"):
                break
            await asyncio.sleep(0.02)
        assert f"{saga['id']}:two:action" not in participant.calls
        (small_disk / "filler").unlink()
        ended = await _until_ended(server, saga["id"])

        assert ended["status"] == "completed"
        assert participant.calls.count(f"{saga['id']}:one:action") == 1
        status, again = await server.ask("POST", "/v1/sagas?wait=20s", {"definition": "filling", "input": {}})
        assert (status, again["status"]) == (200, "completed")
        assert len(server.log) < 50_000
    finally:
        await server.stop()
        await participant.stop()


def _fill(filler: Path) -> None:
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


async def _until_refused(server: Serving) -> dict[str, Any]:
    """Start sagas with large inputs until one is refused: what the store's file has free is used up first."""
    for number in range(200):
        status, problem = await server.ask(
            "POST", "/v1/sagas", {"definition": "filling", "input": {"n": number, "text": "x" * 100_000}}
        )
        if status != 202:
            return dict(problem)
    raise AssertionError("the disk never filled up")


async def _until_ended(server: Serving, saga_id: str) -> dict[str, Any]:
    while True:
        _, saga = await server.ask("GET", f"/v1/sagas/{saga_id}")
        if saga["ended_at"] is not None:
            return dict(saga)
        await asyncio.sleep(0.05)
