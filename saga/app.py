"""The coordinator put together: the only module that knows every other.

What has to be opened and closed stands in one order (:func:`_parts`): the store first, because everything else
asks it, and closed last; the worker last, because it begins to send as soon as it runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from saga.api import keys, scrape
from saga.api.problems import answer
from saga.api.routes import add_routes
from saga.catalogue import Catalogue
from saga.clock import SystemClock
from saga.core.entries import FORMAT
from saga.errors import StoreUnavailable, StoreUnknown
from saga.folder import store_folder
from saga.intake import Intake
from saga.invoker import HttpInvoker
from saga.language.documents import MAX_BYTES
from saga.membership import Membership
from saga.metrics.instruments import Metrics
from saga.metrics.watched import MeteredInvoker, MeteredTelemetry, metered
from saga.ports.clock import Clock
from saga.ports.invoker import Invoker
from saga.ports.store import Store
from saga.ports.telemetry import NoTelemetry, Telemetry
from saga.post import Post
from saga.sender import Sender
from saga.sender import Settings as SenderSettings
from saga.settings import Settings
from saga.stores.memory import MemoryStore
from saga.stores.sqlite import SqliteStore
from saga.worker import Limits, Worker

log = logging.getLogger(__name__)

#: Bytes of the key that callbacks are proved with.
_KEY_BYTES: Final = 32
#: Seconds between two looks for a store that is away at the start.
_LOOK_AGAIN: Final = 1.0


def build_app(
    settings: Settings,
    *,
    store: Store | None = None,
    invoker: Invoker | None = None,
    clock: Clock | None = None,
    telemetry: Telemetry | None = None,
) -> web.Application:
    """Return the coordinator as an application; it opens when it is started, and closes when it is cleaned up."""
    # What is compressed is refused, so that nothing has to be inflated; by itself the framework would try.
    app = web.Application(
        middlewares=[answer], client_max_size=MAX_BYTES, handler_args={"auto_decompress": False}
    )
    clock = clock or SystemClock()
    store = store or make_store(settings)
    catalogue = Catalogue(store, clock, frozenset(settings.service))
    app[keys.SETTINGS] = settings
    app[keys.CLOCK] = clock
    app[keys.STORE] = store
    app[keys.CATALOGUE] = catalogue
    app[keys.READINESS] = keys.Readiness()
    app[keys.AWAY] = asyncio.Event()
    app[keys.INVOKER] = invoker or HttpInvoker()
    app[keys.TELEMETRY] = telemetry or NoTelemetry()
    app[keys.METRICS] = Metrics()
    app[keys.LOOKED] = keys.Looked()
    app.cleanup_ctx.extend([_store, _invoker, _telemetry, _worker])
    add_routes(app)
    return app


def make_store(settings: Settings) -> Store:
    """Return the store that the settings name, not yet opened."""
    if settings.store == "memory://":
        return MemoryStore()
    if settings.store.startswith("sqlite:///"):
        return SqliteStore(Path(settings.store.removeprefix("sqlite:///")), settings.durability)
    from saga.stores.mongo import MongoStore  # noqa: PLC0415 - a driver is loaded by who uses it

    return MongoStore(settings.store, settings.mongodb_driver)


async def drain(app: web.Application, grace: float) -> None:
    """Take no more work, and let what is under way end, within so many seconds."""
    app[keys.READINESS].reason = "it is being stopped"
    app[keys.WORKER].refuse()
    await app[keys.INTAKE].close(grace)
    await app[keys.WORKER].stop(grace)


# what is opened and closed


async def _store(app: web.Application) -> AsyncIterator[None]:
    store = app[keys.STORE]
    try:
        await _once_it_is_there(app, _opened(app))
        yield
    finally:
        await store.close()


def _opened(app: web.Application) -> Callable[[], Awaitable[None]]:
    """Return what opens the store and reads what the coordinator needs of it; doing it twice changes nothing."""
    store, folder = app[keys.STORE], app[keys.SETTINGS].definitions

    async def opened() -> None:
        await store.open()
        if newer := await store.newer(FORMAT):
            log.warning(
                "%d sagas are left alone: their journals have a newer format than this release knows, and a later "
                "release has to run them", newer,
            )  # fmt: skip
        app[keys.CALLBACK_KEY] = await store.secret("callback", secrets.token_bytes(_KEY_BYTES))
        if folder is not None:
            await store_folder(app[keys.CATALOGUE], folder)

    return opened


async def _once_it_is_there(app: web.Application, work: Callable[[], Awaitable[None]]) -> None:
    """Do what needs the store, which may be away: then wait for it, and say so, as long as it takes."""
    clock, readiness = app[keys.CLOCK], app[keys.READINESS]
    began, away = clock.monotonic(), False
    while True:
        try:
            await work()
            break
        except (StoreUnavailable, StoreUnknown) as problem:
            away, readiness.reason = True, f"it waits for its store: {problem}"
            app[keys.AWAY].set()
            log.warning("the coordinator is not ready, and waits for its store: %s", problem)
            await clock.sleep(_LOOK_AGAIN)
    if away:
        readiness.reason = "it is starting"
        log.info("the store is there, after %.0f s", clock.monotonic() - began)


async def _invoker(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[keys.INVOKER].close()


async def _telemetry(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[keys.TELEMETRY].close()


async def _worker(app: web.Application) -> AsyncIterator[None]:
    settings, clock, metrics = app[keys.SETTINGS], app[keys.CLOCK], app[keys.METRICS]
    store, catalogue = metered(app[keys.STORE], metrics, clock), app[keys.CATALOGUE]
    telemetry = MeteredTelemetry(app[keys.TELEMETRY], metrics)
    membership = Membership(store, clock, node=_node_name(), ttl=settings.node_ttl)
    sender = Sender(
        MeteredInvoker(app[keys.INVOKER], metrics, clock),
        clock,
        SenderSettings(
            services=settings.service,
            secrets=settings.secret,
            callback_secret=app[keys.CALLBACK_KEY],
            public_url=settings.callback_url,
        ),
        trusted=membership.trusted,
    )
    worker = Worker(
        store, catalogue, sender, clock, telemetry,
        membership=membership,
        limits=Limits(running=settings.max_running, calls=settings.max_calls),
    )  # fmt: skip
    app[keys.WORKER] = worker
    app[keys.INTAKE] = Intake(store, worker, clock, telemetry)
    app[keys.POST] = Post(store, catalogue, worker, clock)
    scrape.read_from(app)
    await _once_it_is_there(app, worker.start)
    app[keys.READINESS].reason = None
    try:
        yield
    finally:
        await drain(app, settings.grace)


def _node_name() -> str:
    """Return a name that no other coordinator has, nor this one after a restart."""
    host = "".join(char for char in socket.gethostname() if char.isascii() and char.isprintable())[:40]
    return f"{host or 'node'}-{os.getpid()}-{secrets.token_hex(4)}"
