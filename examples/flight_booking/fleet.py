"""All five participants as child processes: started together, stopped together."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path

from .services import SERVICES

#: Seconds a child may take to stop before it is killed.
GRACE = 3.0


async def run(arguments: Mapping[str, Sequence[str]], stopped: asyncio.Event) -> int:
    """Start one child per service, print their addresses when all are ready, and wait; return an exit code."""
    children: dict[str, Process] = {}
    try:
        for service in SERVICES:
            children[service] = await _start(service, arguments[service])
        addresses: dict[str, str] = {}
        for service, child in children.items():
            addresses |= await _ready(service, child)
        print(json.dumps(addresses), flush=True)
        await _watch(children, stopped)
        return 0
    except ChildDied as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        await asyncio.gather(*map(_stop, children.values()))


class ChildDied(Exception):
    """A participant did not come up."""


async def _start(service: str, arguments: Sequence[str]) -> Process:
    # The package may be on the path only because of where this process was started: hand the path on.
    package = (__package__ or "").split(".")
    root = str(Path(__file__).absolute().parents[len(package)])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    # -P: a folder of the same name in the working directory must not be taken for this package.
    command = (sys.executable, "-P", "-m", ".".join(package), service, "--watch-stdin", *arguments)
    # The child holds the other end of its standard input: when this process dies, however, the child sees its end.
    return await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, env=os.environ | {"PYTHONPATH": path}, start_new_session=True
    )


async def _ready(service: str, child: Process) -> dict[str, str]:
    line = await child.stdout.readline() if child.stdout else b""
    if not line:
        raise ChildDied(f"{service} did not start, exit code {await child.wait()}")
    addresses: dict[str, str] = json.loads(line)
    return addresses


async def _watch(children: Mapping[str, Process], stopped: asyncio.Event) -> None:
    """Wait for the signal to stop; say so when a participant dies before, and let the others go on."""

    async def tell(service: str, child: Process) -> None:
        code = await child.wait()
        print(f"{service} ended with exit code {code}; the others go on", file=sys.stderr)

    tellers = [asyncio.create_task(tell(*item)) for item in children.items()]
    await stopped.wait()
    for teller in tellers:
        teller.cancel()
    await asyncio.gather(*tellers, return_exceptions=True)


async def _stop(child: Process) -> None:
    if child.returncode is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(child.wait(), GRACE)
    except TimeoutError:
        child.kill()
        await child.wait()
