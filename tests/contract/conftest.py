"""Every store there is, each empty and open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from saga.ports.store import Store
from saga.stores.memory import MemoryStore
from saga.stores.sqlite import SqliteStore
from tests.contract.values import NODE, OTHER
from tests.doubles_store import FaultyStore


def make_store(kind: str, folder: Path) -> Store:
    """Return a store of this kind that was never opened."""
    if kind == "memory":
        return MemoryStore()
    if kind == "faulty":
        return FaultyStore(MemoryStore())
    return SqliteStore(folder / "saga.db")


@pytest.fixture(params=["memory", "sqlite", "faulty"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Open a store that knows two nodes."""
    made = make_store(request.param, tmp_path)
    await made.open()
    await made.join(NODE)
    await made.join(OTHER)
    yield made
    await made.close()
