"""Start the participants: all five as child processes, or the one that is named, in this process.

The addresses are printed as one line of JSON when they are ready; SIGINT or SIGTERM stops them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from .services import SERVICES

PORT_BASE = 9101


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    add = parser.add_argument
    add("service", nargs="?", choices=list(SERVICES), help="start this one only, in this process")
    add("--host", default="127.0.0.1")
    add(
        "--port",
        type=int,
        help="port of the one service; 0 takes a free one (default: its place from the base)",
    )
    add("--port-base", type=int, default=PORT_BASE, help="port of the first; 0 takes free ones (%(default)s)")
    add("--data", type=Path, help="folder of the ledgers (default: a new one, removed at the end)")
    add(
        "--knobs",
        default=os.environ.get("FLIGHT_BOOKING_KNOBS", "{}"),
        help='faults, as JSON: {"flights": {"seed": 1, "rules": [...]}} (default: $FLIGHT_BOOKING_KNOBS)',
    )
    add(
        "--watch-stdin",
        action="store_true",
        help="stop at the end of standard input: when the parent has gone",
    )
    add("--verbose", action="store_true", help="log every request")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING)
    try:
        knobs = json.loads(options.knobs)
    except ValueError as error:
        parser.error(f"--knobs is not JSON: {error}")
    if not isinstance(knobs, dict) or set(knobs) - set(SERVICES):
        parser.error(f"--knobs is an object with members among {', '.join(SERVICES)}")
    with ExitStack() as stack:
        data = options.data or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="flight_booking_"))
        )
        data.mkdir(parents=True, exist_ok=True)
        run = _one(options, data, knobs) if options.service else _all(options, data)
        return asyncio.run(run)


def _port(options: argparse.Namespace, service: str) -> int:
    if options.port is not None:
        return int(options.port)
    return int(options.port_base and options.port_base + list(SERVICES).index(service))


async def _all(options: argparse.Namespace, data: Path) -> int:
    from . import fleet  # only the parent needs it

    common = ["--host", options.host, "--data", str(data), "--knobs", options.knobs]
    common += ["--verbose"] if options.verbose else []
    arguments = {name: [*common, "--port", str(_port(options, name))] for name in SERVICES}
    return await fleet.run(arguments, _stop_signal(options))


async def _one(options: argparse.Namespace, data: Path, knobs: dict[str, Any]) -> int:
    # The parent starts faster without the web framework.
    from aiohttp import web

    from .knobs import BadKnobs, Knobs
    from .ledger import connect
    from .participant import Participant

    stopped, service = _stop_signal(options), options.service
    with closing(connect(data / f"{service}.sqlite")) as connection:
        try:
            participant = Participant(service, connection, Knobs.parse(knobs.get(service, {})))
        except BadKnobs as error:
            return _complain(f"--knobs: {service}: {error}")
        # A request that hangs on purpose must not hold up the end.
        runner = web.AppRunner(participant.app(), shutdown_timeout=0.2)
        await runner.setup()
        try:
            site = web.TCPSite(runner, options.host, _port(options, service))
            await site.start()
            port = runner.addresses[0][1]
            print(json.dumps({service: f"http://{options.host}:{port}"}), flush=True)
            await stopped.wait()
        except OSError as error:
            return _complain(f"{service}: {error.strerror or error}")
        finally:
            await runner.cleanup()
    return 0


def _complain(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def _stop_signal(options: argparse.Namespace) -> asyncio.Event:
    """Return an event that is set by SIGINT, by SIGTERM and, if wanted, by the end of standard input."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if options.watch_stdin:
        loop.add_reader(sys.stdin.fileno(), _read_on(loop, stopped))
    return stopped


def _read_on(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> Callable[[], None]:
    def read() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            stopped.set()

    return read


if __name__ == "__main__":
    sys.exit(main())
