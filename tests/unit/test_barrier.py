"""The guard executes a delivery at most once, and never after its compensation."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from compensations.barrier import BUSY, LATE, NULL, REUSED, STALE, Guard, Turn, Verdict, is_final, judge
from compensations.barriers.sqlite import SqliteLedger
from compensations.delivery import Answer, BadDelivery, Delivery, digest, receive
from compensations.ledger import LedgerBusy, Remembered, Stored, TransactionBroken

HEADERS = {"Saga-Id": "s1", "Saga-Step": "reserve", "Saga-Attempt": "1"}
CREATED = Answer.json(201, {"seat": "12A"}, {"location": "/seats/12A"})
FREED = Answer(200)


def action(body: bytes = b"{}", fence: int | None = None) -> Delivery:
    headers = HEADERS | {"Idempotency-Key": "s1:reserve:action", "Saga-Phase": "action"}
    return receive("action", "POST", "/seats", headers | _fenced(fence), body)


def compensation(target: str = "/seats/s1", fence: int | None = None) -> Delivery:
    keys = {"Idempotency-Key": "s1:reserve:compensation", "Saga-Action-Key": "s1:reserve:action"}
    return receive("compensation", "DELETE", target, HEADERS | keys | _fenced(fence), b"")


def _fenced(fence: int | None) -> dict[str, str]:
    return {} if fence is None else {"Saga-Fence": str(fence)}


class Service:
    """Seats in a database, taken and freed under the guard; every effect is a row, so that none hides another."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        connection.execute("CREATE TABLE IF NOT EXISTS effect (what TEXT)")
        self.ledger = SqliteLedger(connection, patience=0.01)
        self.guard = Guard(self.ledger)
        self.seen: list[Turn] = []

    def effects(self) -> list[str]:
        return [row[0] for row in self.connection.execute("SELECT what FROM effect ORDER BY rowid")]

    def work(self, what: str, answer: Answer) -> Callable[[Turn], Answer]:
        def business(turn: Turn) -> Answer:
            self.seen.append(turn)
            self.connection.execute("INSERT INTO effect VALUES (?)", (what,))
            return answer

        return business

    def act(self, answer: Answer = CREATED, delivery: Delivery | None = None) -> Verdict:
        return self.guard.run(delivery or action(), self.work("acted", answer))

    def undo(self, answer: Answer = FREED, delivery: Delivery | None = None) -> Verdict:
        return self.guard.run(delivery or compensation(), self.work("undone", answer))


@pytest.fixture
def service() -> Iterator[Service]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield Service(connection)
    connection.close()


# what a delivery is


def test_a_delivery_is_read_from_headers_in_any_case() -> None:
    """Header names are case-insensitive."""
    headers = {"idempotency-key": "k", "SAGA-FENCE": "7", "Saga-Attempt": "2", "saga-id": "s"}
    found = receive("action", "POST", "/x", headers, b"")
    assert (found.key, found.action_key, found.fence, found.attempt, found.saga_id) == ("k", "k", 7, 2, "s")


@pytest.mark.parametrize(
    ("phase", "headers"),
    [
        ("action", {}),
        ("action", {"Idempotency-Key": "  "}),
        ("action", {"Idempotency-Key": "k", "Saga-Phase": "compensation"}),
        ("compensation", {"Idempotency-Key": "k"}),
        ("action", {"Idempotency-Key": "k", "Saga-Fence": "-1"}),
        ("action", {"Idempotency-Key": "k", "Saga-Fence": "٣"}),
        ("action", {"Idempotency-Key": "k", "Saga-Attempt": "1" * 5000}),
    ],
)
def test_a_request_that_cannot_be_recognised_is_answered_400(phase: str, headers: dict[str, str]) -> None:
    """Without its key, or on the wrong route, nothing may be executed."""
    with pytest.raises(BadDelivery) as raised:
        receive("action" if phase == "action" else "compensation", "POST", "/x", headers, b"")
    assert raised.value.answer.status == 400


def test_method_target_and_body_all_count_for_the_digest() -> None:
    """Equal bytes are equal, and nothing else is."""
    variants = {digest(*case) for case in product(("POST", "PUT"), ("/a", "/a?b"), (b"", b"1"))}
    assert len(variants) == 8
    assert digest("post", "/a", b"") == digest("POST", "/a", b"")


# the table


def stored(status: int, of: Delivery) -> Stored:
    return Stored(digest=of.digest, answer=Answer(status))


@pytest.mark.parametrize(
    ("delivery", "remembered", "expected"),
    [
        (action(), Remembered(), "run"),
        (action(), Remembered(action=stored(201, action())), "replay"),
        (action(), Remembered(action=stored(402, action())), "replay"),
        (action(b"[]"), Remembered(action=stored(201, action())), "reused"),
        (action(), Remembered(compensation=stored(204, compensation())), "late"),
        (
            action(),
            Remembered(action=stored(201, action()), compensation=stored(200, compensation())),
            "late",
        ),
        (compensation(), Remembered(), "null"),
        (compensation(), Remembered(action=stored(402, action())), "null"),
        (compensation(), Remembered(action=stored(201, action())), "run"),
        (compensation(), Remembered(action=stored(202, action())), "run"),
        (compensation(), Remembered(compensation=stored(204, compensation())), "replay"),
        (compensation("/other"), Remembered(compensation=stored(204, compensation())), "reused"),
        (action(fence=2), Remembered(fence=3), "stale"),
        (action(fence=3), Remembered(fence=3), "run"),
        (action(fence=4), Remembered(fence=3), "run"),
        (action(), Remembered(fence=3), "run"),
        (compensation(fence=2), Remembered(fence=3), "stale"),
        (compensation(fence=2), Remembered(action=stored(201, action()), fence=3), "stale"),
        (action(fence=2), Remembered(action=stored(201, action()), fence=3), "replay"),
    ],
)
def test_the_table_of_the_module(delivery: Delivery, remembered: Remembered, expected: str) -> None:
    """Each row is judged as it is written."""
    assert judge(delivery, remembered) == expected


@pytest.mark.parametrize("status", [400, 402, 404, 410, 422, 301])
def test_a_definite_no_to_an_action_is_final(status: int) -> None:
    """It is given again to a duplicate, and a compensation's is not: that is tried again."""
    assert is_final("action", Answer(status))
    assert is_final("compensation", Answer(status)) is (status == 410)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 503])
def test_an_answer_that_asks_for_patience_is_not_final(status: int) -> None:
    """The business is asked again."""
    assert not is_final("action", Answer(status))
    assert not is_final("compensation", Answer(status))


# the guard


def test_a_duplicate_gets_the_first_answer_byte_for_byte(service: Service) -> None:
    """Status, headers and body; the effect is there once."""
    first = service.act()
    again = service.act(Answer.json(201, {"seat": "99Z"}))
    assert (first.judgement, again.judgement) == ("run", "replay")
    assert again.answer == first.answer == CREATED
    assert service.effects() == ["acted"]


def test_a_body_that_is_not_text_survives_the_ledger(service: Service) -> None:
    """Bytes are kept as bytes."""
    raw = Answer(200, bytes(range(256)), {"content-type": "application/octet-stream"})
    service.act(raw)
    assert service.act().answer == raw


def test_the_key_with_other_bytes_is_refused(service: Service) -> None:
    """422, and neither answer nor effect changes."""
    service.act()
    verdict = service.act(delivery=action(b"[1]"))
    assert verdict == Verdict(judgement="reused", answer=REUSED)
    assert service.act().answer == CREATED
    assert service.effects() == ["acted"]


def test_a_refusal_leaves_nothing_behind_but_itself(service: Service) -> None:
    """What the business changed before it said no is taken back; the no is remembered."""
    service.act(Answer(402))
    assert service.effects() == []
    assert service.act().judgement == "replay"


def test_an_answer_that_asks_for_patience_leaves_nothing_at_all(service: Service) -> None:
    """The next attempt runs as if it were the first."""
    assert service.act(Answer(503)).answer.status == 503
    assert service.effects() == []
    assert service.act().judgement == "run"
    assert service.effects() == ["acted"]


def test_an_exception_takes_everything_back(service: Service) -> None:
    """Nothing is remembered, the fence neither, and the retry runs."""

    def explode(turn: Turn) -> Answer:
        service.work("half", CREATED)(turn)
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        service.guard.run(action(fence=9), explode)
    assert service.effects() == []
    assert service.act(delivery=action(fence=1)).judgement == "run"


def test_a_compensation_is_told_what_it_undoes(service: Service) -> None:
    """The business function gets the action's own answer."""
    service.act()
    service.undo()
    assert service.seen[-1].undoes == CREATED
    assert service.effects() == ["acted", "undone"]


def test_a_null_compensation_is_answered_and_remembered(service: Service) -> None:
    """The business is not asked, the action is late for ever after, and a duplicate gets the same 204."""
    assert service.undo() == Verdict(judgement="null", answer=NULL)
    assert service.act() == Verdict(judgement="late", answer=LATE)
    assert service.undo() == Verdict(judgement="replay", answer=NULL)
    assert service.effects() == []


def test_a_refused_action_owes_nothing(service: Service) -> None:
    """Its compensation is a null one."""
    service.act(Answer(402))
    assert service.undo().judgement == "null"


def test_a_success_that_was_undone_is_not_replayed(service: Service) -> None:
    """A replayed 201 would say that the reservation stands."""
    service.act()
    service.undo()
    assert service.act().answer == LATE
    assert service.effects() == ["acted", "undone"]


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 503])
def test_a_compensation_that_fails_can_be_tried_again(service: Service, status: int) -> None:
    """Nothing of it is remembered, and the action still stands."""
    service.act()
    service.undo(Answer(status))
    assert service.effects() == ["acted"]
    assert service.act().judgement == "replay"
    assert service.undo().judgement == "run"


def test_a_compensation_that_finds_it_gone_is_done(service: Service) -> None:
    """410 means undone, and is remembered."""
    service.act()
    service.undo(Answer(410))
    assert service.undo() == Verdict(judgement="replay", answer=Answer(410))


def test_new_work_from_an_older_fence_is_refused(service: Service) -> None:
    """Also a compensation, which would block the action of the present owner."""
    service.act(delivery=action(fence=5))
    assert service.undo(delivery=compensation(fence=4)) == Verdict(judgement="stale", answer=STALE)
    assert service.undo(delivery=compensation(fence=5)).judgement == "run"


def test_fences_may_be_ignored(service: Service) -> None:
    """A service may say so; keys protect it all the same."""
    guard = Guard(service.ledger, refuse_stale=False)
    guard.run(action(fence=5), service.work("acted", CREATED))
    assert guard.run(compensation(fence=4), service.work("undone", Answer(200))).judgement == "run"


# work that is done later


def test_a_duplicate_of_accepted_work_is_accepted_again(service: Service) -> None:
    """The same 202, and the request is noted once."""
    service.act(Answer(202))
    assert service.act().answer.status == 202
    assert service.effects() == ["acted"]


def test_settling_puts_the_answer_in_place_of_the_202(service: Service) -> None:
    """A second settling, and every duplicate, gets that answer."""
    service.act(Answer(202))
    assert service.guard.settle(action(), service.work("done", CREATED)).judgement == "run"
    assert service.guard.settle(action(), service.work("done", CREATED)).judgement == "replay"
    assert service.act().answer == CREATED
    assert service.effects() == ["acted", "done"]


def test_accepted_work_that_was_compensated_is_not_done(service: Service) -> None:
    """The compensation learns that it was only accepted."""
    service.act(Answer(202))
    service.undo()
    assert service.seen[-1].undoes == Answer(202)
    assert service.guard.settle(action(), service.work("done", CREATED)).judgement == "late"
    assert "done" not in service.effects()


def test_settling_again_after_patience_was_asked_for(service: Service) -> None:
    """A 503 leaves the 202 in place."""
    service.act(Answer(202))
    service.guard.settle(action(), service.work("done", Answer(503)))
    assert service.act().answer.status == 202
    assert service.guard.settle(action(), service.work("done", CREATED)).judgement == "run"


def test_an_accepted_compensation_that_fails_starts_afresh(service: Service) -> None:
    """The next attempt is not answered with the old 202; meanwhile the action stands."""
    service.act()
    service.undo(Answer(202))
    assert service.act().judgement == "late"
    service.guard.settle(compensation(), service.work("undone later", Answer(422)))
    assert service.act().judgement == "replay"
    assert service.undo().judgement == "run"


# the ledger in SQLite


def test_copies_of_one_request_that_race_have_one_effect(tmp_path: Path) -> None:
    """Each of eight threads has a connection of its own; all get the one answer."""
    Service(sqlite3.connect(tmp_path / "s.sqlite")).connection.close()
    start = threading.Barrier(8)

    def deliver(number: int) -> Answer:
        connection = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None, timeout=30)
        racer = Service(connection)
        start.wait()
        answer = racer.act(Answer.json(201, number)).answer
        connection.close()
        return answer

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(deliver, range(8)))
    assert len({answer.body for answer in answers}) == 1
    connection = sqlite3.connect(tmp_path / "s.sqlite")
    assert connection.execute("SELECT count(*) FROM effect").fetchone() == (1,)
    connection.close()


def test_threads_that_share_a_connection_take_turns() -> None:
    """No transaction is entered twice."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    service = Service(connection)
    guard = Guard(SqliteLedger(connection))
    with ThreadPoolExecutor(8) as pool:
        kinds = list(
            pool.map(lambda _: guard.run(action(), service.work("acted", CREATED)).judgement, range(32))
        )
    assert sorted(kinds) == ["replay"] * 31 + ["run"]
    connection.close()


def test_a_locked_database_asks_for_the_request_again(tmp_path: Path) -> None:
    """425: not a no, and no promise that nothing was done; when the lock is free, it runs."""
    other = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None)
    service = Service(sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None, timeout=0))
    other.execute("BEGIN IMMEDIATE")
    assert service.act() == Verdict(judgement="busy", answer=BUSY)
    other.execute("ROLLBACK")
    assert service.act().judgement == "run"
    service.connection.close()
    other.close()


def test_a_delivery_inside_a_delivery_is_busy_and_not_a_deadlock(service: Service) -> None:
    """A business function that calls the guard again gets an answer, after the ledger's patience."""

    def nested(turn: Turn) -> Answer:
        return service.undo().answer

    assert service.guard.run(action(), nested).answer == BUSY


@pytest.mark.parametrize("isolation", [None, "DEFERRED", "IMMEDIATE"])
def test_any_isolation_level_of_the_connection_will_do(isolation: None) -> None:
    """The guard begins and ends the transaction itself."""
    connection = sqlite3.connect(":memory:", isolation_level=isolation)
    service = Service(connection)
    service.act(Answer(402))
    assert service.undo().judgement == "null"
    assert not connection.in_transaction
    connection.close()


def test_a_business_function_that_commits_is_told(service: Service) -> None:
    """Its change is not protected any more, so it must not go unnoticed."""

    def commits(turn: Turn) -> Answer:
        with service.connection:
            return service.work("acted", CREATED)(turn)

    with pytest.raises(TransactionBroken):
        service.guard.run(action(), commits)
    assert not service.connection.in_transaction


def test_an_error_of_the_database_is_its_own(service: Service) -> None:
    """Only a lock is translated."""

    def mistaken(turn: Turn) -> Answer:
        service.connection.execute("INSERT INTO nowhere VALUES (1)")
        return CREATED

    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        service.guard.run(action(), mistaken)
    with pytest.raises(LedgerBusy), service.ledger.transaction(), service.ledger.transaction():
        pass


def test_pruning_forgets_an_action_together_with_its_compensation(service: Service) -> None:
    """Old answers go, young ones stay, and a pair is as old as its younger half."""
    service.act()
    service.undo()
    service.connection.execute("UPDATE barrier_answer SET at = 100 WHERE phase = 'action'")
    assert service.ledger.prune(before=200) == 0
    assert service.act().judgement == "late"
    service.connection.execute("UPDATE barrier_answer SET at = 100")
    assert service.ledger.prune(before=200) == 2
    assert service.act().judgement == "run"
