"""A MongoDB-compatible server for the tests that ask for one, and databases of their own on it.

It is the server of ``SAGA_TEST_MONGODB`` when that is set; else the MongoDB-compatible server (FerretDB) that
``tests/servers/mongodb.sh`` fetches, builds and starts. Where that cannot be had the tests are skipped, with the reason.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from saga.stores.mongo import MongoStore
from saga.stores.mongo_driver import Client, Collection, Driver

SCRIPT = Path(__file__).parent / "servers" / "mongodb.sh"
#: The script ends so where the server cannot be had.
_SKIPPED = 77
#: Port of the tests' own server.
PORT = 27620

DRIVERS: tuple[Driver, ...] = ("motor", "pymongo")


def script(action: str, port: int = PORT) -> subprocess.CompletedProcess[str]:
    """Run the script that starts and stops the server."""
    return subprocess.run(
        ["bash", str(SCRIPT), action, str(port)],
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


@cache
def server() -> str:
    """Return the address of the server; skips where there is none."""
    given = os.environ.get("SAGA_TEST_MONGODB")
    if given:
        return given
    started = script("up")
    if started.returncode == _SKIPPED:
        pytest.skip(started.stderr.strip().splitlines()[-1])
    assert started.returncode == 0, started.stderr
    atexit.register(script, "down")
    return started.stdout.strip().splitlines()[-1]


def fresh_address() -> str:
    """Return the address of a database that is not there yet."""
    parts = urlsplit(server())
    return urlunsplit(parts._replace(path=f"/saga_test_{secrets.token_hex(6)}"))


async def drop(address: str) -> None:
    """Remove a database."""
    client = Client(address, "pymongo", seconds=5.0, most=2)
    await client.drop()
    await client.close()


async def fresh_store(driver: Driver) -> MongoStore:
    """Return a store on a database that is not there yet."""
    return MongoStore(await asyncio.to_thread(fresh_address), driver)


@asynccontextmanager
async def opened(driver: Driver = "pymongo") -> AsyncIterator[MongoStore]:
    """Open a store on a database of its own, and remove it afterwards."""
    store = await fresh_store(driver)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
        await drop(store._address)


async def entries(sagas: Collection, saga_id: str) -> list[bytes]:
    """Return what stands in a saga's document of its journal."""
    document = await sagas.one({"_id": saga_id})
    assert document is not None
    return [entry["b"] for entry in document["entries"]]
