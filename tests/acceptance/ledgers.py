"""A participant that keeps a ledger of every request, and what the ledger has to say of the coordinators that sent them."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from aiohttp import web

#: Steps of a saga of :meth:`Ledger.document`.
STEPS = 3


@dataclass(frozen=True)
class Call:
    """A request as it arrived."""

    saga: str
    step: str
    key: str
    attempt: int
    fence: int
    #: Port of the coordinator that sent it.
    sender: int
    body: bytes
    #: On the machine's monotonic clock.
    at: float


class Ledger:
    """A participant on loopback."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        #: Requests are answered while this is set.
        self.answering = asyncio.Event()
        self.answering.set()
        #: Seconds an answer takes.
        self.seconds = 0.0
        self.port = 0

    async def come(self) -> None:
        """Listen, at the same port every time."""
        app = web.Application()
        app.router.add_post("/do", self._do)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def go(self) -> None:
        """Refuse connections, and break those there are."""
        await self._runner.cleanup()

    async def _do(self, request: web.Request) -> web.Response:
        said = request.headers
        call = Call(
            saga=said["Saga-Id"],
            step=said["Saga-Step"],
            key=said["Idempotency-Key"],
            attempt=int(said["Saga-Attempt"]),
            fence=int(said["Saga-Fence"]),
            sender=int(said["Saga-Callback"].split("/")[2].rpartition(":")[2]),
            body=await request.read(),
            at=time.monotonic(),
        )
        self.calls.append(call)
        await asyncio.sleep(self.seconds)
        await self.answering.wait()
        return web.json_response({"by": call.key})

    def document(self, name: str = "order") -> dict[str, Any]:
        """Return a definition of :data:`STEPS` steps that are tried until they work."""
        action = {
            "service": "ledger",
            "path": "/do",
            "body": {"id": "${key}"},
            "timeout": "30s",
            "retry": {"attempts": "unlimited", "initial": "50ms", "max": "500ms"},
        }
        return {
            "name": name,
            "services": {"ledger": {"url": f"http://127.0.0.1:{self.port}"}},
            "steps": [{"name": f"s{n}", "action": action, "compensation": "none"} for n in range(STEPS)],
        }

    def of(self, saga_id: str) -> list[Call]:
        """Return the calls of a saga, as they came."""
        return [call for call in self.calls if call.saga == saga_id]

    def judge(self, sagas: list[str]) -> None:
        """Check that every step of these was called, always alike, and each attempt once, under fences that never fall."""
        by_saga = defaultdict(list)
        for call in self.calls:
            by_saga[call.saga].append(call)
        for saga_id in sagas:
            calls = by_saga[saga_id]
            assert {call.step for call in calls} == {f"s{n}" for n in range(STEPS)}, (saga_id, calls)
            assert len({(call.key, call.body) for call in calls}) == STEPS, (saga_id, calls)
            sent = [(call.key, call.attempt) for call in calls]
            assert len(sent) == len(set(sent)), (saga_id, calls)
            fences = [call.fence for call in calls]
            assert fences == sorted(fences), (saga_id, calls)
