"""The participants, who live in the harness, and the definition they serve.

Everything that can happen to a call happens in each saga: a try that fails and is timed again (flights), an outcome
that is called back (hotels), one that is polled for (cars), a refusal that turns the saga back (payments, when the
saga's name says so).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from compensations.barrier import Turn
from compensations.delivery import Answer
from tests.campaign.definitions import SERVICES, documents
from tests.campaign.faults import Fate, Faults, Shares
from tests.campaign.participant import Participant, Request, Wire

#: Seconds after which a hotel calls back.
CALLED_BACK = 0.005
#: Sagas whose names begin so are refused by payments.
BACKWARD = "backward"
#: Steps at which a saga is held, so that the coordinator can be killed while it waits.
HELD = {"forward": ("charge_card", "action"), BACKWARD: ("reserve_hotel", "compensation")}


def definition(urls: Mapping[str, str]) -> dict[str, Any]:
    """Return the trip of the campaign without what gives up by itself, and with a car that is polled for."""
    trip = next(document for document in documents(urls) if document["name"] == "trip")
    retry = {"attempts": 100, "initial": "10ms", "factor": 2, "max": "100ms"}
    steps = [{**step, "action": {**step["action"], "retry": retry}} for step in trip["steps"]]
    for step in steps:
        if step["name"] == "rent_car":
            step["action"] |= {"timeout": "1s", "pending": {"timeout": "30s", "poll": "15ms"}}
        if step["name"] == "reserve_flight":
            step["action"] |= {"timeout": "1s"}
    return {**trip, "steps": steps}


class Script(Faults):
    """What happens to a call, by its key alone."""

    def __init__(self, service: str, refused: Callable[[str], None]) -> None:
        super().__init__(0, Shares())
        self._service, self._refused = service, refused

    def fate(self, key: str, arrival: int) -> Fate:
        if self._service == "flights" and key.endswith(":action") and arrival == 1:
            return Fate(instead=503, names=("fail",))
        return Fate(accepted=CALLED_BACK) if self._service == "hotels" else Fate()

    def refuses(self, key: str, *, after_pivot: bool) -> bool:
        if self._service != "payments" or not key.startswith(BACKWARD):
            return False
        self._refused(key.partition(":")[0])
        return True

    def is_stubborn(self, definition: str, step: str, action_key: str) -> bool:
        return False


class Actor(Participant):
    """A participant of the campaign that can hold a request for ever, and whose cars are polled for."""

    def __init__(self, service: str, script: Script, data: Path, held: Callable[[Request], bool]) -> None:
        super().__init__(service, script, data)
        self._cars = service == "cars"
        self._held = held
        #: What was accepted, by the path at which its outcome is asked for.
        self._accepted: dict[str, tuple[Request, Turn, dict[str, Any]]] = {}
        self._asked_for: set[str] = set()

    def arrived(self, request: Request, send: Callable[[Answer | None, float], None]) -> None:
        """Answer a poll, hold what is to be held, and serve the rest."""
        if request.method == "GET":
            send(self._polled(request.target), 0.0)
        elif not self._held(request):
            super().arrived(request, send)

    def _asked(self, request: Request, turn: Turn, row: dict[str, Any], fate: Fate) -> Answer:
        if not self._cars or request.phase == "compensation":
            return super()._asked(request, turn, row, fate)
        path = f"/outcomes/{turn.delivery.key}"
        self._accepted[path] = (request, turn, row)
        location = f"http://{request.headers['host']}{path}"
        return Answer.json(202, {"status": "ACCEPTED"}, {"location": location})

    def _polled(self, path: str) -> Answer:
        """Say of each the first time that it is not done yet."""
        if path not in self._asked_for:
            self._asked_for.add(path)
            return Answer(202)
        request, turn, row = self._accepted[path]
        return self._guard.settle(turn.delivery, lambda turn: self._business(request, turn, row)).answer


class World:
    """All participants, what is held by them, and what they have refused."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._actors: list[Actor] = []
        #: Saga and, by it, what is told when it has arrived where it is held; whom to tell of a refusal.
        self._holds: dict[str, asyncio.Event] = {}
        self._refusals: dict[str, Callable[[], None]] = {}
        self.urls: dict[str, str] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[World]:
        """Serve."""
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            for service in SERVICES:
                actor = Actor(service, Script(service, self._refused), self._data, self._holding)
                stack.callback(actor.close)
                server = await loop.create_server(lambda actor=actor: Wire(actor), "127.0.0.1", 0)  # type: ignore[misc]
                stack.callback(server.close)
                self._actors.append(actor)
                self.urls[service] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    def hold(self, saga: str) -> asyncio.Event:
        """Hold this saga where its direction is held; the event is set when it is there."""
        return self._holds.setdefault(saga, asyncio.Event())

    def let_go(self, saga: str) -> None:
        """Hold it no more."""
        self._holds.pop(saga, None)

    def when_refused(self, saga: str, tell: Callable[[], None]) -> None:
        """Call ``tell`` when payments refuse this saga."""
        self._refusals[saga] = tell

    def books(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return every delivery and every effect, in order."""
        books = [actor.books() for actor in self._actors]
        deliveries, effects = ([row for rows in kind for row in rows] for kind in zip(*books, strict=True))
        return sorted(deliveries, key=_when), sorted(effects, key=_when)

    def _holding(self, request: Request) -> bool:
        saga = request.headers["saga-id"]
        where = (request.headers["saga-step"], request.headers["saga-phase"])
        if saga not in self._holds or where != HELD[direction_of(saga)]:
            return False
        self._holds[saga].set()
        return True

    def _refused(self, saga: str) -> None:
        if tell := self._refusals.pop(saga, None):
            tell()


def direction_of(saga: str) -> str:
    """Return which way a saga goes, by its name."""
    return saga.partition("-")[0]


def _when(row: Mapping[str, Any]) -> int:
    return int(row["at"])
