"""The coordinator put together: what is opened and closed when, and what a restart finds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from saga.api import keys
from saga.app import build_app, drain, make_store
from saga.errors import SettingsInvalid, StoreUnavailable
from saga.ports.telemetry import NoTelemetry
from saga.server import FAILED, until_stopped
from saga.settings import Settings
from saga.stores.memory import MemoryStore
from saga.stores.mongo import MongoStore
from saga.stores.sqlite import SqliteStore
from tests.doubles import ScriptedInvoker, said
from tests.served import Served, answering, booking

START = {"definition": "booking", "input": {"n": 1}}
YAML = """
name: booking
services: {any: {url: "http://127.0.0.1:1"}}
steps:
  - name: seat
    action: {service: any, path: /seat}
    compensation: none
"""


class Diary:
    """What was called, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class NotedStore(MemoryStore):
    """Notes what concerns its life."""

    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self._diary = diary

    async def open(self) -> None:
        """Note it."""
        self._diary.lines.append("store.open")

    async def close(self) -> None:
        """Note it."""
        self._diary.lines.append("store.close")

    async def secret(self, name: str, fresh: bytes) -> bytes:
        """Note it."""
        self._diary.lines.append(f"store.secret {name} {len(fresh)}")
        return await super().secret(name, fresh)

    async def join(self, node: str) -> None:
        """Note it."""
        self._diary.lines.append("worker.start")
        await super().join(node)

    async def leave(self, node: str) -> None:
        """Note it."""
        self._diary.lines.append("worker.stop")
        await super().leave(node)


class NotedInvoker(ScriptedInvoker):
    """Notes its end."""

    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self._diary = diary

    async def close(self) -> None:
        """Note it."""
        self._diary.lines.append("invoker.close")


class NotedTelemetry(NoTelemetry):
    """Notes its end."""

    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self._diary = diary

    async def close(self) -> None:
        """Note it."""
        self._diary.lines.append("telemetry.close")


async def test_parts_are_opened_and_closed_in_one_order() -> None:
    """The store first and last; the worker last and first."""
    diary = Diary()
    app = build_app(
        Settings(store="memory://"),
        store=NotedStore(diary),
        invoker=NotedInvoker(diary),
        telemetry=NotedTelemetry(diary),
    )
    runner = web.AppRunner(app)
    await runner.setup()
    assert diary.lines == ["store.open", "store.secret callback 32", "worker.start"]
    diary.lines.clear()
    await drain(app, 0.0)
    await runner.cleanup()
    assert diary.lines == ["worker.stop", "telemetry.close", "invoker.close", "store.close"]


async def test_a_start_that_fails_closes_what_was_opened(tmp_path: Path) -> None:
    """A wrong definition refuses the start, and the file is free again."""
    (tmp_path / "wrong.yaml").write_text("name: 7")
    settings = Settings(store=f"sqlite:///{tmp_path}/saga.db", definitions=tmp_path)
    runner = web.AppRunner(build_app(settings))
    with pytest.raises(SettingsInvalid):
        await runner.setup()
    await runner.cleanup()
    store = SqliteStore(tmp_path / "saga.db")
    await store.open()
    await store.close()


def test_the_store_is_chosen_by_its_address() -> None:
    """And MongoDB's driver by a setting of its own."""
    assert isinstance(make_store(Settings(store="memory://")), MemoryStore)
    assert isinstance(make_store(Settings(store="sqlite:///saga.db")), SqliteStore)
    for driver in ("motor", "pymongo"):
        made = make_store(Settings(store="mongodb://localhost", mongodb_driver=driver))
        assert isinstance(made, MongoStore)
        assert made._driver == driver


# --------------------------------------------------------------------------- readiness


class AilingStore(MemoryStore):
    """A store that can be made to fail its ping."""

    ails = False

    async def ping(self) -> None:
        """Fail when it ails."""
        if self.ails:
            raise StoreUnavailable("the disk is full")


async def test_readiness_says_why_not() -> None:
    """The store's trouble, and the stop; being alive is another question."""
    store = AilingStore()
    async with Served(answering(), store=store) as api:
        assert (await api.get("/readyz")).json["status"] == "ready"
        store.ails = True
        answer = await api.get("/readyz")
        assert (answer.status, answer.type) == (503, "not-ready")
        assert "the disk is full" in answer.json["detail"]
        store.ails = False
        await drain(api.app, 0.0)
        answer = await api.get("/readyz")
        assert (answer.status, answer.json["detail"]) == (503, "it is being stopped")
        assert (await api.get("/healthz")).status == 200


async def test_while_it_stops_callbacks_and_questions_are_answered() -> None:
    """Calls in flight are awaited within the grace; what they bring is recorded."""
    async with Served(answering(seat=said(202))) as api:
        await api.put(booking())
        saga_id = (await api.post("/v1/sagas", START)).json["id"]
        await api.until(saga_id, lambda saga: saga["steps"][0]["status"] == "waiting")
        await drain(api.app, 0.0)
        callback = (api.invoker.sent[0].callback or "").removeprefix(api.url)
        assert (await api.post(callback, {"outcome": "succeeded", "output": 1})).status == 200
        shown = (await api.get(f"/v1/sagas/{saga_id}")).json
        assert (shown["status"], shown["owner"]) == ("running", None)
        assert (await api.post(f"/v1/sagas/{saga_id}/cancel")).status == 202
        assert len(await api.store.messages(saga_id)) == 2


class BrokenStore(MemoryStore):
    """A store that has stopped for good."""

    async def failed(self) -> str:
        """Say so."""
        return "the disk is gone"


async def test_the_process_ends_when_its_store_has_failed() -> None:
    """With an exit code, so that whoever watches it starts another."""
    async with Served(answering(), store=BrokenStore()) as api:
        assert await until_stopped(api.app, asyncio.Event()) == FAILED
        assert (await api.get("/readyz")).status == 503


# --------------------------------------------------------------------------- restarts


async def test_a_saga_goes_on_after_a_restart(tmp_path: Path) -> None:
    """A call that was open is in doubt, and is made again under the same key."""
    path = tmp_path / "saga.db"
    async with Served(answering(pay=None), store=SqliteStore(path)) as api:
        await api.put(booking())
        saga_id = (await api.post("/v1/sagas", START)).json["id"]
        await api.on_wire(saga_id, "pay")
        first = api.invoker.sent[1]
    async with Served(answering(), store=SqliteStore(path)) as api:
        saga = await api.ended(saga_id)
        assert saga["status"] == "completed"
        again = next(sent for sent in api.invoker.sent if sent.saga_id == saga_id)
        assert (again.key, again.attempt, again.body) == (first.key, 2, first.body)
        assert again.fence > first.fence
        assert saga["steps"][0]["attempts"] == 1
        # The key of callbacks outlives the process, too.
        callback = (first.callback or "").rpartition("/v1/callbacks/")[2]
        assert (await api.post(f"/v1/callbacks/{callback}", {"outcome": "refused"})).status in (200, 409)


# --------------------------------------------------------------------------- the folder of definitions


async def test_the_folder_is_stored_once(tmp_path: Path) -> None:
    """Content that was stored before, in any version, makes no new one."""
    (tmp_path / "booking.yaml").write_text(YAML)
    (tmp_path / "notes.txt").write_text("not a definition")
    store = MemoryStore()

    async def version() -> Any:
        async with Served(store=store, definitions=tmp_path) as api:
            return (await api.get("/v1/definitions/booking")).json["version"]

    assert await version() == 1
    assert await version() == 1
    async with Served(store=store) as api:
        await api.put(booking())
    assert await version() == 2
    (tmp_path / "booking.yaml").write_text(YAML.replace("none", "none\n    due: 5m"))
    assert await version() == 3


async def test_a_folder_with_faults_refuses_the_start_with_all_of_them(tmp_path: Path) -> None:
    """Each with its file, its line and how to mend it; nothing is stored."""
    (tmp_path / "a.yaml").write_text(YAML)
    (tmp_path / "b.yml").write_text(YAML)
    (tmp_path / "c.json").write_text("{")
    (tmp_path / "d.yaml").write_text(YAML.replace("seat", "Seat", 1))
    store = MemoryStore()
    with pytest.raises(SettingsInvalid) as caught:
        async with Served(store=store, definitions=tmp_path):
            pass
    found = {Path(each.pointer.partition("#")[0]).name: each for each in caught.value.problems}
    assert set(found) == {"b.yml", "c.json", "d.yaml"}
    assert found["d.yaml"].line == 5
    assert found["d.yaml"].pointer.endswith("d.yaml#/steps/0/name")
    assert not await store.definitions()


async def test_the_application_knows_its_parts_by_typed_keys() -> None:
    """Whoever extends it finds them."""
    async with Served() as api:
        assert api.app[keys.WORKER].running == 0
