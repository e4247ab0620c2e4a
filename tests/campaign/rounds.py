"""One round: participants, load, kills on one store file and one port, a good end, and judgement."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.campaign import clock
from tests.campaign.coordinators import ROOT, Cold, CoordinatorDied, Surroundings, Warm
from tests.campaign.definitions import documents, plan
from tests.campaign.evidence import Evidence
from tests.campaign.faults import NORMAL, Shares
from tests.campaign.fleet import Fleet
from tests.campaign.judge import Finding, judge
from tests.campaign.killer import COLD, WARM, Kill, Killer
from tests.campaign.load import Clients, Told

#: Seconds everything has to come to an end once the participants are healed and nobody is killed any more.
TIME_TO_FINISH = 60.0
#: Sagas whose story is written down when they are not as promised.
DUMPED = 20


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a round is to do."""

    seed: int
    kills: int
    cold: int
    data: Path
    shares: Shares = NORMAL
    clients: int = 16
    #: A copy of the packages that is imported in place of the project's own; None: the project's.
    copy: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Folders the code is imported from."""
        return (ROOT,) if self.copy is None else (self.copy, ROOT)


@dataclass(kw_only=True)
class Round:
    """What a round has found."""

    order: Order
    kills: list[Kill] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    #: What went wrong with the harness or the coordinator as a whole.
    troubles: list[str] = field(default_factory=list)
    evidence: Evidence | None = None
    told: Told = field(default_factory=Told)
    seconds: float = 0.0
    killing_seconds: float = 0.0


def free_port(seed: int) -> int:
    """Return a port nobody has now; the whole round keeps it.

    It lies below those the system gives to outgoing connections, so that none of them takes it in a down time.
    """
    dice = random.Random(f"{seed}|{os.getpid()}|port")
    while True:
        port = dice.randrange(20_000, 32_000)
        with socket.socket() as taken, suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port


async def run(order: Order, *, enough: Callable[[], bool] = lambda: False) -> Round:
    """Play a round; ``enough`` ends the kills early."""
    began = clock.now()
    order.data.mkdir(parents=True, exist_ok=True)
    found = Round(order=order)
    port = free_port(order.seed)
    surroundings = Surroundings(
        paths=order.paths,
        log=order.data / "coordinator.log",
        settings={
            "SAGA_STORE": f"sqlite:///{order.data / 'saga.db'}",
            "SAGA_PORT": str(port),
            "SAGA_LOG_LEVEL": "warning",
        },
    )
    fleet = Fleet(seed=order.seed, shares=order.shares, data=order.data, paths=order.paths)
    clients = Clients(f"http://127.0.0.1:{port}", seed=order.seed, count=order.clients)
    stage = _Stage(found, surroundings, fleet, clients)
    await stage.warm.open()
    try:
        async with fleet, clients:
            await stage.play(enough)
    except (CoordinatorDied, TimeoutError, OSError) as trouble:
        found.troubles.append(f"{type(trouble).__name__}: {trouble}")
    finally:
        await stage.warm.close()
    _conclude(found, began)
    return found


class _Stage:
    """All who take part in a round."""

    def __init__(self, found: Round, surroundings: Surroundings, fleet: Fleet, clients: Clients) -> None:
        self.warm, self.cold = Warm(surroundings=surroundings), Cold(surroundings=surroundings)
        self._found, self._fleet, self._clients = found, fleet, clients
        self._killer = Killer(clients, seed=found.order.seed)
        found.kills, found.told = self._killer.kills, clients.told

    async def play(self, enough: Callable[[], bool]) -> None:
        """Prepare, kill, and bring everything to an end."""
        order = self._found.order
        await self._prepare()
        self._clients.begin()
        began = clock.now()
        await self._killer.kill(self.warm, order.kills, WARM, cold=False, enough=enough)
        self._found.killing_seconds = clock.now() - began
        await self._killer.kill(self.cold, order.cold, COLD, cold=True, enough=enough)
        await self._finish()

    async def _prepare(self) -> None:
        """Store the definitions, with a coordinator that is let live."""
        await self.warm.launch()
        for document in documents(self._fleet.urls):
            await self._clients.ask("PUT", f"/v1/definitions/{document['name']}", document)
        await self.warm.kill()

    async def _finish(self) -> None:
        """Heal, let everything come to an end, and gather what the judge is to see."""
        clients = self._clients
        await self._fleet.heal()
        await self.warm.launch()
        await asyncio.wait_for(clients.finish(), TIME_TO_FINISH)
        await _all_ended(clients)
        sagas = await clients.every_saga()
        journals = await clients.journals([saga["id"] for saga in sagas])
        deliveries, effects = await self._fleet.ledgers()
        code = await self.warm.stop()
        self._found.troubles += _damage(self._found.order.data / "saga.db")
        if code != 0:
            self._found.troubles.append(f"asked to stop, the coordinator ended with exit code {code}")
        if complaint := self._fleet.complaint:
            self._found.troubles.append(f"a participant complained: {complaint}")
        told = clients.told
        self._found.evidence = Evidence(
            plans={document["name"]: plan(document) for document in documents(self._fleet.urls)},
            sagas=sagas,
            journals=journals,
            deliveries=deliveries,
            effects=effects,
            accepted=told.accepted,
            told=told.ended,
            cancelled=frozenset(cancel.saga for cancel in told.cancels if cancel.status == 200),
        )


def _damage(path: Path) -> list[str]:
    """Return what SQLite finds wrong with the store's file."""
    with closing(sqlite3.connect(path)) as store:
        said = [text for (text,) in store.execute("PRAGMA integrity_check")]
    return [] if said == ["ok"] else [f"the store's file is damaged: {text}" for text in said]


async def _all_ended(clients: Clients) -> None:
    """Wait until no saga is on its way; whoever still is when the time is over is the judge's to find."""
    until = clock.now() + TIME_TO_FINISH
    for status in ("running", "compensating"):
        while (
            clock.now() < until and (await clients.ask("GET", f"/v1/sagas?status={status}&limit=1"))["items"]
        ):
            await clock.sleep(0.1)


def _conclude(found: Round, began: float) -> None:
    found.troubles += [f"{what} ({count} times)" for what, count in found.told.surprises.items()]
    if found.evidence is not None:
        found.findings = judge(found.evidence)
    found.seconds = clock.now() - began
    _write_down(found)


def _write_down(found: Round) -> None:
    """Keep the instants of all kills, and the story of every saga that is not as promised."""
    data = found.order.data
    head = f"seed {found.order.seed}\nnumber\tkind\tlaunched\tready\tlife\tdown\n"
    (data / "kills.tsv").write_text(head + "\n".join(kill.line for kill in found.kills) + "\n")
    (data / "cancels.json").write_text(
        json.dumps([asdict(cancel) for cancel in found.told.cancels], indent=1)
    )
    if found.evidence is None or not found.findings:
        return
    wrong: dict[str, list[str]] = {}
    for finding in found.findings:
        wrong.setdefault(finding.saga, []).append(str(finding))
    (data / "findings.json").write_text(json.dumps(wrong, indent=1))
    for case in found.evidence.cases():
        if case.id in list(wrong)[:DUMPED]:
            case.dump(data / "inconsistent", wrong[case.id], [kill.at for kill in found.kills])
