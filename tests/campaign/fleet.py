"""All participants as child processes, which live as long as a round."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.campaign.coordinators import ROOT
from tests.campaign.definitions import SERVICES
from tests.campaign.faults import Shares


class Fleet:
    """The participants of one round."""

    def __init__(self, *, seed: int, shares: Shares, data: Path, paths: tuple[Path, ...]) -> None:
        self._data, self._log = data, data / "participants.log"
        self._arguments = (
            "--seed",
            str(seed),
            "--shares",
            json.dumps(shares.document()),
            "--data",
            str(data),
        )
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
        self._processes: list[Process] = []
        self.urls: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        started = await asyncio.gather(*(self._start(service) for service in SERVICES))
        self.urls = dict(zip(SERVICES, started, strict=True))
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        await asyncio.gather(*(process.wait() for process in self._processes))

    async def _start(self, service: str) -> str:
        command = (sys.executable, "-P", "-m", "tests.campaign.participant", service, *self._arguments)
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command, env=self._environment, stdin=PIPE, stdout=PIPE, stderr=log, cwd=ROOT
            )
        self._processes.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{json.loads(await process.stdout.readline())['port']}"

    @property
    def complaint(self) -> str | None:
        """Return the last thing a participant complained of: none should."""
        lines = self._log.read_text().splitlines()
        return lines[-1] if lines else None

    async def heal(self) -> None:
        """Let every request get through from now on."""
        await self._tell("heal")

    async def ledgers(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return every delivery and every effect, as the participants wrote them down."""
        await self._tell("ledger")
        return self._read("deliveries"), self._read("effects")

    async def _tell(self, what: str) -> None:
        async with aiohttp.ClientSession() as session:
            for url in self.urls.values():
                async with session.post(f"{url}/campaign/{what}") as answer:
                    answer.raise_for_status()

    def _read(self, what: str) -> list[dict[str, Any]]:
        lines = (line for service in SERVICES for line in (self._data / f"{what}-{service}.jsonl").open())
        return sorted((json.loads(line) for line in lines), key=lambda row: row["at"])
