"""A coordinator beside one of a later release, or on what that has left: it leaves alone what it does not know."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from saga.core.entries import FORMAT
from saga.ports.stored import Record
from saga.stores.memory import MemoryStore
from saga.stores.sqlite import SqliteStore
from tests.contract.values import new_saga
from tests.doubles import Coordinator, ScriptedInvoker
from tests.served import Served, booking

START = {"definition": "booking", "input": {"n": 1}}


async def written_by_a_later_release(store: MemoryStore, served: Served) -> Record:
    """Start a saga that stays on the wire, as a later release would have; return it as stored."""
    await served.put(booking())
    served.invoker.script = lambda _: None
    saga_id = (await served.post("/v1/sagas", START)).json["id"]
    await served.on_wire(saga_id, "seat")
    kept = store._sagas[saga_id]
    kept.format = FORMAT + 1
    return kept.record()


async def test_a_saga_of_a_newer_format_is_neither_claimed_nor_rewritten_and_is_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not even its summary; who asks for it is told, and its number is logged once at the start."""
    store = MemoryStore()
    async with Served(store=store) as later:
        saga_id = (await written_by_a_later_release(store, later)).id
    before = await store.load(saga_id)
    caplog.set_level(logging.WARNING, "saga.app")
    async with Served(store=store) as served:
        other = (await served.post("/v1/sagas?wait=5s", START)).json
        assert other["status"] == "completed"
        shown = (await served.get(f"/v1/sagas/{saga_id}")).json
        assert (shown["status"], shown["problem"]["type"]) == ("running", "journal-unreadable")
        assert f"has format {FORMAT + 1} and this release knows up to {FORMAT}" in shown["problem"]["detail"]
        journal = (await served.get(f"/v1/sagas/{saga_id}/journal")).json
        assert [each["kind"] for each in journal["items"]][:2] == ["saga_started", "invoked"]
        assert {each["raw"] for each in journal["items"]} == {None}
        assert (await served.get(f"/v1/sagas/{saga_id}/plan")).type == "journal-unreadable"
        listed = {each["id"]: each["status"] for each in (await served.get("/v1/sagas")).json["items"]}
        assert listed == {saga_id: "running", other["id"]: "completed"}
    assert await store.load(saga_id) == before
    logged = [record.getMessage() for record in caplog.records if record.name == "saga.app"]
    assert [line for line in logged if line.startswith("1 sagas are left alone")]


async def test_a_command_for_it_is_recorded_for_a_node_that_knows_it() -> None:
    """It is durable, and what became of it cannot be told here."""
    store = MemoryStore()
    async with Served(store=store) as later:
        saga_id = (await written_by_a_later_release(store, later)).id
    async with Served(store=store) as served:
        answer = await served.post(f"/v1/sagas/{saga_id}/cancel")
        assert (answer.status, answer.json["recorded"]) == (202, True)
    (message,) = await store.messages(saga_id)
    assert (message.kind, message.body) == ("command", b'{"command":"cancel"}')
    (claimed,) = await store.claim("later", 10, 1e12, FORMAT + 1)
    assert claimed.lease.saga_id == saga_id


async def test_in_a_rolling_upgrade_the_old_node_leaves_the_sagas_of_a_dead_new_one() -> None:
    """It releases them, so that a node that knows them finds them; it runs none."""
    store = MemoryStore(shared=True)
    await store.join("new")
    await store.start(new_saga("newer", owner="new", version=FORMAT + 1))
    await store.bury("new", 0)
    async with Coordinator(ScriptedInvoker(), store=store, node="old") as old:
        await old.clock.advance(30.0)
        await old.worker.poke("newer")
        record = await store.load("newer")
        assert record is not None
        assert (record.owner, record.fence, record.entries) == (None, 2, (b"first",))
        assert record.summary.status == "running"
    (claimed,) = await store.claim("new-2", 1, 1e12, FORMAT + 1)
    assert claimed.lease.saga_id == "newer"


async def test_what_a_file_holds_of_newer_formats_is_counted_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file itself has a format of its own, which this release may know."""
    path = tmp_path / "saga.db"
    store = SqliteStore(path)
    await store.open()
    await store.start(new_saga("newer", version=FORMAT + 1))
    await store.close()
    caplog.set_level(logging.WARNING, "saga.app")
    async with Served(store=SqliteStore(path)) as served:
        journal = (await served.get("/v1/sagas/newer/journal")).json
        assert (len(journal["items"]), journal["problem"]["type"]) == (1, "journal-unreadable")
        assert await served.store.claim("x", 9, 1e12, FORMAT) == []
    assert "1 sagas are left alone" in caplog.text
    db = sqlite3.connect(path)
    assert db.execute("SELECT format, owner, fence, seq FROM sagas").fetchall() == [(FORMAT + 1, None, 0, 1)]
    db.close()
