"""A coordinator with its HTTP, in the process of the test, and a client that speaks to it over a real socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Self

import aiohttp
from aiohttp import web

from saga.api import keys
from saga.api.runner import Runner
from saga.app import build_app
from saga.ports.clock import Clock
from saga.ports.invoker import Answer, Invocation
from saga.ports.store import Store
from saga.settings import Settings
from tests import conforming
from tests.doubles import ScriptedInvoker, said, settle_down


@dataclass(frozen=True)
class Said:
    """One answer."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        """Return the body."""
        return json.loads(self.text)

    @property
    def type(self) -> str:
        """Return the type of a problem document."""
        assert self.headers["Content-Type"] == "application/problem+json", self.text
        found = self.json
        assert found["status"] == self.status
        assert found["title"]
        return str(found["type"])

    @property
    def pointers(self) -> list[str]:
        """Return where the problems of a document stand."""
        return [each["pointer"] for each in self.json["errors"]]


class Served:
    """A coordinator on a free port of this machine."""

    def __init__(
        self,
        invoker: ScriptedInvoker | None = None,
        *,
        store: Store | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        self.invoker = invoker or ScriptedInvoker()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        chosen = {"store": "memory://", "port": self.port, "grace": 0.2} | settings
        self.app = build_app(Settings(**chosen), store=store, invoker=self.invoker, clock=clock)
        self._runner = Runner(self.app, access_log=None, shutdown_timeout=1.0)
        self.url = f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        try:
            await self._runner.setup()
        except BaseException:
            await self._runner.cleanup()
            self._socket.close()
            raise
        await web.SockSite(self._runner, self._socket).start()
        self.client = aiohttp.ClientSession(self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self._runner.cleanup()
        self._socket.close()

    @property
    def store(self) -> Store:
        """Return the store it uses."""
        return self.app[keys.STORE]

    async def ask(
        self, method: str, path: str, value: Any = None, *, body: bytes | str | None = None, **headers: str
    ) -> Said:
        """Send a request; ``value`` goes as JSON, ``body`` as it is; header names have _ for -."""
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if value is not None:
            body = json.dumps(value)
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        data = BytesIO(body) if isinstance(body, bytes) and len(body) > 500_000 else body
        skip = () if body is not None else ("Content-Type",)
        async with self.client.request(
            method, path, data=data, headers=sent, skip_auto_headers=skip, allow_redirects=False
        ) as response:
            said = Said(response.status, response.headers, await response.text())
        conforming.check(method, response.url.raw_path, said.status, said.headers, said.text)
        return said

    async def get(self, path: str, **headers: str) -> Said:
        """GET."""
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, value: Any = None, **more: Any) -> Said:
        """POST."""
        return await self.ask("POST", path, value, **more)

    async def until(self, saga_id: str, reached: Callable[[Any], bool]) -> Any:
        """Return the saga once it is as wanted."""
        with self.app[keys.WORKER].changes.watch(saga_id) as watch:
            while not reached(saga := (await self.get(f"/v1/sagas/{saga_id}")).json):
                assert await watch.wait(10.0), f"nothing happens any more: {saga}"
        return saga

    async def ended(self, saga_id: str) -> Any:
        """Return the saga once it has ended."""
        return await self.until(saga_id, lambda saga: saga["ended_at"] is not None)

    async def on_wire(self, saga_id: str, step: str) -> None:
        """Return once the call of that step is on the wire, and stays there."""
        while f"{saga_id}:{step}:action" not in self.invoker.held:
            await settle_down()

    async def put(self, document: Any) -> Said:
        """Store a definition."""
        return await self.ask("PUT", f"/v1/definitions/{document['name']}", document)


def booking(**top: Any) -> dict[str, Any]:
    """Return a definition of three steps, of which the middle one is the pivot."""
    undo = {"method": "DELETE", "path": "/${key}"}
    return {
        "name": "booking",
        "services": {"any": {"url": "http://127.0.0.1:1"}},
        "sensitive": ["/card"],
        "steps": [
            {
                "name": "seat",
                "action": {"service": "any", "path": "/seat", "body": {"id": "${key}", "n": "${input.n}"}},
                "compensation": undo,
            },
            {
                "name": "pay",
                "pivot": True,
                "action": {"service": "any", "path": "/pay"},
                "compensation": undo,
            },
            {"name": "ticket", "action": {"service": "any", "path": "/ticket"}},
        ],
    } | top


def answering(**answers: Answer | None) -> ScriptedInvoker:
    """Return participants that answer these steps so (by ``step`` or ``step_undo``), and 200 otherwise."""

    def script(invocation: Invocation) -> Answer | None:
        name = invocation.step if invocation.phase == "action" else f"{invocation.step}_undo"
        return answers.get(name, said(200, {"of": invocation.step}))

    return ScriptedInvoker(script)
