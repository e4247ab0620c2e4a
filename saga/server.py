"""The coordinator as a process: on a socket, until it is told to stop or its store has failed.

A first SIGTERM or SIGINT stops it in good order: not ready any more, no new work, calls in flight awaited within
the grace; meanwhile callbacks are still taken. A second one ends the process at once, which costs nothing that was
acknowledged.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from dataclasses import replace
from functools import partial
from typing import Final

from aiohttp import web

from saga import logs
from saga.api import keys
from saga.api.runner import Runner
from saga.api.waiting import waiting_room
from saga.app import build_app, drain
from saga.errors import CannotListen, SettingsInvalid, StoreUnusable
from saga.loops import loop_factory
from saga.settings import Settings, unknown_variables
from saga.telemetry import telemetry_from

log = logging.getLogger(__name__)

#: Exit codes.
OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2

#: Seconds that answers under way have for leaving, once all work is done.
_LAST_ANSWERS: Final = 2.0
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
#: What to do when an address cannot be taken, by the number of the error.
_ADVICE: Final = {
    errno.EADDRINUSE: "is another coordinator running? Stop it, or choose another port with SAGA_PORT or --port",
    errno.EADDRNOTAVAIL: "this machine has no such address: set SAGA_HOST or --host to one it has, to 127.0.0.1 for "
    "this machine alone, or to 0.0.0.0 for all it has",
    errno.EACCES: "this user may not take this port, as is usual below 1024: choose another with SAGA_PORT or --port",
}
#: Connections that may wait to be accepted.
_BACKLOG: Final = 1024


def run(settings: Settings) -> int:
    """Run a coordinator until it is stopped; return the exit code."""
    logs.configure(settings.log_level)
    for name in unknown_variables(os.environ):
        log.warning("%s is no setting of this release, and is not looked at", name)
    try:
        return _loop(settings)
    except (StoreUnusable, CannotListen) as error:
        print(f"saga: {error}", file=sys.stderr)  # noqa: T201 - the last word of a program
        return FAILED
    except SettingsInvalid as error:
        print(f"saga: it cannot start as it is told to:\n{error}", file=sys.stderr)  # noqa: T201 - likewise
        return USAGE


def _loop(settings: Settings) -> int:
    _spare_the_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(serve(settings))


def _spare_the_collector() -> None:
    """Keep the collector from looking through all that was imported, again and again, for nothing.

    The interval at which threads take turns stays as it is: half a millisecond cost a tenth more, in switches.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def serve(settings: Settings) -> int:
    """Run a coordinator in this loop until it is stopped; return the exit code."""
    tls = _tls(settings)
    listener = _bind(settings)
    # A free port is known only now, and participants are told where to call back.
    settings = _reachable(replace(settings, port=listener.getsockname()[1]))
    app = build_app(settings, telemetry=telemetry_from(os.environ))
    runner = Runner(app, access_log=None, shutdown_timeout=_LAST_ANSWERS)
    stop = _stop_signals()
    try:
        if not await _open(runner, listener, settings, tls, stop):
            return OK
        await _listen(runner, listener, settings, tls)
        print(f"saga: listening on {settings.address}", flush=True)  # noqa: T201 - for whoever started it
        return await until_stopped(app, stop)
    finally:
        await runner.cleanup()
        listener.close()


async def _open(
    runner: web.AppRunner,
    listener: socket.socket,
    settings: Settings,
    tls: ssl.SSLContext | None,
    stop: asyncio.Event,
) -> bool:
    """Open the coordinator; while its store is away, answer that. False when it is stopped before it is open."""
    opening = asyncio.ensure_future(runner.setup())
    stopped = asyncio.ensure_future(stop.wait())
    away = asyncio.ensure_future(runner.app[keys.AWAY].wait())
    room = Runner(waiting_room(runner.app), access_log=None, shutdown_timeout=_LAST_ANSWERS)
    try:
        await asyncio.wait({opening, stopped, away}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done() and not stopped.done():
            await room.setup()
            # A copy of the socket: who connects while the room is being closed finds the coordinator behind it.
            await _listen(room, listener.dup(), settings, tls)
            log.info("listening on %s, to say that the store is away", settings.address)
            await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            await opening
        return opening.done()
    finally:
        for each in (opening, stopped, away):
            each.cancel()
        await asyncio.gather(opening, stopped, away, return_exceptions=True)
        await room.cleanup()


def _reachable(settings: Settings) -> Settings:
    """Return the settings with an address for callbacks; that of every interface is nobody's."""
    if settings.public_url is not None or settings.host not in _EVERYWHERE:
        return settings
    scheme = settings.address.partition(":")[0]
    url = f"{scheme}://{socket.gethostname()}:{settings.port}"
    log.warning("participants are told to call back to %s: set SAGA_PUBLIC_URL if that is not its name", url)
    return replace(settings, public_url=url)


async def until_stopped(app: web.Application, stop: asyncio.Event) -> int:
    """Wait for the stop or the store's failure, and end all work; return the exit code."""
    failed = asyncio.ensure_future(app[keys.STORE].failed())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if failed.done():
        log.critical("the store has failed, and the coordinator ends: %s", failed.result())
        await drain(app, 0.0)
        return FAILED
    failed.cancel()
    grace = app[keys.SETTINGS].grace
    log.info("stopping: calls in flight have %g s", grace)
    await drain(app, grace)
    return OK


def _stop_signals() -> asyncio.Event:
    """Return an event that the first signal sets; the second ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(_signalled, stop, number))
    return stop


def _signalled(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        os._exit(128 + number)
    stop.set()


# the socket


def _bind(settings: Settings) -> socket.socket:
    """Take the address before anything is opened; nobody can connect yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        problem = f"SAGA_HOST is {settings.host!r}, which leads to no address ({error.strerror}): set it to one of this machine"
        raise CannotListen(problem) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(settings, error) from error
    return listener


async def _listen(
    runner: web.AppRunner, listener: socket.socket, settings: Settings, tls: ssl.SSLContext | None
) -> None:
    site = web.SockSite(runner, listener, backlog=_BACKLOG, ssl_context=tls)
    try:
        await site.start()
    except OSError as error:
        raise _cannot_listen(settings, error) from error


def _cannot_listen(settings: Settings, error: OSError) -> CannotListen:
    why = os.strerror(error.errno) if error.errno else str(error)
    advice = _ADVICE.get(
        error.errno or 0, "choose another address with SAGA_HOST, or another port with SAGA_PORT"
    )
    return CannotListen(f"cannot listen on {settings.address} ({why}): {advice}")


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except OSError as error:  # ssl.SSLError is one
        problem = f"{settings.tls_certificate} and its key cannot be used: {error.strerror or error}"
        raise CannotListen(problem) from error
    return context
