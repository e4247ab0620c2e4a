"""The log: what a line says, what it never says, and that it does not flood."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from saga import log_fields, log_quiet, logs
from saga.errors import StoreUnavailable
from saga.stores.memory import MemoryStore
from tests.doubles import Coordinator, ScriptedInvoker, VirtualClock, settle_down
from tests.doubles_store import Fault, FaultyStore

SECRET = "pl4nted-s3cret"
START = 1_700_000_000.0
log = logging.getLogger("saga.of_this_test")


class Stream(io.StringIO):
    """Where the log goes; a terminal if it is told so."""

    terminal = False

    def isatty(self) -> bool:
        """Return whether it is one."""
        return self.terminal

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return the lines, each of which is JSON."""
        return [json.loads(line) for line in self.getvalue().splitlines()]


Attach = Callable[..., Stream]


@pytest.fixture
def attach() -> Iterator[Attach]:
    """Return what writes the log of this test to a stream, dated by a clock."""
    root, made = logging.getLogger(), []
    level, factory = root.level, logging.getLogRecordFactory()

    def attach(now: Callable[[], float] = lambda: START, *, terminal: bool = False) -> Stream:
        def dated(*args: Any, **named: Any) -> logging.LogRecord:
            record = factory(*args, **named)
            record.created = now()
            return record

        stream = Stream()
        stream.terminal = terminal
        made.append(logs.handler(stream))
        logging.setLogRecordFactory(dated)
        root.addHandler(made[-1])
        root.setLevel(logging.DEBUG)
        logging.getLogger("asyncio").setLevel(logging.WARNING)
        return stream

    yield attach
    logging.setLogRecordFactory(factory)
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(logging.NOTSET)
    for handler in made:
        root.removeHandler(handler)


def test_a_line_is_json_anywhere_but_at_a_terminal(attach: Attach) -> None:
    """With when, how bad, where and what; one line, whatever is in it."""
    stream = attach()
    log.warning("it is %s", "so\nand \x1b[31m so")
    assert stream.lines == [
        {
            "time": "2023-11-14T22:13:20.000Z",
            "level": "warning",
            "logger": "saga.of_this_test",
            "message": "it is so\nand \x1b[31m so",
        }
    ]


def test_a_person_reads_text(attach: Attach) -> None:
    """What comes from outside can neither forge a line nor colour one."""
    stream = attach(terminal=True)
    log.warning("it is %s", "so\nERROR \x1b[31m forged")
    (line,) = stream.getvalue().splitlines()
    assert r"it is so\nERROR \x1b[31m forged" in line
    assert "warning" in line


def test_a_line_says_which_saga_it_is_about(attach: Attach) -> None:
    """The task's own, not that of whoever made the task."""
    stream = attach()

    async def of(saga_id: str) -> None:
        log_fields.about(saga_id=saga_id, trace_id=f"trace of {saga_id}")
        await settle_down()
        log.info("here")

    async def main() -> None:
        log_fields.about(request_id="r")
        await asyncio.gather(of("a"), of("b"))
        log.info("there")

    asyncio.run(main())
    about = [[line.get(name) for name in ("saga_id", "trace_id", "request_id")] for line in stream.lines]
    assert about == [["a", "trace of a", None], ["b", "trace of b", None], [None, None, "r"]]


def test_words_of_an_error_that_may_be_a_value_are_left_out(attach: Attach) -> None:
    """Of the way to it nothing is."""
    stream = attach()
    try:
        try:
            int(SECRET)
        except ValueError as error:
            raise StoreUnavailable("the disk is full") from error
    except StoreUnavailable:
        log.exception("a turn failed")
    said = stream.lines[0]["exception"]
    assert SECRET not in stream.getvalue()
    assert "ValueError\nwhich led to:" in said
    assert said.endswith("StoreUnavailable: the disk is full")
    assert "in test_words_of_an_error_that_may_be_a_value_are_left_out" in said


def test_what_is_long_is_cut(attach: Attach) -> None:
    """The begin of a message, the end of the way to an error."""
    stream = attach()
    log.error("y" * 100_000, exc_info=RuntimeError("x" * 100_000 + "the end"))
    (line,) = stream.lines
    assert len(line["message"]) == logs.MESSAGE
    assert len(line["exception"]) == logs.EXCEPTION
    assert line["exception"].endswith("the end")


# --------------------------------------------------------------------------- no flood


def test_lines_of_one_kind_become_fewer_while_they_go_on(attach: Attach) -> None:
    """Five at first; then one for each period, with how many there were, and periods grow to ten minutes."""
    clock = VirtualClock(START)
    stream = attach(clock.now)
    for _ in range(3600):
        clock._now += 1.0
        log.warning("it is away: %s", clock.now())
    since = [round(float(line["message"].rpartition(" ")[2]) - START) for line in stream.lines]
    assert since == [1, 2, 3, 4, 5, 31, 91, 211, 451, 931, 1531, 2131, 2731, 3331]
    assert [line.get("held_back") for line in stream.lines[4:7]] == [None, 25, 59]
    clock._now += 2 * log_quiet.LONGEST
    for _ in range(9):
        log.warning("it is away: %s", clock.now())
    assert [line.get("held_back") for line in stream.lines[14:]] == [269, None, None, None, None]


def test_lines_of_any_number_of_kinds_are_bounded(attach: Attach) -> None:
    """A library may make its texts up; the last words of a process are heard all the same."""
    clock = VirtualClock(START)
    stream = attach(clock.now)
    for number in range(10 * log_quiet.KINDS):
        log.warning(f"made up {number}")  # noqa: G004 - that is the point
    log.critical("the store has failed")
    assert len(stream.lines) == log_quiet.ALL + 1
    clock._now += log_quiet.PERIOD
    log.warning("made up again")
    assert len(stream.lines) == log_quiet.ALL + 2


def test_a_clock_that_is_set_back_silences_nothing(attach: Attach) -> None:
    """It begins a period anew."""
    clock = VirtualClock(START)
    stream = attach(clock.now)
    for _ in range(10):
        log.warning("so it is")
    clock._now -= 86_400.0
    log.warning("so it is")
    assert len(stream.lines) == log_quiet.BURST + 1


async def test_an_hour_of_a_store_that_is_down_leaves_little(attach: Attach) -> None:
    """Sagas in flight, heartbeats, looks for work and new starts all fail, each as often as it is tried."""
    clock = VirtualClock(START)
    store = FaultyStore(MemoryStore())
    store.shared = True  # others may use it, so that heartbeats fail with it
    stream = attach(clock.now)
    invoker = ScriptedInvoker(lambda _: None)
    one = {
        "name": "one",
        "services": {"any": {"url": "http://127.0.0.1:1"}},
        "steps": [{"name": "call", "action": {"service": "any", "path": "/"}, "compensation": "none"}],
    }
    async with Coordinator(invoker, store=store, clock=clock) as coordinator:
        for number in range(5):
            await coordinator.start(one, id=f"saga-{number}", input={"card": SECRET})
        store.plan = lambda _: Fault.BEFORE
        for held in tuple(invoker.held.values()):
            held.set_exception(RuntimeError("a call broke"))
        for _ in range(360):
            await clock.advance(10.0)
            with pytest.raises(StoreUnavailable):
                await coordinator.start(one, id="another")
        said = stream.getvalue()
        store.plan = lambda _: None
        await clock.advance(60.0)
    kinds = {(line["logger"], line["message"].partition(":")[0]) for line in stream.lines}
    assert ("saga.engine", "the store is not available") in kinds
    assert ("saga.membership", "a heartbeat of node node-1 failed") in kinds
    assert {line.get("saga_id") for line in stream.lines} >= {f"saga-{number}" for number in range(5)}
    assert any(line.get("held_back", 0) > 100 for line in stream.lines)
    assert len(said) < 60_000
    assert SECRET not in said
