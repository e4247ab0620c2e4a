"""A coordinator that lives as long as its file: it is stopped, dropped and opened again, under a clock that is moved."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic_core import from_json

from saga.api import keys
from saga.stores.sqlite import SqliteStore
from tests.doubles import VirtualClock, settle_down
from tests.doubles_store import FaultyStore
from tests.model.wire import Seen, Wire
from tests.served import Said, Served

T = TypeVar("T")


def last_entries(path: Path, saga_id: str) -> list[Any]:
    """Return the last entries of a saga, as whoever opens the file after a kill finds them."""
    db = sqlite3.connect(path)
    rows = db.execute("SELECT entry FROM entries WHERE saga_id = ? ORDER BY seq DESC LIMIT 30", (saga_id,))
    entries = [from_json(entry) for (entry,) in rows]
    db.close()
    return entries


class CountedStore(FaultyStore):
    """A store that knows how many of its calls are under way."""

    def __init__(self, path: Path) -> None:
        super().__init__(SqliteStore(path, "fast"))
        self._under_way = 0
        self._idle = asyncio.Event()
        #: Calls until ``blow`` is called, before the call is done; None: never.
        self.fuse: int | None = None
        self.blow: Callable[[], None] = lambda: None

    async def _call(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        self._under_way += 1
        try:
            self._burn()
            return await super()._call(method, call)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    def _burn(self) -> None:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.fuse = None
                self.blow()

    async def quiet(self) -> None:
        """Return once nothing is ready to run, and no call of the store is under way."""
        await settle_down()
        while self._under_way:
            self._idle.clear()
            await self._idle.wait()
            await settle_down()


class QuietClock(VirtualClock):
    """A clock that is moved only when the store has answered everybody."""

    def __init__(self, now: float, store: CountedStore) -> None:
        super().__init__(now)
        self._store = store

    async def settle(self) -> None:
        """Wait for the store too."""
        await self._store.quiet()


class Living:
    """The coordinator of a story."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lives = 0
        self.seen = Seen()

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._lives}.db"

    async def open(self, now: float = 1_700_000_000.0) -> None:
        """Start it on its file."""
        self._store = CountedStore(self._path)
        self.clock = QuietClock(now, self._store)
        path = self._path
        self.wire = Wire(self.seen, lambda saga_id: last_entries(path, saga_id))
        self._served = Served(self.wire, store=self._store, clock=self.clock)  # type: ignore[arg-type]
        await self._served.__aenter__()
        await self._store.quiet()

    async def close(self) -> None:
        """Stop it in good order; what is on the wire has its grace."""
        closing = asyncio.ensure_future(self._served.__aexit__())
        while not closing.done():
            await self.clock.advance(0.25)
            self.wire.expire(self.clock.now())
            await asyncio.sleep(0.0005)
        await closing

    async def restart(self) -> None:
        """Stop it in good order, and start it again on the same file."""
        await self.close()
        await self.open(self.clock.now())

    async def crash(self) -> None:
        """Start another on what the file holds at this very moment; the first is gone, with what it had in hand."""
        self._die()
        await self._live_on()

    async def crash_at(
        self, calls: int, method: str, path: str, value: Any = None, **headers: str
    ) -> Said | None:
        """Crash before the store's so-many-th call while a request is served; return its answer if it came before."""
        lives, self._store.blow, self._store.fuse = self._lives, self._die, calls
        answer = await self.ask(method, path, value, **headers)
        self._store.fuse = None
        died = self._lives > lives
        if not died:
            self._die()
        await self._live_on()
        return None if died else answer

    def _die(self) -> None:
        """Keep what the file holds now; nothing that the coordinator does from here on has happened."""
        source, copy = sqlite3.connect(self._path), sqlite3.connect(self._folder / f"{self._lives + 1}.db")
        source.backup(copy)
        source.close()
        copy.execute("PRAGMA journal_mode = wal")
        copy.close()
        self._lives += 1
        self.wire.seen = Seen()

    async def _live_on(self) -> None:
        now = self.clock.now()
        await self.close()
        await self.open(now)

    async def ask(self, method: str, path: str, value: Any = None, **more: str) -> Said:
        """Send a request; its answer is not the coordinator's failure, and is as it is described."""
        answer = await asyncio.wait_for(self._served.ask(method, path, value, **more), 20.0)
        assert answer.status < 500, f"{method} {path}: {answer.status} {answer.text}"
        await self._store.quiet()
        assert not self.wire.faults, self.wire.faults
        return answer

    async def ask_patiently(self, method: str, path: str, value: Any = None, **more: str) -> Said:
        """Send a request that may take time; it passes until there is an answer."""
        asking = asyncio.ensure_future(self.ask(method, path, value, **more))
        for _ in range(400):
            await asyncio.sleep(0.001)
            if asking.done():
                break
            await self._store.quiet()
            await self.pass_time(0.1)
        return await asking

    async def pass_time(self, seconds: float) -> None:
        """Let time pass; a request whose time is over meanwhile ends then."""
        end = self.clock.now() + seconds
        while (deadline := self.wire.next_deadline) is not None and deadline <= end:
            await self.clock.advance(max(0.0, deadline - self.clock.now()))
            self.wire.expire(self.clock.now())
            await self._store.quiet()
        await self.clock.advance(end - self.clock.now())

    async def quiet(self) -> None:
        """Return once nothing happens any more without time."""
        await self._store.quiet()

    async def wake(self, saga_id: str) -> None:
        """Have the saga looked at."""
        await self._served.app[keys.WORKER].poke(saga_id)
        await self.quiet()
