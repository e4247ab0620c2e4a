"""The coordinator as something to start and to kill: as a process from nothing, or forked from a warm one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

ROOT = Path(__file__).resolve().parents[2]

#: Seconds after SIGTERM within which the coordinator has to be gone.
STOP_SECONDS = 20.0


class CoordinatorDied(Exception):
    """The coordinator ended by itself, which it never should."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a coordinator runs: the code, its settings and its log."""

    #: Folders the code is imported from, first come first served; a mutant's copy stands before the root.
    paths: tuple[Path, ...]
    settings: Mapping[str, str]
    log: Path

    def environment(self) -> dict[str, str]:
        """Return the environment of its process."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SAGA_", "OTEL_"))}
        paths = os.pathsep.join(str(path) for path in self.paths)
        return {**kept, **self.settings, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}


class Coordinator(Protocol):
    """Something that runs until it is killed."""

    async def launch(self) -> None:
        """Start it, and do not wait until it is ready."""

    async def kill(self) -> None:
        """Kill it and wait until it is gone; raises :class:`CoordinatorDied` when it was gone before."""

    async def stop(self) -> int:
        """Ask it to stop, and return its exit code."""


@dataclass(kw_only=True)
class Cold:
    """``python -m saga serve``, a process from nothing."""

    surroundings: Surroundings
    _process: Process | None = field(default=None, init=False)

    async def launch(self) -> None:
        """See :meth:`Coordinator.launch`."""
        with self.surroundings.log.open("ab") as log:
            self._process = await _process(
                self.surroundings, log, "-m", "saga", "serve", stdin=DEVNULL, stdout=log
            )

    async def kill(self) -> None:
        """See :meth:`Coordinator.kill`."""
        _must_have_died_by(await self._end(signal.SIGKILL), signal.SIGKILL)

    async def stop(self) -> int:
        """See :meth:`Coordinator.stop`."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: int) -> int:
        process, self._process = self._process, None
        assert process is not None
        if process.returncode is None:
            process.send_signal(number)
        return await asyncio.wait_for(process.wait(), STOP_SECONDS)


@dataclass(kw_only=True)
class Warm:
    """The same server, forked from a process that has imported it already."""

    surroundings: Surroundings
    entry: str = "tests.campaign.serving:serve"
    _server: Process | None = field(default=None, init=False)
    _pid: int = field(default=0, init=False)

    async def open(self) -> None:
        """Start the fork server and wait until it has imported everything."""
        with self.surroundings.log.open("ab") as log:
            arguments = ("-m", "tests.campaign.fork_server", self.entry)
            self._server = await _process(self.surroundings, log, *arguments, stdin=PIPE, stdout=PIPE)
        await self._hears("ready")

    async def close(self) -> None:
        """End the fork server, and with it whatever it has forked."""
        if self._server is not None:
            assert self._server.stdin is not None
            self._server.stdin.close()
            await self._server.wait()

    async def launch(self) -> None:
        """See :meth:`Coordinator.launch`."""
        self._pid = int(await self._says("fork"))

    async def kill(self) -> None:
        """See :meth:`Coordinator.kill`."""
        os.kill(self._pid, signal.SIGKILL)
        _must_have_died_by(int(await self._says("reap")), signal.SIGKILL)

    async def stop(self) -> int:
        """See :meth:`Coordinator.stop`."""
        self.signal(signal.SIGTERM)
        return int(await asyncio.wait_for(self.ended(), STOP_SECONDS))

    def signal(self, number: int) -> None:
        """Send a signal; one that comes too late changes nothing."""
        os.kill(self._pid, number)

    async def ended(self) -> int:
        """Wait until it has ended, whatever the reason; return its exit code, or the negative number of a signal."""
        return int(await self._says("reap"))

    async def _says(self, word: str) -> str:
        assert self._server is not None
        assert self._server.stdin is not None
        self._server.stdin.write(f"{word}\n".encode())
        return await self._hears()

    async def _hears(self, expected: str | None = None) -> str:
        assert self._server is not None
        assert self._server.stdout is not None
        line = (await self._server.stdout.readline()).decode().strip()
        if not line or (expected is not None and line != expected):
            raise CoordinatorDied(f"the fork server said {line!r}; see {self.surroundings.log}")
        return line


def _must_have_died_by(code: int, number: int) -> None:
    if code != -number:
        raise CoordinatorDied(f"the coordinator had ended by itself, with exit code {code}")


async def _process(surroundings: Surroundings, log: IO[bytes], *arguments: str, **pipes: Any) -> Process:
    # -P: the folder it is started in must not stand before a mutant's copy.
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", *arguments, env=surroundings.environment(), stderr=log, cwd=ROOT, **pipes
    )
