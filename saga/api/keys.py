"""What handlers find in the application, each under a typed key."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from saga.catalogue import Catalogue
from saga.intake import Intake
from saga.metrics.instruments import Metrics, Reading
from saga.ports.clock import Clock
from saga.ports.invoker import Invoker
from saga.ports.store import Store
from saga.ports.telemetry import Telemetry
from saga.post import Post
from saga.settings import Settings
from saga.worker import Worker


@dataclass(slots=True)
class Readiness:
    """Whether the coordinator takes work."""

    #: Why it does not; None when it does.
    reason: str | None = "it is starting"


@dataclass(slots=True)
class Looked:
    """What the store said when it was asked last for the metrics."""

    up: bool = False
    #: Seconds the longest due saga has waited.
    due_delay: float = 0.0
    #: How many are parked, by their definition.
    parked: Reading = field(default_factory=dict)


SETTINGS: Final = web.AppKey("settings", Settings)
CLOCK: Final = web.AppKey("clock", Clock)
STORE: Final = web.AppKey("store", Store)
CATALOGUE: Final = web.AppKey("catalogue", Catalogue)
WORKER: Final = web.AppKey("worker", Worker)
INVOKER: Final = web.AppKey("invoker", Invoker)
TELEMETRY: Final = web.AppKey("telemetry", Telemetry)
METRICS: Final = web.AppKey("metrics", Metrics)
LOOKED: Final = web.AppKey("looked", Looked)
INTAKE: Final = web.AppKey("intake", Intake)
POST: Final = web.AppKey("post", Post)
READINESS: Final = web.AppKey("readiness", Readiness)
#: Set once the store has turned out to be away at the start.
AWAY: Final = web.AppKey("away", asyncio.Event)
#: Key of the callbacks' tokens and of the cursors of lists.
CALLBACK_KEY: Final = web.AppKey("callback_key", bytes)
