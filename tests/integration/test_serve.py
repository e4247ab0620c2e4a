"""The coordinator as a process: started, stopped, killed, and told what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.acceptance.serving import Serving
from tests.served import booking

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MAIN = "import os, sys; from saga.settings import load_settings; from saga.server import run; "
MAIN += "sys.exit(run(load_settings(os.environ)))"


@asynccontextmanager
async def process(folder: Path, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a coordinator in that folder."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("SAGA_", "OTEL_"))}
    environ |= {"SAGA_PORT": "0", "PYTHONPATH": str(ROOT)}
    environ |= {f"SAGA_{name.upper()}": text for name, text in settings.items()}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, cwd=folder, env=environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def address(running: asyncio.subprocess.Process) -> str:
    """Return where it listens, once it does."""
    assert running.stdout is not None
    assert running.stderr is not None
    line = (await running.stdout.readline()).decode()
    assert line.startswith("saga: listening on "), line + (await running.stderr.read()).decode()
    return line.split()[-1]


async def end(running: asyncio.subprocess.Process) -> tuple[int, str]:
    """Return how it ended, and what it said."""
    _, said = await asyncio.wait_for(running.communicate(), 20)
    assert running.returncode is not None
    return running.returncode, said.decode()


Handle = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def participant(handle: Handle) -> AsyncIterator[str]:
    """Serve a participant in the process of the test."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def yes(_request: web.Request) -> web.Response:
    """Say yes."""
    return web.json_response({"ok": True})


async def start(client: aiohttp.ClientSession, url: str, at: str, **query: str) -> tuple[int, Any]:
    """Start a saga whose participant is at that address."""
    definition = booking(services={"any": {"url": at}})
    async with client.post(
        f"{url}/v1/sagas", params=query, json={"definition": definition, "input": {"n": 1}, "id": "s"}
    ) as response:
        return response.status, await response.json(content_type=None)


async def test_it_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """A saga runs over real sockets; SIGTERM ends the process in order, with exit code 0."""
    async with participant(yes) as at, process(tmp_path) as running, aiohttp.ClientSession() as client:
        url = await address(running)
        status, saga = await start(client, url, at, wait="10s")
        assert (status, saga["status"]) == (200, "completed")
        running.send_signal(signal.SIGTERM)
        code, said = await end(running)
        assert (code, "Traceback" in said) == (0, False), said
    assert (tmp_path / "saga.db").exists()


async def test_a_call_in_flight_is_awaited_and_recorded(tmp_path: Path) -> None:
    """Within the grace; until then the process answers, but is not ready."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        asked.set()
        await answer.wait()
        return await yes(request)

    async with participant(slow) as at, process(tmp_path) as running, aiohttp.ClientSession() as client:
        url = await address(running)
        assert (await start(client, url, at))[0] == 202
        await asked.wait()
        running.send_signal(signal.SIGTERM)
        while True:
            async with client.get(f"{url}/readyz") as response:
                if response.status == 503:
                    break
        answer.set()
        assert (await end(running))[0] == 0
    async with participant(yes) as at, process(tmp_path) as running, aiohttp.ClientSession() as client:
        url = await address(running)
        async with client.get(f"{url}/v1/sagas/s/journal") as response:
            kinds = [each["kind"] for each in (await response.json())["items"]]
    assert kinds[:3] == ["saga_started", "invoked", "step_succeeded"]


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Whatever the grace still allows."""
    asked = asyncio.Event()

    async def never(_request: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with participant(never) as at, process(tmp_path, grace="60s") as running:
        url = await address(running)
        async with aiohttp.ClientSession() as client:
            await start(client, url, at)
            await asked.wait()
            running.send_signal(signal.SIGTERM)
            while True:
                async with client.get(f"{url}/readyz") as response:
                    if response.status == 503:
                        break
            running.send_signal(signal.SIGINT)
            assert (await end(running))[0] == 128 + signal.SIGINT


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """The next process ends the saga."""
    gate = asyncio.Event()
    asked = asyncio.Event()

    async def gated(request: web.Request) -> web.Response:
        asked.set()
        await gate.wait()
        return await yes(request)

    async with participant(gated) as at:
        async with process(tmp_path) as running, aiohttp.ClientSession() as client:
            assert (await start(client, await address(running), at))[0] == 202
            await asked.wait()
            running.kill()
            await running.wait()
        gate.set()
        async with process(tmp_path) as running, aiohttp.ClientSession() as client:
            url = await address(running)
            status, saga = await start(client, url, at, wait="20s")
            assert (status, saga["status"], saga["steps"][0]["attempts"]) == (200, "completed", 2)


async def test_a_taken_port_is_said_clearly(tmp_path: Path) -> None:
    """Before the store is touched."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with process(tmp_path, port=str(taken.getsockname()[1])) as running:
            code, said = await end(running)
    assert (code, "is another coordinator running?" in said, "Traceback" in said) == (1, True, False)
    assert "SAGA_PORT" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "code", "word"),
    [
        ({"store": "mongodb://ada:sword/fish@localhost/sagas"}, 1, "saga: SAGA_STORE is no address"),
        ({"store": "sqlite:///empty.db"}, 1, "empty.db"),
        ({"definitions": "wrong"}, 2, "wrong.json"),
        ({"host": "192.0.2.1", "admin_token": "t"}, 1, "this machine has no such address: set SAGA_HOST"),
        (
            {"host": "no.such.host.invalid", "admin_token": "t"},
            1,
            "'no.such.host.invalid', which leads to no",
        ),
    ],
)
async def test_what_keeps_it_from_starting_is_said_without_a_traceback(
    tmp_path: Path, settings: dict[str, str], code: int, word: str
) -> None:
    """One message, and an exit code for scripts."""
    (tmp_path / "empty.db").touch()
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "wrong.json").write_text(json.dumps({"name": "wrong"}))
    async with process(tmp_path, **settings) as running:
        found, said = await end(running)
    assert (found, word in said, "Traceback" in said) == (code, True, False), said
    assert not re.search("another coordinator|ada|swordf|fish", said)


async def test_one_whose_store_is_away_waits_for_it_alive_and_not_ready(tmp_path: Path) -> None:
    """It says so to whoever asks, in its log without the password, and can be stopped meanwhile."""
    away = "mongodb://ada:swordfish@127.0.0.1:1/sagas?serverSelectionTimeoutMS=200"
    serving = Serving(tmp_path / "unused", tmp_path / "log", SAGA_STORE=away)
    async with asyncio.timeout(30):
        while "waits for its store" not in serving.log or "listening on" not in serving.log:
            await asyncio.sleep(0.02)
    assert await serving.ask("GET", "/healthz") == (200, {"status": "ok"})
    status, said = await serving.ask("GET", "/readyz")
    assert (status, said["type"]) == (503, "not-ready")
    assert "waits for its store: mongodb://127.0.0.1:1/sagas cannot be used" in said["detail"]
    for method, path in (("POST", "/v1/sagas"), ("GET", "/v1/sagas/s1"), ("DELETE", "/v1/definitions/d")):
        status, said = await serving.ask(method, path)
        assert (status, said["type"]) == (503, "store-unavailable")
    assert await serving.stop() == 0
    assert "start the server, or mend SAGA_STORE" in serving.log
    assert not re.search("ada|swordf|Traceback|ERROR", serving.log)


async def test_a_second_coordinator_on_one_file_is_refused(tmp_path: Path) -> None:
    """And the first goes on."""
    async with process(tmp_path) as first:
        await address(first)
        async with process(tmp_path) as second:
            code, said = await end(second)
        assert (code, "Traceback" in said, first.returncode) == (1, False, None)
        assert "saga.db" in said


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
async def test_it_serves_https_with_a_certificate(tmp_path: Path) -> None:
    """And a certificate that is none is said to be so."""
    await (
        await asyncio.create_subprocess_exec(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1",
            "-keyout", "key.pem", "-out", "chain.pem", cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL,
        )
    ).wait()  # fmt: skip
    async with process(
        tmp_path, store="memory://", tls_certificate="chain.pem", tls_key="key.pem"
    ) as running:
        url = await address(running)
        assert url.startswith("https://")
        async with aiohttp.ClientSession() as client, client.get(f"{url}/healthz", ssl=False) as response:
            assert response.status == 200
    async with process(tmp_path, store="memory://", tls_certificate="key.pem", tls_key="key.pem") as running:
        code, said = await end(running)
    assert (code, "key.pem" in said, "Traceback" in said) == (1, True, False), said


async def test_misspelt_settings_are_named(tmp_path: Path) -> None:
    """They are not taken in silence."""
    async with process(tmp_path, prot="7243", store="memory://") as running:
        await address(running)
        running.send_signal(signal.SIGINT)
        code, said = await end(running)
    assert (code, "SAGA_PROT" in said) == (0, True)


@pytest.mark.slow
async def test_a_start_into_a_file_that_was_removed_is_not_acknowledged(tmp_path: Path) -> None:
    """Reading back would find it, in a file that is gone once the process ends: it is unknown, and it ends."""
    server = await Serving(tmp_path / "saga.db", tmp_path / "log").ready()
    step = {"name": "a", "action": {"service": "x", "path": "/a"}, "compensation": {"path": "/undo"}}
    document = {"name": "lost", "services": {"x": {"url": "http://127.0.0.1:1"}}, "steps": [step]}
    await server.ask("PUT", "/v1/definitions/lost", document)
    (tmp_path / "saga.db").unlink()

    status, problem = await server.ask("POST", "/v1/sagas", {"definition": "lost"})
    assert (status, problem["type"]) == (503, "start-unknown")
    assert await server.ended() == 1
    assert "put it back" in server.log
