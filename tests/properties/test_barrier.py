"""Whatever the network does with the deliveries of a step, its effect is right.

1. The effect is applied at most once, and undone at most once, never before it was applied.
2. Once a compensation was answered with success, no effect stands, and none ever stands again.
3. While no compensation succeeded, an action that was answered with success stands.
4. Every delivery of a key that is answered for good gets one and the same answer, until it is late.
5. The answer never depends on whether the service died between two deliveries.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from compensations.barrier import Guard, Turn, Verdict, is_final
from compensations.barriers.sqlite import SqliteLedger
from compensations.delivery import Answer, Delivery, receive

Phase = Literal["action", "compensation"]


class Crash(Exception):
    """The service dies in its business function."""


@dataclass(frozen=True)
class Event:
    """One delivery, and what the business makes of it if it is asked."""

    phase: Phase
    step: int
    fence: int
    answer: int
    crash: bool
    settle: bool

    def delivery(self) -> Delivery:
        action_key = f"s:{self.step}:action"
        key = action_key if self.phase == "action" else f"s:{self.step}:compensation"
        headers = {
            "Idempotency-Key": key,
            "Saga-Action-Key": action_key,
            "Saga-Id": "s",
            "Saga-Fence": str(self.fence),
        }
        return receive(self.phase, "POST", f"/{self.phase}", headers, str(self.step).encode())


events = st.builds(
    Event,
    phase=st.sampled_from(("action", "compensation")),
    step=st.integers(0, 2),
    fence=st.integers(1, 3),
    answer=st.sampled_from((200, 201, 202, 204, 402, 404, 409, 410, 422, 429, 500, 503)),
    crash=st.booleans(),
    settle=st.booleans(),
)


@dataclass
class World:
    """A service whose effects are counted per step: +1 by an action, -1 by its compensation."""

    connection: sqlite3.Connection
    answered: dict[tuple[Phase, int], Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.connection.execute("CREATE TABLE effect (step INTEGER, change INTEGER)")

    def standing(self, step: int) -> int:
        query = "SELECT coalesce(sum(change), 0) FROM effect WHERE step = ?"
        return int(self.connection.execute(query, (step,)).fetchone()[0])

    def applied(self, step: int, change: int) -> int:
        query = "SELECT count(*) FROM effect WHERE step = ? AND change = ?"
        return int(self.connection.execute(query, (step, change)).fetchone()[0])

    def work(self, event: Event, turn: Turn) -> Answer:
        change = 1 if event.phase == "action" else -1
        # Accepted work has no effect yet, and one that was only accepted has none to undo.
        accepted = event.answer == 202 or (turn.undoes is not None and turn.undoes.status == 202)
        if not accepted:
            self.connection.execute("INSERT INTO effect VALUES (?, ?)", (event.step, change))
        if event.crash:
            raise Crash
        return Answer(event.answer)

    def deliver(self, event: Event) -> Verdict | None:
        # A new ledger for each delivery: nothing may live in the memory of the process.
        guard = Guard(SqliteLedger(self.connection))
        enter = guard.settle if event.settle else guard.run
        try:
            return enter(event.delivery(), lambda turn: self.work(event, turn))
        except Crash:
            return None

    def check(self, event: Event, verdict: Verdict | None) -> None:
        for step in range(3):
            assert self.applied(step, 1) <= 1
            assert self.applied(step, -1) <= 1
            assert self.standing(step) in (0, 1)
        if verdict is not None and verdict.judgement in ("run", "null", "replay"):
            self._answered(event, verdict)
        self._undone_is_undone()

    def _answered(self, event: Event, verdict: Verdict) -> None:
        key = (event.phase, event.step)
        before = self.answered.get(key)
        if before is not None and before.status != 202:
            assert verdict.answer == before
        if is_final(event.phase, verdict.answer):
            self.answered[key] = verdict.answer
        elif verdict.answer.status < 500 and verdict.answer.status not in (409, 429):
            self.answered.pop(key, None)

    def _undone_is_undone(self) -> None:
        for step in range(3):
            undone = self.answered.get(("compensation", step))
            acted = self.answered.get(("action", step))
            if undone is not None and undone.status in (200, 201, 204):
                assert self.standing(step) == 0
            if undone is None and acted is not None and acted.status in (200, 201, 204):
                assert self.standing(step) == 1


@contextmanager
def world() -> Iterator[World]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        yield World(connection)
    finally:
        connection.close()


@given(st.lists(events, max_size=25))
def test_no_order_of_deliveries_breaks_a_step(deliveries: list[Event]) -> None:
    """Duplicated, reordered, refused, crashed, accepted and settled: the invariants above hold after each one."""
    with world() as service:
        for event in deliveries:
            service.check(event, service.deliver(event))


@given(st.lists(st.sampled_from(("action", "compensation")), min_size=1, max_size=12))
def test_after_a_compensation_nothing_stands(phases: list[Phase]) -> None:
    """With a business that always says yes, one compensation anywhere means that nothing stands at the end."""
    with world() as service:
        for phase in phases:
            event = Event(phase=phase, step=0, fence=1, answer=200, crash=False, settle=False)
            service.deliver(event)
        assert service.standing(0) == (0 if "compensation" in phases else 1)
        assert service.applied(0, 1) == (1 if phases[0] == "action" else 0)


@given(st.lists(events, max_size=20), st.integers(0, 2))
def test_one_more_yes_settles_every_step(deliveries: list[Event], step: int) -> None:
    """However it began, a compensation the business agrees to is answered with success and leaves nothing."""
    with world() as service:
        for event in deliveries:
            service.deliver(event)
        last = Event(phase="compensation", step=step, fence=3, answer=200, crash=False, settle=True)
        verdict = service.deliver(last)
        assert verdict is not None
        assert is_final("compensation", verdict.answer)
        if verdict.answer.status not in (202, 410):
            assert service.standing(step) == 0
