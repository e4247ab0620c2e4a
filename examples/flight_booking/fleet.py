"""All five participants as child processes: started together, stopped together."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .services import SERVICES

#: Seconds a child may take to stop before it is killed.
GRACE = 3.0
#: Lines of what a child said that are repeated when it did not start.
LAST_WORDS = 3


async def run(arguments: Mapping[str, Sequence[str]], stopped: asyncio.Event) -> int:
    """Start one child per service, print their addresses when all are ready, and wait; return an exit code."""
    children: dict[str, _Child] = {}
    failure: ChildDied | None = None
    try:
        for service in SERVICES:
            children[service] = _Child(service, await _start(service, arguments[service]))
        addresses: dict[str, str] = {}
        for child in children.values():
            addresses |= await child.ready()
        print(json.dumps(addresses), flush=True)
        await _watch(children.values(), stopped)
    except ChildDied as error:
        failure = error
    finally:
        await asyncio.gather(*(child.stop() for child in children.values()))
    if failure is not None:
        # After the words of all others: who reads only the end reads the cause.
        print(failure, file=sys.stderr)
    return int(failure is not None)


class ChildDied(Exception):
    """A participant did not come up."""


class _Child:
    """A participant's process; what it says on standard error is passed on, and the last of it kept."""

    def __init__(self, service: str, process: Process) -> None:
        self.service, self.process = service, process
        self._said = b""
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while self.process.stderr and (said := await self.process.stderr.read(4096)):
            self._said = (self._said + said)[-4096:]
            sys.stderr.buffer.write(said)
            sys.stderr.flush()

    async def ready(self) -> dict[str, str]:
        """Return the address it prints once it listens; raises :class:`ChildDied` when it ends before."""
        line = await self.process.stdout.readline() if self.process.stdout else b""
        if not line:
            code = await self.process.wait()
            await self._listening
            words = "\n".join(self._said.decode(errors="replace").splitlines()[-LAST_WORDS:])
            raise ChildDied(f"{words}\n{self.service} did not start, exit code {code}")
        addresses: dict[str, str] = json.loads(line)
        return addresses

    async def stop(self) -> None:
        """Ask it to stop, kill it when it does not, and pass its last words on."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), GRACE)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        await self._listening


async def _start(service: str, arguments: Sequence[str]) -> Process:
    # The package may be on the path only because of where this process was started: hand the path on.
    package = (__package__ or "").split(".")
    root = str(Path(__file__).absolute().parents[len(package)])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    # -P: a folder of the same name in the working directory must not be taken for this package.
    command = (sys.executable, "-P", "-m", ".".join(package), service, "--watch-stdin", *arguments)
    # The child holds the other end of its standard input: when this process dies, however, the child sees its end.
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    )


async def _watch(children: Iterable[_Child], stopped: asyncio.Event) -> None:
    """Wait for the signal to stop; say so when a participant dies before, and let the others go on."""

    async def tell(child: _Child) -> None:
        code = await child.process.wait()
        print(f"{child.service} ended with exit code {code}; the others go on", file=sys.stderr)

    tellers = [asyncio.create_task(tell(child)) for child in children]
    await stopped.wait()
    for teller in tellers:
        teller.cancel()
    await asyncio.gather(*tellers, return_exceptions=True)
