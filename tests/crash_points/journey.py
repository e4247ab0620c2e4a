"""What a life of the coordinator goes through, so that every point is on its way.

A saga that an earlier life has left half done is recovered first; then a definition is stored, changed and deleted, a
fresh saga runs to its end while it is looked at, one that waits is cancelled, and the coordinator is stopped.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.campaign import clock
from tests.campaign.evidence import timestamp

#: Seconds between two tries to reach a coordinator that is down, and between two looks at a saga.
RETRY, LOOK = 0.004, 0.01
#: Seconds any one request may take, restarts included.
PATIENCE = 30.0
#: How often a start is sent at the same moment, so that some of them meet in one batch.
AT_ONCE = 6

ENDED = frozenset({"completed", "compensated", "abandoned", "parked"})


@dataclass(kw_only=True)
class Told:
    """What clients were told, for the judge to hold the coordinator to."""

    accepted: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    #: Versions of definitions that were stored, by name.
    stored: dict[str, set[int]] = field(default_factory=dict)


class Client:
    """Asks until there is an answer, for the coordinator may be down at any moment."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self.told = Told()

    async def ask(self, method: str, path: str, body: Any = None, *, fine: tuple[int, ...] = ()) -> Any:
        """Return the document of a 2xx, or of another status that is fine as well."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(aiohttp.ClientError, ValueError):
                    async with self._session.request(method, self._url + path, json=body) as answer:
                        if answer.status < 300 or answer.status in fine:
                            return await answer.json(content_type=None)
                        if answer.status not in (429, 503):
                            raise AssertionError(f"{method} {path}: {answer.status} {await answer.text()}")
                await asyncio.sleep(RETRY)

    async def start(self, saga: str, *, at_once: int = 1, **more: Any) -> None:
        """Start a saga of the trip, as often at once as is asked."""
        given = {"flights": "LH1", "cars": "compact", "hotels": "Ritz"}
        body = {"definition": "trip", "id": saga, "input": given, **more}
        await asyncio.gather(*(self.ask("POST", "/v1/sagas", body) for _ in range(at_once)))
        self.told.accepted[saga] = saga

    async def over(self, saga: str) -> None:
        """Look at a saga until it has ended."""
        async with asyncio.timeout(PATIENCE):
            while (status := (await self.ask("GET", f"/v1/sagas/{saga}"))["status"]) not in ENDED:
                await asyncio.sleep(LOOK)
        self.told.ended[saga] = status

    async def cancel(self, saga: str) -> None:
        """Cancel a saga that waits; asked again after it has taken effect, it is told so."""
        await self.ask("POST", f"/v1/sagas/{saga}/cancel", {}, fine=(409,))
        self.told.cancelled.add(saga)

    async def define(self, name: str, versions: int) -> None:
        """Store so many versions of a definition that nobody starts, and delete it after each."""
        for version in range(1, versions + 1):
            document = await self.ask("PUT", f"/v1/definitions/{name}", _idle(name, version))
            self.told.stored.setdefault(name, set()).add(document["version"])
            await self.ask("GET", f"/v1/definitions/{name}/versions")
            await self.ask("GET", "/v1/definitions")
            await self.ask("DELETE", f"/v1/definitions/{name}", fine=(404,))


def _idle(name: str, version: int) -> dict[str, Any]:
    call = {"service": "nobody", "path": f"/{version}"}
    services = {"nobody": {"url": "http://127.0.0.1:1"}}
    return {
        "name": name,
        "services": services,
        "steps": [{"name": "one", "action": call, "compensation": call}],
    }


@dataclass(frozen=True, kw_only=True)
class Names:
    """The sagas of one story."""

    #: Half done when the life begins.
    recovered: str
    #: Started in it, side by side.
    fresh: tuple[str, ...]
    #: Starts in an hour, and is cancelled.
    waiting: str
    definition: str

    @classmethod
    def of(cls, stem: str, number: int, *, together: bool) -> Names:
        """Return names that no other story of this stem has."""
        stem = f"{stem}-{number}"
        fresh = tuple(f"{stem}-fresh{n}" for n in range(4 if together else 1))
        return cls(
            recovered=f"{stem}-recovered",
            fresh=fresh,
            waiting=f"{stem}-waiting",
            definition=f"idle_{stem}".replace("-", "_"),
        )

    @property
    def sagas(self) -> tuple[str, ...]:
        """Return all of them."""
        return (self.recovered, *self.fresh, self.waiting)


async def travel(client: Client, names: Names, *, until_recovered: asyncio.Event, linger: float) -> None:
    """Do what a life is to go through; whoever restarts the coordinator meanwhile finds this waiting for it."""
    await client.ask("GET", "/readyz")
    await client.over(names.recovered)
    until_recovered.set()
    await asyncio.gather(*(client.start(saga, at_once=AT_ONCE) for saga in names.fresh))
    await asyncio.gather(*(client.over(saga) for saga in names.fresh))
    await client.define(names.definition, 2)
    await client.start(names.waiting, start_at=timestamp(clock.now() + 3600))
    await client.cancel(names.waiting)
    await client.over(names.waiting)
    for path in ("/v1/sagas?limit=2", "/v1/sagas?limit=1&status=running", "/v1/nodes", "/readyz", "/readyz"):
        await client.ask("GET", path)
    await asyncio.sleep(linger)
