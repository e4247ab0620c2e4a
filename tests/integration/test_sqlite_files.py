"""An SQLite store and what can happen to its file, its disk and its process.

A file is either opened with all that was acknowledged, or refused with a word on what to do; it is never
replaced.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from saga.errors import LeaseLost, StoreError, StoreUnavailable, StoreUnknown, StoreUnusable
from saga.ports.stored import ORPHANED, SUSPECT, Query
from saga.stores.sqlite import SqliteStore
from saga.stores.sqlite_lock import FileLock
from saga.stores.sqlite_schema import APPLICATION_ID, FORMAT, MIGRATIONS
from tests.contract.values import KNOWN, NODE, OTHER, batch, new_saga, owned_saga
from tests.doubles_sqlite import ask, opened

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "saga.db"


@pytest.fixture
async def filled(path: Path) -> Path:
    """Make a file with sagas in it that was closed in order."""
    async with opened(path) as store:
        for n in range(40):
            await store.start(new_saga(f"s{n:02}", entries=[b"x" * 2000]))
    return path


# --------------------------------------------------------------------------- making and refusing


async def test_a_file_that_is_not_there_is_made(path: Path) -> None:
    """It says whose it is and which format it has, and only the lock lies beside it after closing."""
    async with opened(path) as store:
        await store.start(new_saga())
    header = path.read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert int.from_bytes(header[60:64], "big") == FORMAT
    assert sorted(file.name for file in path.parent.iterdir()) == ["saga.db", "saga.db.lock"]
    async with opened(path) as store:
        assert await store.load("s1") is not None


async def test_a_file_of_the_first_format_is_brought_up_to_date(path: Path) -> None:
    """What stands in it stays."""
    db = sqlite3.connect(path, isolation_level=None)
    for statement in MIGRATIONS[0]:
        db.execute(statement)
    db.execute("INSERT INTO nodes VALUES ('old', 7, 0)")
    db.execute("INSERT INTO secrets VALUES ('callbacks', x'00')")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA user_version = 1")
    db.close()
    async with opened(path) as store:
        assert await store.secret("callbacks", b"new") == b"\x00"
        await store.start(new_saga())
        assert [each.risk for each in await store.claim("new", 1, 1e9, KNOWN)] == [0]
    assert int.from_bytes(path.read_bytes()[60:64], "big") == FORMAT


async def test_what_a_killed_process_was_evaluating_is_suspect(path: Path) -> None:
    """Whoever holds the lock knows that no other node lives, and reads what was noted last."""
    async with opened(path) as store:
        await store.join("killed")
        await owned_saga(store, "s1", "killed")
        await owned_saga(store, "s2", "killed")
        await store.evaluate("killed", ["s1"])
    async with opened(path) as store:
        claimed = await store.claim("next", 9, 1e9, KNOWN)
        assert {each.lease.saga_id: each.risk for each in claimed} == {"s1": SUSPECT + 1, "s2": ORPHANED}
        assert await store.nodes() == []


async def test_a_refused_start_leaves_no_lock(path: Path) -> None:
    """Nor anything else that was not there; and the lock of who has the file stays."""
    path.touch()
    with pytest.raises(StoreUnusable, match="empty"):
        await SqliteStore(path).open()
    assert [file.name for file in path.parent.iterdir()] == ["saga.db"]
    path.unlink()
    async with opened(path) as store:
        with pytest.raises(StoreUnusable, match="in use"):
            await SqliteStore(path).open()
        assert path.with_name("saga.db.lock").exists()
        await store.start(new_saga())


def test_a_lock_whose_file_was_removed_meanwhile_is_not_taken_for_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has opened it before its holder removed it would otherwise lock a file that nobody else finds."""
    holder, second, third = FileLock(path), FileLock(path), FileLock(path)
    holder.acquire()
    flock = fcntl.flock

    def late(fd: int, how: int) -> None:
        # Just between the second's opening and locking the first gives up.
        monkeypatch.setattr(fcntl, "flock", flock)
        holder.withdraw()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    second.acquire()
    assert path.with_name("saga.db.lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(StoreUnusable, match="in use"):
        third.acquire()
    second.release()
    third.acquire()
    second.withdraw()
    assert path.with_name("saga.db.lock").exists()
    third.release()


async def test_half_a_new_file_is_swept_away(path: Path) -> None:
    """A kill while the file was made leaves a draft, which the next start does not trust."""
    (path.parent / "saga.db.new").write_bytes(b"half")
    (path.parent / "saga.db.new-journal").write_bytes(b"half")
    async with opened(path) as store:
        await store.ping()
    assert not list(path.parent.glob("saga.db.new*"))


def _other_application(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()


def _newer_format(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()


def _cut(path: Path, keep: float = 0.6) -> None:
    os.truncate(path, int(path.stat().st_size * keep))


def _overwrite(path: Path, pages: slice) -> None:
    content = bytearray(path.read_bytes())
    content[pages] = random.Random(1).randbytes(len(content[pages]))
    path.write_bytes(content)


def _only_the_log(path: Path) -> None:
    path.with_name("saga.db-wal").write_bytes(b"w" * 4096)
    path.unlink()


BAD_FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty: restore it from a backup"),
    "cut": (_cut, "was cut: .* restore it from a backup"),
    "cut in the header": (partial(_cut, keep=0.0003), "is not an SQLite database"),
    "text": (lambda path: path.write_text("hello" * 100), "is not an SQLite database"),
    "damaged pages": (
        partial(_overwrite, pages=slice(4096, 40_960)),
        "is damaged .* restore it from a backup",
    ),
    "other": (_other_application, "belongs to another application: name another file"),
    "newer": (
        _newer_format,
        f"has format {FORMAT + 1}, this release knows up to {FORMAT}: run the newer release",
    ),
    "only the log": (_only_the_log, "saga.db-wal is there and holds part of it: put the file back"),
    "folder": (lambda path: path.mkdir(), "is not a file"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
async def test_a_bad_file_is_refused_and_left_alone(path: Path, kind: str) -> None:
    """Nothing is guessed, nothing is written over, and the message says what to do."""
    spoil, expected = BAD_FILES[kind]
    if kind not in ("other", "folder"):
        async with opened(path) as store:
            for n in range(40):
                await store.start(new_saga(f"s{n:02}", entries=[b"x" * 2000]))
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    for _ in range(2):
        with pytest.raises(StoreUnusable, match=expected):
            await SqliteStore(path).open()
    assert (path.read_bytes() if path.is_file() else None) == before


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A wrong path does not start an empty store somewhere."""
    with pytest.raises(StoreUnusable, match=r"the folder .*/nowhere does not exist: make it"):
        await SqliteStore(tmp_path / "nowhere" / "saga.db").open()
    assert not (tmp_path / "nowhere").exists()


async def test_a_refused_store_can_be_closed_and_opened_later(path: Path) -> None:
    """After a person has acted, the same process may go on; until then every call says why not."""
    path.write_bytes(b"")
    store = SqliteStore(path)
    with pytest.raises(StoreUnusable):
        await store.open()
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.start(new_saga())
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.load("s1")
    path.unlink()
    await store.open()
    await store.start(new_saga())
    await store.close()


async def test_every_cut_is_noticed(filled: Path) -> None:
    """A file cut anywhere is refused, never read as if it ended there."""
    whole = filled.read_bytes()
    dice = random.Random(2)
    for _ in range(25):
        filled.write_bytes(whole[: dice.randrange(len(whole))])
        with pytest.raises(StoreUnusable):
            await SqliteStore(filled).open()
    filled.write_bytes(whole)
    async with opened(filled) as store:
        assert len(await store.list(Query(limit=100))) == 40


async def test_flipped_bytes_end_in_errors_of_this_package(filled: Path) -> None:
    """Damage is refused at the start or reported when it is read; nothing else is raised and nothing hangs."""
    whole = filled.read_bytes()
    dice = random.Random(3)
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(8):
            damaged[dice.randrange(100, len(whole))] ^= 1 << dice.randrange(8)
        filled.write_bytes(damaged)
        filled.with_name("saga.db-wal").unlink(missing_ok=True)
        with suppress(StoreError):
            async with opened(filled) as store:
                for n in range(40):
                    await store.load(f"s{n:02}")
                await store.claim(NODE, 40, 1000.0, KNOWN)


@pytest.mark.parametrize("suffix", ["", "-wal", ".lock"])
@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
async def test_nothing_is_acknowledged_that_is_not_under_its_name(path: Path, suffix: str, how: str) -> None:
    """A file removed under a running store takes with it what is written: the store stops at once and says so."""
    name = path.with_name(path.name + suffix)
    async with opened(path) as store:
        await store.start(new_saga("kept"))
        if how == "removed":
            name.unlink()
        else:
            name.rename(path.with_name("elsewhere"))
        if how == "replaced":
            name.write_bytes(path.with_name("elsewhere").read_bytes())
        with pytest.raises(StoreUnknown):
            await store.start(new_saga("lost"))
        with pytest.raises(StoreUnavailable):
            await store.load("lost")
        assert name.name in await store.failed()
        with pytest.raises(StoreUnavailable):
            await store.ping()


async def test_a_file_with_a_second_name_is_refused(filled: Path) -> None:
    """Its lock lies beside one name only."""
    filled.with_name("other.db").hardlink_to(filled)
    with pytest.raises(StoreUnusable, match="second name"):
        await SqliteStore(filled.with_name("other.db")).open()


async def test_the_version_of_sqlite_is_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In one line, which warns of nothing a person would have to do, and names the bug only where it is."""
    caplog.set_level(logging.INFO, "saga.stores.sqlite")
    async with opened(path):
        pass
    logged = [record for record in caplog.records if record.name == "saga.stores.sqlite"]
    assert {record.levelname for record in logged} == {"INFO"}
    (line,) = [record.getMessage() for record in logged if "SQLite" in record.getMessage()]
    assert line.startswith(f"SQLite {sqlite3.sqlite_version}")
    affected = (3, 7, 0) <= sqlite3.sqlite_version_info <= (3, 51, 2)
    assert ("WAL-reset bug" in line) == affected


async def test_an_sqlite_that_is_too_old_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 32, 3))
    with pytest.raises(StoreUnusable, match=r"needs 3\.33\.0 or newer"):
        await SqliteStore(path).open()
    assert not path.exists()


@pytest.mark.parametrize(("durability", "expected"), [("full", 2), ("fast", 1)])
async def test_durability_is_what_was_asked_for(path: Path, durability: Any, expected: int) -> None:
    """FULL syncs every commit, NORMAL every checkpoint; the log is ours to check-point."""
    async with opened(path, durability=durability) as store:
        assert await ask(store, "PRAGMA synchronous") == expected
        assert await ask(store, "PRAGMA wal_autocheckpoint") == 0
        assert await ask(store, "PRAGMA journal_mode") == "wal"


# --------------------------------------------------------------------------- one process


async def test_a_second_store_is_kept_out(path: Path) -> None:
    """Also under another name of the same file; the message names the process that has it."""
    async with opened(path):
        alias = path.with_name("alias.db")
        alias.symlink_to(path)
        for name in (path, alias):
            with pytest.raises(
                StoreUnusable, match=rf"in use by another coordinator \(process {os.getpid()}\)"
            ):
                await SqliteStore(name).open()
    async with opened(path):
        pass


CHILD = """
import asyncio, sys
from saga.ports.stored import Append
from saga.stores.sqlite import SqliteStore
from saga.stores.sqlite_lock import FileLock
from tests.doubles_sqlite import opened, ask
from tests.contract.values import KNOWN, NODE, batch, message, new_saga, owned_saga

async def one(store, name):
    lease = await owned_saga(store, name, wake_at=None)
    for n in range(1000):
        await store.deliver(name, message(f"m{n}"))
        lease = await store.append(lease, batch(b"%d" % n, folded=[f"m{n}"], wake_at=None))
        print(name, lease.seq, flush=True)

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    await store.join(NODE)
    print("open", 0, flush=True)
    await asyncio.gather(*(one(store, f"{sys.argv[2]}-{n}") for n in range(8)))

asyncio.run(main())
"""


def start_child(path: Path, name: str) -> subprocess.Popen[str]:
    """Start a process that writes to the store until it is killed, and prints what was acknowledged."""
    command = [sys.executable, "-c", CHILD, str(path), name]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def told(line: str) -> dict[str, int]:
    """Return the saga a line names with its last entry; nothing for a line that was cut off."""
    name, seq = line.split() if line.endswith("\n") else ("open", "0")
    return {} if name == "open" else {name: int(seq)}


@pytest.mark.slow
async def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    """Whatever the instant: every acknowledged entry is there, in order, and the next process may go on."""
    dice = random.Random(4)
    acknowledged: dict[str, int] = {}
    for round_ in range(8):
        child = start_child(path, str(round_))
        assert child.stdout is not None
        for _ in range(dice.randrange(1, 300)):
            acknowledged |= told(child.stdout.readline())
        with pytest.raises(StoreUnusable, match=rf"process {child.pid}\)"):
            await SqliteStore(path).open()
        child.send_signal(signal.SIGKILL)
        for line in child.stdout.read().splitlines(keepends=True):
            acknowledged |= told(line)
        child.wait()
        child.stdout.close()
        async with opened(path) as store:
            for name, seq in acknowledged.items():
                record = await store.load(name)
                assert record is not None
                assert record.owner is None
                assert len(record.entries) >= seq
                assert record.entries == (b"first", *(b"%d" % n for n in range(len(record.entries) - 1)))
                assert len(record.messages) <= 1


async def test_what_an_earlier_process_owned_is_free_at_once(path: Path) -> None:
    """The lock proves that nobody else lives: no waiting, a higher fence, the nodes forgotten."""
    async with opened(path) as store:
        await store.join(NODE)
        lease = await owned_saga(store, wake_at=None)
        await owned_saga(store, "kept", "export:1")
    async with opened(path) as store:
        assert await store.nodes() == []
        (claimed,) = await store.claim(NODE, 10, 100.0, KNOWN)
        assert claimed.lease.fence > lease.fence
        with pytest.raises(LeaseLost):
            await store.append(lease, batch(b"x"))
        assert await store.owned("export:1") == ["kept"]


@pytest.mark.slow
async def test_five_thousand_unfinished_sagas_start_at_once(path: Path) -> None:
    """Opening and claiming them takes well under a second; of CPU time, for others may have the processor too."""
    async with opened(path) as store:
        sagas = [new_saga(f"s{n:05}", owner=NODE, entries=[b"x" * 400] * 6) for n in range(5000)]
        await asyncio.gather(*map(store.start, sagas))
    begun = time.process_time()
    async with opened(path) as store:
        claimed = 0
        while some := await store.claim(OTHER, 500, 1000.0, KNOWN):
            claimed += len(some)
        took = time.process_time() - begun
    assert claimed == 5000
    assert took < 1.0
