"""``saga demo`` as a user runs it: what it says, and that nothing is left of it, however it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder in which temporary ones are made; the demo is run from another."""
    made = tmp_path / "temporary"
    made.mkdir()
    return made


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Return what starts a demo, told to ignore Ctrl-C; one that still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start_demo(*arguments: str, **env: str) -> subprocess.Popen[str]:
        # As a shell script does with what it starts behind "&".
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        process = subprocess.Popen(
            [sys.executable, "-m", "saga", "demo", *arguments],
            cwd=tmp_path,
            env=os.environ | {"TMPDIR": str(folder)} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        signal.signal(signal.SIGINT, before)
        running.append(process)
        return process

    yield start_demo
    for process in running:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return what a demo prints, up to the line with that text."""
    read = ""
    assert process.stdout is not None
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"it ended before it said {text!r}: {read}")


def addresses(said: str) -> list[str]:
    """Return where the coordinator and the participants listen."""
    return re.findall(r"^  \w+ +(http://127\.0\.0\.1:\d+)$", said, re.MULTILINE)


def is_there(address: str) -> bool:
    """Say whether somebody listens at an address."""
    try:
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=5):
            return True
    except ConnectionError:
        return False


def wait_until_gone(found: list[str]) -> None:
    """Wait for processes nobody waits for."""
    until = time.monotonic() + 10
    while any(map(is_there, found)):
        assert time.monotonic() < until, "somebody is still there"
        time.sleep(0.05)


def assert_clean(said: str, folder: Path) -> None:
    """Nobody listens any more, and nothing lies in the temporary folder."""
    found = addresses(said)
    assert len(found) == 6
    assert not any(map(is_there, found))
    assert list(folder.iterdir()) == []


def test_both_bookings_are_told_step_by_step(start: Start, folder: Path) -> None:
    """One completes, one is undone; each step beside what it changed at its participant."""
    # Settings for another coordinator must not reach the demo's own.
    process = start("--once", SAGA_STORE="nonsense://", SAGA_URL="http://127.0.0.1:9", SAGA_PORT="1")

    said, complaints = process.communicate(timeout=60)

    assert (process.returncode, complaints) == (0, "")
    first, second = said.split("2. A booking")
    assert re.search(r"✓ charge_card +succeeded +payments: payment charged", first)
    assert re.search(r"✓ issue_ticket +succeeded +flights: ticket issued", first)
    assert "ledger of flights:  1 reservation held, 1 ticket issued" in first
    assert re.search(r"ended as it should: completed, ticket \d+-\d+", first)
    order = [second.index(text) for text in ("✗ charge_card", "goes backward", "↩ reserve", "● compensated")]
    assert order == sorted(order)
    assert re.search(r"↩ reserve_hotel +undone +hotels: reservation released", second)
    assert "ledger of payments: nothing" in second
    assert "ended as it should: compensated" in second
    assert "\x1b" not in said
    assert_clean(said, folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_it_stays_up_until_it_is_stopped(
    start: Start, folder: Path, number: signal.Signals, code: int
) -> None:
    """The way to stop it is a yes; a signal that ends it has the exit code of that signal."""
    process = start()
    said = read_until(process, "Ctrl-C stops everything")
    coordinator = addresses(said)[0]
    assert f"HTTP API: {coordinator}/v1/sagas" in said
    assert "page" not in said.lower()  # there is none yet
    assert is_there(coordinator)

    process.send_signal(number)
    _, complaints = process.communicate(timeout=20)

    assert (process.returncode, complaints) == (code, "")
    assert_clean(said, folder)


def test_it_can_be_stopped_while_it_starts(start: Start, folder: Path) -> None:
    """Nothing is left, and nothing is complained about."""
    process = start()
    read_until(process, "Starting")

    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=20)

    assert (process.returncode, complaints.strip()) == (130, "")
    assert list(folder.iterdir()) == []


def test_when_it_is_killed_the_others_go_as_well(start: Start) -> None:
    """They see the end of their standard input."""
    process = start()
    found = addresses(read_until(process, "Ctrl-C stops everything"))

    process.kill()
    process.wait()

    wait_until_gone(found)


def test_a_participant_that_does_not_start_is_told(start: Start, folder: Path, tmp_path: Path) -> None:
    """With its last words, exit code 3, and nothing left."""
    (tmp_path / "aiohttp").mkdir()
    (tmp_path / "aiohttp" / "__init__.py").write_text("raise ImportError('not today')")

    process = start("--once", PYTHONPATH=str(tmp_path))
    said, complaints = process.communicate(timeout=30)

    assert process.returncode == 3
    assert "saga: the participants did not start" in complaints
    assert "not today" in complaints
    assert said.splitlines() == ["Starting five participants and a coordinator …"]
    assert list(folder.iterdir()) == []
