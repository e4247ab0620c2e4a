"""What a forked child runs: the server as ``saga serve`` runs it, with a point armed from outside.

Only this module of the harness changes the coordinator: it wraps the verbs of the ports' real implementations, the
class of every SQLite connection, and the steps by which a file is made.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Self

import saga.alarms
import saga.app
import saga.invoker
from saga.clock import SystemClock
from saga.invoker import HttpInvoker
from saga.server import run
from saga.settings import load_settings
from saga.stores import sqlite_file, sqlite_writer
from saga.stores.sqlite import SqliteStore
from tests.crash_points.points import FILE_STEPS, SCHEMA, ports, site_of, sites

#: Names the file with the orders of the next child.
ORDERS = "CRASH_POINTS"
#: A node that is known and never beats, where the store is said to be shared.
SILENT = "silent"
#: Seconds without a write after which the log is copied: a journey has no second to wait.
IDLE_SECONDS = 0.05

sites()  # once, and not in every child


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What is to happen to one life of the coordinator."""

    #: The point at which it is killed, at this visit from 1; None: at none.
    point: str | None = None
    visit: int = 1
    #: Visits count only once this file is there; None: from the start.
    gate: str | None = None
    #: Every visit is noted in this file; None: in none.
    record: str | None = None
    #: The store is said to be shared, so that nodes beat and look after one another.
    shared: bool = False
    #: Seconds a commit takes longer, so that what waits for it goes down together.
    slow: float = 0.0

    def write(self, file: Path) -> None:
        """Give the order to the next child."""
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Return what was ordered."""
        return cls(**json.loads(file.read_text()))


class Trap:
    """Counts visits, and kills at the one that was ordered."""

    def __init__(self, orders: Orders) -> None:
        self.orders, self._visits = orders, 0
        self._record = None
        if orders.record is not None:
            self._record = os.open(orders.record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def visit(self, point: str) -> None:
        """Be at a point; does not return when it is the end."""
        if self._record is not None:
            os.write(self._record, f"{point}\n".encode())
        if point != self.orders.point or (self.orders.gate and not os.path.exists(self.orders.gate)):  # noqa: PTH110
            return
        self._visits += 1
        if self._visits == self.orders.visit:
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()  # another thread may be the one that is killed first


def serve() -> int:
    """Run the server with the settings of the environment until it is stopped or killed; return its exit code."""
    orders = Orders.read(Path(os.environ[ORDERS]))
    arm(Trap(orders))
    return run(load_settings(os.environ))


def arm(trap: Trap) -> None:
    """Wrap everything that has a point."""
    for port, of in (("store", SqliteStore), ("call", HttpInvoker), ("clock", SystemClock)):
        for verb in ports()[port]:
            setattr(of, verb, _between(trap, f"{port}.{verb}", getattr(of, verb)))
    _arm_calls(trap)
    _arm_timers(trap)
    _arm_statements(trap)
    for step in FILE_STEPS:
        owner: Any = Path if step == "rename" else sqlite_file
        setattr(owner, step, _between(trap, f"file {step}", getattr(owner, step)))
    if trap.orders.shared:
        _share()
    sqlite_writer.IDLE_SECONDS = IDLE_SECONDS


def _between(trap: Trap, name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
    before, after = f"{name} before", f"{name} after"

    @wraps(verb)
    async def waits(*args: Any, **named: Any) -> Any:
        trap.visit(before)
        answer = await verb(*args, **named)
        trap.visit(after)
        return answer

    @wraps(verb)
    def runs(*args: Any, **named: Any) -> Any:
        trap.visit(before)
        answer = verb(*args, **named)
        trap.visit(after)
        return answer

    return waits if verb.__code__.co_flags & _COROUTINE else runs


_COROUTINE = 0x80


def _arm_calls(trap: Trap) -> None:
    """Find the moment at which a request has left and nobody has looked at its answer."""
    send = saga.invoker._Request.send

    async def sent(request: Any, connection: Any) -> Any:
        response = await send(request, connection)
        for _ in range(3):  # a body leaves in a task of its own
            await asyncio.sleep(0)
        trap.visit(f"call.{'poll' if request.method == 'GET' else 'invoke'} sent")
        return response

    saga.invoker._Request.send = sent  # type: ignore[method-assign]


def _arm_timers(trap: Trap) -> None:
    made = saga.alarms.Alarms.__init__

    def make(alarms: Any, clock: Any, ring: Callable[..., None]) -> None:
        made(alarms, clock, _between(trap, "timer", ring))

    saga.alarms.Alarms.__init__ = make  # type: ignore[method-assign]


def _arm_statements(trap: Trap) -> None:
    connect = sqlite3.connect

    def armed(
        where: Any, *args: Any, factory: type[sqlite3.Connection] = sqlite3.Connection, **named: Any
    ) -> Any:
        plain = (
            factory is sqlite3.Connection and where != ":memory:"
        )  # what is in memory dies with everything
        return connect(where, *args, factory=_Armed if plain else factory, **named)

    _Armed.trap = trap
    sqlite3.connect = armed  # type: ignore[assignment]


class _Armed(sqlite3.Connection):
    """A connection whose statements are points."""

    trap: Trap

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        return self._at(super().execute, sql, args)

    def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
        return self._at(super().executemany, sql, args)

    def _at(self, do: Callable[..., sqlite3.Cursor], sql: str, args: Sequence[Any]) -> sqlite3.Cursor:
        if sql in SCHEMA:
            self.trap.visit(SCHEMA[sql])
            return do(sql, *args)
        site = site_of(sys._getframe(2))
        if site is None:
            return do(sql, *args)
        self.trap.visit(site.name)
        if self.trap.orders.slow and sql == "COMMIT":
            time.sleep(self.trap.orders.slow)
        cursor = do(sql, *args)
        if site.twice:
            self.trap.visit(f"{site.name} after")
        return cursor


def _share() -> None:
    """Say that others share the store, and let one of them be silent."""
    made, opened = SqliteStore.__init__, SqliteStore.open

    def make(store: SqliteStore, *args: Any, **named: Any) -> None:
        made(store, *args, **named)
        store.shared = True

    async def open_(store: SqliteStore) -> None:
        await opened(store)
        await store.join(SILENT)

    SqliteStore.__init__ = make  # type: ignore[method-assign]
    SqliteStore.open = open_  # type: ignore[method-assign]
