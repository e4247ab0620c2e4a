"""Clients: each starts a saga, is told that it was accepted, follows it to its end, and starts the next.

A client that gets no answer asks again under the same key, as a client should; what it was told is kept, for the
judge holds the coordinator to it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from tests.campaign import clock
from tests.campaign.definitions import WEIGHTS

#: Seconds between two tries to reach a coordinator that is down, and between two looks at a saga.
RETRY, LOOK = 0.01, 0.12
#: A client turns to its next saga when this one has not ended after so many seconds.
PATIENCE = 3.0
#: Seconds an answer is waited for.
ANSWER = 10.0

ENDED = frozenset({"completed", "compensated", "abandoned", "parked"})


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """A cancel that was sent, and what came of it."""

    saga: str
    at: float
    #: "before kill", "after restart" or "by client".
    when: str
    #: None: no answer came.
    status: int | None


@dataclass(kw_only=True)
class Told:
    """What the clients have been told, and what they are at."""

    #: Saga by start key or id: starts that were answered with 2xx.
    accepted: dict[str, str] = field(default_factory=dict)
    #: How a saga was said to have ended.
    ended: dict[str, str] = field(default_factory=dict)
    cancels: list[Cancel] = field(default_factory=list)
    #: Sagas that were accepted and not seen to have ended, with the time of the answer.
    running: dict[str, float] = field(default_factory=dict)
    #: Starts that were asked for more than once.
    repeated: int = 0
    #: Answers nobody should get, and how often.
    surprises: dict[str, int] = field(default_factory=dict)

    def surprise(self, what: str) -> None:
        """Note an answer nobody should get."""
        self.surprises[what] = self.surprises.get(what, 0) + 1


class Clients:
    """The load."""

    def __init__(self, url: str, *, seed: int, count: int) -> None:
        self.told = Told()
        #: While it is not set, nobody sends: the first request after a restart is to be another.
        self.gate = asyncio.Event()
        self.gate.set()
        #: Set by every answer.
        self.answered = asyncio.Event()
        self._url, self._seed, self._count = url, seed, count
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=ANSWER)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self._session is not None
        await self._session.close()

    def begin(self) -> None:
        """Let all clients go to work."""
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._count)]

    async def finish(self) -> None:
        """Let each client bring its last start to an answer, and start no more."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    # ----------------------------------------------------------------- one client

    async def _client(self, number: int) -> None:
        dice = random.Random(f"{self._seed}|client|{number}")
        await clock.sleep(dice.random() * 0.3)
        count = 0
        while not self._stopping:
            count += 1
            saga = await self._start(f"s{self._seed}-{number}-{count}", dice)
            if saga is not None:
                await self._follow(saga, dice)

    async def _start(self, key: str, dice: random.Random) -> str | None:
        (name,) = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
        given = {"flights": f"LH{dice.randrange(1000)}", "cars": "compact"}
        if dice.random() < 0.75:
            given["hotels"] = "Ritz"
        body: dict[str, Any] = {"definition": name, "input": given}
        headers: dict[str, str] = {}
        # Two ways of saying that it is the same start: a start key, or the saga's own id.
        if dice.random() < 0.5:
            body["id"] = key
        else:
            headers["Idempotency-Key"] = key
        for tried in range(10_000):
            status, answer = await self._send("POST", "/v1/sagas", body, headers)
            self.told.repeated += tried == 1
            if status is not None and status < 300:
                self.told.accepted[key] = answer["id"]
                self.told.running[answer["id"]] = clock.now()
                return str(answer["id"])
            if status is not None and status not in (429, 503):
                self.told.surprise(f"a start was answered {status}: {answer}")
                return None
            await clock.sleep(RETRY)
        return None

    async def _follow(self, saga: str, dice: random.Random) -> None:
        until = clock.now() + PATIENCE
        if dice.random() < 0.03:
            await clock.sleep(dice.random() * 0.1)
            await self.cancel(saga, when="by client")
        while clock.now() < until:
            await clock.sleep(LOOK)
            status, answer = await self._send("GET", f"/v1/sagas/{saga}")
            if status == 200 and answer["status"] in ENDED:
                self.told.ended[saga] = answer["status"]
                break
            if status is not None and status not in (200, 429, 503):
                self.told.surprise(f"a saga that was accepted was answered {status} to GET")
                break
        self.told.running.pop(saga, None)

    async def cancel(self, saga: str, *, when: str) -> bool:
        """Send one cancel; return whether it reached a coordinator that was up."""
        at = clock.now()
        try:
            status, _ = await self._exchange("POST", f"/v1/sagas/{saga}/cancel", {"reason": when}, {})
        except aiohttp.ClientConnectorError:
            return False
        except (aiohttp.ClientError, TimeoutError, ValueError):
            status = None
        self.told.cancels.append(Cancel(saga=saga, at=at, when=when, status=status))
        if status is not None and status not in (200, 202, 409, 429, 503):
            self.told.surprise(f"a cancel was answered {status}")
        return True

    # ----------------------------------------------------------------- the wire

    async def _send(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int | None, Any]:
        """Return status and document; None when no whole answer came."""
        await self.gate.wait()
        try:
            return await self._exchange(method, path, body, headers or {})
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None, None

    async def _exchange(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        assert self._session is not None
        async with self._session.request(method, self._url + path, json=body, headers=headers) as answer:
            document = await answer.json(content_type=None)
            self.answered.set()
            return answer.status, document

    # ----------------------------------------------------------------- for the harness

    async def heard(self, seconds: float) -> None:
        """Return when there has been an answer since the last launch, or after so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.answered.wait(), seconds)

    async def ask(self, method: str, path: str, body: Any = None, *, seconds: float = 30.0) -> Any:
        """Ask until there is an answer of 2xx, and return its document; raises after so many seconds."""
        until, said = clock.now() + seconds, "nothing"
        while clock.now() < until:
            status, answer = await self._send(method, path, body)
            if status is not None and status < 300:
                return answer
            said = f"{status}: {answer}"
            await clock.sleep(RETRY)
        raise TimeoutError(f"{method} {path} was answered {said}")

    async def every_saga(self) -> list[dict[str, Any]]:
        """Return the summaries of all sagas."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self.ask("GET", f"/v1/sagas?limit=200{cursor}")
            found += page["items"]
            if not page["next"]:
                return found
            cursor = f"&cursor={page['next']}"

    async def journals(self, sagas: list[str], *, at_once: int = 12) -> dict[str, list[dict[str, Any]]]:
        """Return the journals of these sagas."""
        found: dict[str, list[dict[str, Any]]] = {}
        left = list(reversed(sagas))

        async def read() -> None:
            while left:
                saga = left.pop()
                found[saga] = (await self.ask("GET", f"/v1/sagas/{saga}/journal"))["items"]

        await asyncio.gather(*(read() for _ in range(at_once)))
        return found
