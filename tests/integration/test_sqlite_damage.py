"""A store's files that were cut or changed while nobody looked: whatever it was, no wrong answer is given in silence.

Either everything that was acknowledged is there, or the file is refused with a word on what to do, or what is damaged
is told where it is read and everything else is there.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from saga.errors import StoreError, StoreUnusable
from saga.ports.stored import DAMAGED, Message, Query
from saga.stores import sqlite_mark
from saga.stores.sqlite import SqliteStore
from tests.contract.values import KNOWN, NODE, message, new_saga, summary
from tests.doubles import settle_down
from tests.doubles_sqlite import opened
from tests.served import Served, booking

SAGAS = [f"s{n:02}" for n in range(24)]
PAGE = 4096
ADVICE = (
    "restore",
    "put the file back",
    "put it back",
    "name another file",
    "run the newer release",
    "see that",
)

Files: TypeAlias = dict[str, bytes]


# --------------------------------------------------------------------------- files to be damaged


async def _fill(store: SqliteStore, sagas: list[str], name: str) -> None:
    await store.join(NODE)
    for saga in sagas:
        shown = summary(labels={"city": f"Berlin {saga}"}, body=b'{"saga": "%s"}' % saga.encode())
        entries = [b'{"saga": "%s"}' % saga.encode() * 20, b"second" * 30, b"third"]
        await store.start(new_saga(saga, owner=NODE, entries=entries, of=shown, start_key=f"key {saga}"))
        await store.deliver(saga, message(f"m-{saga}", body=b'{"to": "%s"}' % saga.encode()))
    await store.put_definition(name, b'{"steps": [%s]}' % (b'"one", ' * 300), 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name a folder for the files as they were, and one for each try."""
    return tmp_path_factory.mktemp("damage")


@pytest.fixture
async def closed(folder: Path) -> Files:
    """Make a file that was closed in order."""
    path = folder / "closed" / "saga.db"
    if not path.parent.exists():
        path.parent.mkdir()
        async with opened(path) as store:
            await _fill(store, SAGAS[:12], "early")
        async with opened(path) as store:
            await _fill(store, SAGAS[12:], "late")
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


@pytest.fixture
async def killed(folder: Path) -> Files:
    """Make the files that a killed process leaves: half of what was written is in the log alone."""
    kept = folder / "killed"
    if not kept.exists():
        path = folder / "running" / "saga.db"
        path.parent.mkdir()
        async with opened(path) as store:
            await _fill(store, SAGAS[:12], "early")
        async with opened(path) as store:
            await _fill(store, SAGAS[12:], "late")
            kept.mkdir()
            for suffix in ("", "-wal", ".lock"):
                shutil.copy(f"{path}{suffix}", kept)
    return {file.name: file.read_bytes() for file in kept.iterdir()}


# --------------------------------------------------------------------------- what is read of them


async def _read(files: Files, folder: Path) -> Any:
    """Return what a coordinator would read of these files."""
    where = folder / "try"
    where.mkdir()
    try:
        _put(files, where)
        async with opened(where / "saga.db") as store:
            return await _all(store)
    finally:
        shutil.rmtree(where)


def _put(files: Files, folder: Path) -> None:
    """Write the files; the store's has the time it had, which tells whether a log was copied into it."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    noted = files.get("saga.db.lock", b"").decode().split()
    if len(noted) > 1 and "saga.db" in files:
        at = int(noted[-1].partition(".")[0])
        os.utime(folder / "saga.db", ns=(at, at))


async def _all(store: SqliteStore) -> dict[str, Any]:
    records = {saga: await store.load(saga) for saga in SAGAS}
    return {
        **{f"entries of {saga}": record and record.entries for saga, record in records.items()},
        **{f"messages of {saga}": record and record.messages for saga, record in records.items()},
        **{f"list of {each.id}": _shown(each.summary) for each in await store.list(Query(limit=100))},
        **{f"definition {name}": await store.versions(name) for name in ("early", "late")},
        "running": [each.id for each in await store.list(Query(limit=99, statuses=frozenset({"running"})))],
        "claimed": sorted(each.lease.saga_id for each in await store.claim("next", 100, 1e9, KNOWN)),
    }


def _shown(shown: Any) -> Any:
    return shown.labels, shown.body, shown.status


def _told(found: Any, whole: Any) -> bool:
    """Return whether what differs says of itself that it is damaged, and nothing else differs."""
    if found == whole:
        return True
    if isinstance(found, tuple) and DAMAGED in found:
        # Of a journal, what stands before the damage; of what lists show, nothing.
        before = found[: found.index(DAMAGED)]
        return before in (whole[: len(before)], ({},))
    if isinstance(found, tuple | list) and len(found) == len(whole):
        return all(map(_is_told, found, whole))
    return False


def _is_told(found: Any, whole: Any) -> bool:
    if isinstance(found, Message):
        return found == whole or found.body == DAMAGED
    return bool(found == whole or getattr(found, "document", None) == DAMAGED)


async def _judge(files: Files, whole: Any, folder: Path) -> str:
    """Return what came of damaged files; a wrong answer that says nothing of itself is a failure."""
    try:
        found = await _read(files, folder)
    except StoreUnusable as refusal:
        return "refused" if any(advice in str(refusal) for advice in ADVICE) else f"no advice: {refusal}"
    except StoreError:
        return "told"  # a read that fails says so
    if found == whole:
        return "whole"
    wrong = [name for name in whole if not _told(found.get(name), whole[name])]
    assert not wrong, f"{wrong}: {found.get(wrong[0])}"
    return "told"


def _flipped(content: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1 << bit
    return bytes(changed)


# --------------------------------------------------------------------------- bits


@pytest.mark.slow
async def test_no_flipped_bit_makes_a_wrong_answer(
    closed: Files, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A seeded sample over the whole file, and as many over its header as it has bytes."""
    caplog.set_level(logging.CRITICAL)
    whole, content, dice = await _read(closed, folder), closed["saga.db"], random.Random(5)
    places = [*range(100), *(dice.randrange(len(content)) for _ in range(300))]
    came = Counter(
        [
            await _judge(closed | {"saga.db": _flipped(content, at, dice.randrange(8))}, whole, folder)
            for at in places
        ]
    )
    assert sum(came.values()) == came["whole"] + came["refused"] + came["told"]
    assert min(came["whole"], came["refused"], came["told"]) > 10, came


@pytest.mark.slow
async def test_no_flipped_bit_in_the_log_loses_what_was_acknowledged(
    killed: Files, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite takes a log to end where a frame is not whole; within one boot that is damage."""
    caplog.set_level(logging.CRITICAL)
    whole, content, dice = await _read(killed, folder), killed["saga.db-wal"], random.Random(6)
    places = [*range(32), *(dice.randrange(len(content)) for _ in range(60))]
    for at in places:
        files = killed | {"saga.db-wal": _flipped(content, at, dice.randrange(8))}
        assert await _judge(files, whole, folder) in ("refused", "whole")


@pytest.mark.slow
async def test_no_flipped_bit_under_a_log_makes_a_wrong_answer(
    killed: Files, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Pages of the file that the log does not replace."""
    caplog.set_level(logging.CRITICAL)
    whole, content, dice = await _read(killed, folder), killed["saga.db"], random.Random(7)
    for at in [*range(0, 100, 3), *(dice.randrange(len(content)) for _ in range(60))]:
        came = await _judge(killed | {"saga.db": _flipped(content, at, dice.randrange(8))}, whole, folder)
        assert came in ("whole", "refused", "told")


# --------------------------------------------------------------------------- cuts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["saga.db", "saga.db-wal"])
async def test_no_cut_loses_what_was_acknowledged(
    killed: Files, folder: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Of either file, at every page and frame and between them; also when nothing is left of it."""
    caplog.set_level(logging.CRITICAL)
    whole, size, dice = await _read(killed, folder), len(killed[name]), random.Random(8)
    frame = PAGE + 24
    pages = range(0, size, PAGE) if name == "saga.db" else range(32, size, frame * 4)
    for at in [0, *pages, *(dice.randrange(size) for _ in range(30))]:
        came = await _judge(killed | {name: killed[name][:at]}, whole, folder)
        assert came in ("refused", "whole") or (came == "told" and name == "saga.db")
    without = {file: content for file, content in killed.items() if file != name}
    assert await _judge(without, whole, folder) == "refused"


@pytest.mark.slow
async def test_a_file_cut_at_any_page_is_refused(closed: Files, folder: Path) -> None:
    """Closed in order it has no log to fill the gap."""
    content = closed["saga.db"]
    for at in range(0, len(content), PAGE):
        assert await _judge(closed | {"saga.db": content[:at]}, None, folder) == "refused"


async def test_a_refusal_is_repeated_until_a_person_has_acted(killed: Files, tmp_path: Path) -> None:
    """The first refusal takes nothing with it, and the message's way out is one."""
    _put(killed, tmp_path)
    path, log = tmp_path / "saga.db", tmp_path / "saga.db-wal"
    log.write_bytes(killed["saga.db-wal"][:50_000])
    for _ in range(3):
        with pytest.raises(StoreUnusable, match=r"saga\.db-wal was cut, .* remove .*saga\.db\.lock"):
            await SqliteStore(path).open()
    assert (path.read_bytes(), log.stat().st_size) == (killed["saga.db"], 50_000)
    (tmp_path / "saga.db.lock").unlink()
    async with opened(path) as store:
        assert await store.load(SAGAS[0]) is not None


async def test_after_another_boot_a_shorter_log_is_what_a_loss_of_power_leaves(
    killed: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not synced may be gone then, and the coordinator has to start."""
    _put(killed, tmp_path)
    (tmp_path / "saga.db-wal").write_bytes(killed["saga.db-wal"][:-10])
    monkeypatch.setattr(sqlite_mark, "_boot", lambda: "another")
    async with opened(tmp_path / "saga.db") as store:
        assert await store.load(SAGAS[-1]) is not None


@pytest.mark.parametrize("how", ["closed", "restarted"])
async def test_a_log_that_another_program_has_copied_is_no_damage(
    killed: Files, tmp_path: Path, how: str
) -> None:
    """A shell that opens what a killed process has left copies the log as it leaves, and removes it."""
    _put(killed, tmp_path)
    shell = sqlite3.connect(tmp_path / "saga.db", isolation_level=None)
    assert shell.execute("SELECT count(*) FROM sagas").fetchone() == (len(SAGAS),)
    if how == "restarted":
        assert shell.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0
        shell.execute("UPDATE pulse SET pings = pings + 1")
    shell.close()
    async with opened(tmp_path / "saga.db") as store:
        assert await store.load(SAGAS[-1]) is not None


async def test_an_orderly_end_and_an_idle_store_leave_no_note(tmp_path: Path) -> None:
    """A backup of the file alone is then whole, and may be put in its place."""
    path, lock = tmp_path / "saga.db", tmp_path / "saga.db.lock"
    async with opened(path) as store:
        await store.start(new_saga("s1"))
        assert len(lock.read_text().splitlines()) == 2
    assert lock.read_text() == f"{os.getpid()}\n"


# --------------------------------------------------------------------------- what is told


async def test_a_journal_with_a_gap_ends_there(closed: Files, tmp_path: Path) -> None:
    """Whether an entry is missing, out of place, or of another type."""
    path = tmp_path / "saga.db"
    first = b'{"saga": "s00"}' * 20
    for statement, left in (
        ("DELETE FROM entries WHERE saga_id = 's00' AND seq = 2", (first, DAMAGED)),
        ("DELETE FROM entries WHERE saga_id = 's00' AND seq = 3", (first, b"second" * 30, DAMAGED)),
        ("DELETE FROM entries WHERE saga_id = 's00'", (DAMAGED,)),
        ("UPDATE entries SET seq = 9 WHERE saga_id = 's00' AND seq = 2", (first, DAMAGED)),
        ("UPDATE entries SET entry = 'text' WHERE saga_id = 's00' AND seq = 2", (first, DAMAGED, b"third")),
        ("UPDATE sagas SET seq = 1000000000000 WHERE id = 's00'", (first, b"second" * 30, b"third", DAMAGED)),
        ("UPDATE sagas SET seq = 2 WHERE id = 's00'", (first, b"second" * 30, DAMAGED)),
    ):
        path.write_bytes(closed["saga.db"])
        db = sqlite3.connect(path)
        db.execute(statement)
        db.commit()
        db.close()
        async with opened(path) as store:
            record = await store.load("s00")
            assert record is not None
            assert record.entries == left, statement


async def test_texts_that_are_none_stand_in_nobody_s_way(closed: Files, tmp_path: Path) -> None:
    """Of bytes that are no UTF-8 as much is read as there is, so that other sagas are listed and claimed."""
    path = tmp_path / "saga.db"
    path.write_bytes(closed["saga.db"])
    db = sqlite3.connect(path)
    db.execute(
        "UPDATE sagas SET labels = CAST(x'ff' AS TEXT), held_by = CAST(x'fe' AS TEXT) WHERE id = 's00'"
    )
    db.commit()
    db.close()
    async with opened(path) as store:
        listed = {each.id: each.summary for each in await store.list(Query(limit=100))}
        assert (listed["s00"].labels, listed["s00"].body) == ({}, DAMAGED)
        assert len(await store.claim("next", 100, 1e9, KNOWN)) == len(SAGAS)


async def test_a_file_of_an_earlier_release_has_no_checksums_and_is_read_all_the_same(
    closed: Files, tmp_path: Path
) -> None:
    """They come with the next write of each payload."""
    path = tmp_path / "saga.db"
    path.write_bytes(closed["saga.db"])
    db = sqlite3.connect(path)
    for table in ("sagas", "entries", "inbox", "definitions"):
        db.execute(f"UPDATE {table} SET sum = NULL")
    db.commit()
    db.close()
    async with opened(path) as store:
        assert await _all(store) == await _read(closed, tmp_path)


async def test_a_saga_with_a_damaged_entry_is_left_and_shown_and_the_others_go_on(tmp_path: Path) -> None:
    """Nobody runs it on a guess: it is shown as far as it can be read, with the reason."""
    path = tmp_path / "saga.db"
    start = {"definition": "booking", "input": {"n": 1}}
    async with Served(store=SqliteStore(path)) as served:
        await served.put(booking())
        served.invoker.script = lambda _: None
        ids = [(await served.post("/v1/sagas", start)).json["id"] for _ in range(3)]
        for saga in ids:
            await served.on_wire(saga, "seat")
    _change(path, "entries", "entry", f"saga_id = '{ids[0]}' AND seq = 2")
    _change(path, "sagas", "body", f"id = '{ids[1]}'")
    async with Served(store=SqliteStore(path)) as served:
        for saga in ids[1:]:
            assert (await served.ended(saga))["status"] == "completed"
        shown = await _parked(served, ids[0])
        assert "entry 2: it is not what was written" in shown["problem"]["detail"]
        assert shown["problem"]["detail"].endswith("; 1 of its 2 entries can be read")
        listed = {each["id"]: each for each in (await served.get("/v1/sagas")).json["items"]}
        assert "entry 2" in listed[ids[0]]["error"]["detail"]


async def test_what_lists_show_may_be_damaged_and_is_said_to_be(tmp_path: Path) -> None:
    """Every other saga is listed; the journal of this one is whole."""
    path = tmp_path / "saga.db"
    async with Served(store=SqliteStore(path)) as served:
        await served.put(booking())
        start = {"definition": "booking", "input": {"n": 1}}
        ids = [(await served.post("/v1/sagas?wait=5s", start)).json["id"] for _ in range(2)]
    _change(path, "sagas", "body", f"id = '{ids[0]}'")
    async with Served(store=SqliteStore(path)) as served:
        listed = {each["id"]: each for each in (await served.get("/v1/sagas")).json["items"]}
        assert "what lists show of it is damaged" in listed[ids[0]]["error"]["detail"]
        assert listed[ids[1]]["error"] is None
        assert (await served.get(f"/v1/sagas/{ids[0]}")).json["progress"] == {"done": 3, "total": 3}


async def test_a_definition_that_is_damaged_starts_nothing_and_can_be_stored_again(tmp_path: Path) -> None:
    """Its sagas are left as they are, for the version they run by is fixed."""
    path = tmp_path / "saga.db"
    start = {"definition": "booking", "input": {"n": 1}}
    async with Served(store=SqliteStore(path)) as served:
        await served.put(booking())
        served.invoker.script = lambda _: None
        saga = (await served.post("/v1/sagas", start)).json["id"]
        await served.on_wire(saga, "seat")
    _change(path, "definitions", "document", "name = 'booking'")
    async with Served(store=SqliteStore(path)) as served:
        assert (await served.post("/v1/sagas", start)).type == "journal-unreadable"
        shown = await _parked(served, saga)
        assert "cannot read the definition booking 1" in shown["problem"]["detail"]
        assert (await served.put(booking())).json["version"] == 2
        assert (await served.post("/v1/sagas?wait=5s", start)).json["status"] == "completed"


async def _parked(served: Served, saga: str) -> Any:
    """Return the saga once it was put down as one that cannot be run."""
    while (shown := (await served.get(f"/v1/sagas/{saga}")).json)["status"] != "parked":
        await settle_down()
    return shown


def _change(path: Path, table: str, column: str, where: str) -> None:
    """Change one bit of a payload as a disk would: whoever wrote it knows nothing of it."""
    db = sqlite3.connect(path)
    ((content,),) = db.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchall()
    db.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (_flipped(content, len(content) // 2, 0),))
    db.commit()
    db.close()
