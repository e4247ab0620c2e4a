"""Every store there is, each empty and open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from saga.ports.store import Store
from saga.stores.memory import MemoryStore
from saga.stores.sqlite import SqliteStore
from tests import mongodb
from tests.contract.values import NODE, OTHER
from tests.doubles_store import FaultyStore


def make_store(kind: str, folder: Path) -> Store:
    """Return a store of this kind that was never opened."""
    if kind == "memory":
        return MemoryStore()
    if kind == "faulty":
        return FaultyStore(MemoryStore())
    return SqliteStore(folder / "saga.db")


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        "faulty",
        *(pytest.param(driver, marks=pytest.mark.mongodb) for driver in mongodb.DRIVERS),
    ]
)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Open a store that knows two nodes."""
    if request.param in mongodb.DRIVERS:
        async with mongodb.opened(request.param) as made:
            await made.join(NODE)
            await made.join(OTHER)
            yield made
        return
    kept = make_store(request.param, tmp_path)
    await kept.open()
    await kept.join(NODE)
    await kept.join(OTHER)
    yield kept
    await kept.close()
