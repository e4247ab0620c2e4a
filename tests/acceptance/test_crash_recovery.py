"""A coordinator killed at every step of a booking, each time started again from nothing, and judged at the end.

The participants stand in this process, so the moment is exact: the first request under each key has reached its
participant, and the coordinator is killed before it is acted upon, when it has taken effect and nobody was told,
or right after the answer has left.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest

from compensations.delivery import Answer
from tests.campaign.coordinators import ROOT, Surroundings
from tests.campaign.definitions import SERVICES, documents, plan
from tests.campaign.evidence import Evidence
from tests.campaign.faults import Faults, Shares
from tests.campaign.judge import judge
from tests.campaign.participant import Participant, Request, Wire
from tests.campaign.rounds import free_port

pytestmark = pytest.mark.slow

Moment = Literal["before acting", "after acting", "after answering"]
Send = Callable[[Answer | None, float], None]

PEACE = Shares(
    refuse=0, refuse_after_pivot=0, stubborn=0, fail=0, lose=0, slow=0, turn_away=0, throttle=0, accept=0
)


class Coordinator:
    """``python -m saga serve``, killed and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        settings = {"SAGA_STORE": f"sqlite:///{folder / 'saga.db'}", "SAGA_PORT": str(port)}
        self._surroundings = Surroundings(paths=(ROOT,), settings=settings, log=folder / "coordinator.log")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{port}"
        self.killed = asyncio.Event()
        self.starts = 0

    def start(self) -> None:
        """Start it; it may be killed before it is ready."""
        self.killed.clear()
        self.starts += 1
        with self._surroundings.log.open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-P", "-m", "saga", "serve"),
                env=self._surroundings.environment(),
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def kill(self) -> bool:
        """Kill it; it is gone when this returns, True unless it was gone before."""
        process, self._process = self._process, None
        if process is None:
            return False
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.killed.set()
        return True

    async def keep_alive(self) -> None:
        """Start it again whenever it was killed."""
        while True:
            await self.killed.wait()
            self.start()


class Witness(Participant):
    """A participant at which the coordinator dies, once under each key."""

    def __init__(
        self, service: str, faults: Faults, data: Path, moment: Moment, kill: Callable[[], bool]
    ) -> None:
        super().__init__(service, faults, data)
        self._moment, self._kill = moment, kill
        self._seen: set[str] = set()

    def arrived(self, request: Request, send: Send) -> None:
        """Kill at the moment that was asked for, if the key is new."""
        key = request.headers["idempotency-key"]
        if key in self._seen:
            super().arrived(request, send)
        elif self._moment == "before acting":
            self._kill_at(key)
            send(None, 0.0)
        else:
            super().arrived(request, lambda answer, _: self._answered(key, answer, send))

    def _answered(self, key: str, answer: Answer | None, send: Send) -> None:
        if self._moment == "after answering":
            send(answer, 0.0)
        self._kill_at(key)
        if self._moment == "after acting":
            send(None, 0.0)

    def _kill_at(self, key: str) -> None:
        # Of two requests on the wire only the first finds somebody to kill; the other's turn comes when it is resent.
        if self._kill():
            self._seen.add(key)


@asynccontextmanager
async def serving(participant: Participant) -> AsyncIterator[str]:
    """Serve a participant in this loop; yield its address."""
    server = await asyncio.get_running_loop().create_server(lambda: Wire(participant), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


class Client:
    """Asks until there is an answer: the coordinator may be down at any moment, and up again late on a busy machine."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the document of a 2xx; the same request is repeated until there is one."""
        while True:
            try:
                async with self._session.request(method, self._url + path, json=body) as answer:
                    if answer.status < 300:
                        return await answer.json()
                    assert answer.status in (429, 503), await answer.text()
            except (aiohttp.ClientError, ValueError):
                pass
            await asyncio.to_thread(_breathe)

    async def until_over(self, saga: str) -> dict[str, Any]:
        """Return the saga once it has ended."""
        while True:
            shown: dict[str, Any] = await self.ask("GET", f"/v1/sagas/{saga}")
            if shown["status"] not in ("running", "compensating"):
                return shown
            await asyncio.to_thread(_breathe)


def _breathe() -> None:
    """Leave the processor to the others for a moment; nothing is expected to have happened by then."""
    signal.sigtimedwait([], 0.02)


def _patient(document: dict[str, Any]) -> dict[str, Any]:
    """Return the definition without what gives up by itself: only kills are to count, however long a start takes."""
    retry = {"attempts": 100, "initial": "20ms", "factor": 2, "max": "200ms"}
    steps = [{**step, "action": {**step["action"], "retry": retry}} for step in document["steps"]]
    return {name: value for name, value in document.items() if name != "timeout"} | {"steps": steps}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("moment", ["before acting", "after acting", "after answering"])
@pytest.mark.parametrize(
    ("declining", "status", "kills"), [("nobody", "completed", 4), ("payments", "compensated", 5)]
)
async def test_a_booking_survives_a_kill_at_every_step(
    tmp_path: Path, moment: Moment, declining: str, status: str, kills: int
) -> None:
    """It is wholly there or wholly undone in the end, and every key took effect once."""
    async with AsyncExitStack() as stack:
        coordinator = Coordinator(tmp_path, free_port(seed=1))
        stack.callback(coordinator.kill)
        witnesses: list[Witness] = []
        urls: dict[str, str] = {}
        for service in SERVICES:
            shares = Shares(**{**PEACE.document(), "refuse": float(service == declining)})
            witness = Witness(service, Faults(1, shares), tmp_path, moment, coordinator.kill)
            stack.callback(witness.close)
            witnesses.append(witness)
            urls[service] = await stack.enter_async_context(serving(witness))
        booking = _patient(documents(urls)[0])
        coordinator.start()
        living = asyncio.create_task(coordinator.keep_alive())
        stack.callback(living.cancel)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        client = Client(session, coordinator.url)

        await client.ask("PUT", f"/v1/definitions/{booking['name']}", booking)
        start = {"definition": booking["name"], "id": "s1", "input": {"flights": "LH1", "hotels": "Ritz"}}
        await client.ask("POST", "/v1/sagas", start)
        saga = await client.until_over("s1")

        assert saga["status"] == status
        assert coordinator.starts == kills + 1
        journal = await client.ask("GET", "/v1/sagas/s1/journal")
        books = [witness.books() for witness in witnesses]
        evidence = Evidence(
            plans={booking["name"]: plan(booking)},
            sagas=[saga],
            journals={"s1": journal["items"]},
            deliveries=_in_order(rows for rows, _ in books),
            effects=_in_order(rows for _, rows in books),
            accepted={"s1": "s1"},
        )
        assert judge(evidence) == []


def _in_order(books: Any) -> list[dict[str, Any]]:
    return sorted((row for rows in books for row in rows), key=lambda row: row["at"])
