"""The judge finds what is wrong, and nothing in what is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.campaign.definitions import documents, plan
from tests.campaign.evidence import Evidence
from tests.campaign.judge import judge

PLANS = {document["name"]: plan(document) for document in documents({})}
STEPS = ("reserve_flight", "reserve_hotel", "charge_card", "issue_ticket")
SERVICES = {
    "reserve_flight": "flights",
    "reserve_hotel": "hotels",
    "charge_card": "payments",
    "issue_ticket": "tickets",
}


class Story:
    """A booking, told as it would be by a coordinator and participants that do everything right."""

    def __init__(self, saga: str = "s1") -> None:
        self.saga = saga
        self.status = "running"
        self.journal: list[dict[str, Any]] = []
        self.deliveries: list[dict[str, Any]] = []
        self.effects: list[dict[str, Any]] = []
        self.more: dict[str, Any] = {"accepted": {"k1": saga}}
        self._ticks = 0
        self.enter("saga_started", input={"flights": "LH1", "hotels": "Ritz"})

    def enter(self, kind: str, **members: Any) -> None:
        """Add an entry to the journal."""
        seq = len(self.journal) + 1
        self.journal.append({"seq": seq, "at": f"2026-01-01T00:00:{seq:02}Z", "kind": kind, **members})

    def send(self, step: str, phase: str = "action", *, status: int = 200, **changes: Any) -> None:
        """Send an attempt; it takes effect when it is answered with 200."""
        attempt = sum(row["step"] == step and row["phase"] == phase for row in self.deliveries) + 1
        self.enter("invoked", step=step, phase=phase, attempt=attempt, timeout=1.0)
        self._ticks += 2
        row = {
            "service": SERVICES[step],
            "at": self._ticks,
            "saga": self.saga,
            "step": step,
            "phase": phase,
            "key": f"{self.saga}:{step}:{phase}",
            "attempt": attempt,
            "fence": 1,
            "digest": f"{step}:{phase}",
            "faults": [],
            "status": status,
        }
        self.deliveries.append(row | changes)
        if status == 200:
            self.effects.append(row | {"at": self._ticks + 1})

    def end(self, kind: str, **members: Any) -> Story:
        """End the saga."""
        self.enter(kind, **members)
        self.status = kind.removeprefix("saga_")
        return self

    def evidence(self) -> Evidence:
        """Return it as the judge gets it."""
        return Evidence(
            plans=PLANS,
            sagas=[{"id": self.saga, "definition": {"name": "booking"}, "status": self.status}],
            journals={self.saga: self.journal},
            deliveries=self.deliveries,
            effects=self.effects,
            **self.more,
        )


def completed() -> Story:
    """Return a booking that has completed."""
    story = Story()
    for step in STEPS:
        story.send(step)
        story.enter("step_succeeded", step=step)
    return story.end("saga_completed")


def compensated() -> Story:
    """Return a booking that was undone, since the card was declined."""
    story = Story()
    for step in STEPS[:2]:
        story.send(step)
        story.enter("step_succeeded", step=step)
    story.send("charge_card", status=402, faults=["refuse"])
    story.enter("step_refused", step="charge_card")
    for step in STEPS[:2]:
        story.send(step, "compensation")
        story.enter("compensation_undone", step=step)
    return story.end("saga_compensated")


def parked() -> Story:
    """Return a booking whose ticket was refused after the pivot."""
    story = Story()
    for step in STEPS[:3]:
        story.send(step)
        story.enter("step_succeeded", step=step)
    story.send("issue_ticket", status=422, faults=["refuse"])
    return story.end("saga_parked", step="issue_ticket", phase="action", cause="refused")


@pytest.mark.parametrize("tell", [completed, compensated, parked])
def test_a_saga_that_kept_its_promise_is_left_alone(tell: Callable[[], Story]) -> None:
    """No rule finds anything in the three ends."""
    assert judge(tell().evidence()) == []


def _lose_an_effect(story: Story) -> None:
    story.effects.pop()


def _act_twice(story: Story) -> None:
    story.effects.append(story.effects[0])


def _undo_the_flight_first(story: Story) -> None:
    """Undo the flight while the card, which came after it, is still charged."""
    story.send("charge_card")
    story.send("charge_card", "compensation")
    story.effects[-1]["at"] += 100


def _charge_early(story: Story) -> None:
    story.deliveries[2]["at"] = 1


def _undo_past_the_pivot(story: Story) -> None:
    story.send("reserve_flight", "compensation", status=404)


def _send_other_bytes(story: Story) -> None:
    story.send("issue_ticket", status=503, digest="other")


def _lower_the_fence(story: Story) -> None:
    story.send("reserve_flight", status=503, fence=0)


def _lose_an_attempt(story: Story) -> None:
    """Kill the coordinator while it waits for the card's answer, and undo the flight soon after."""
    lost = {"step": "reserve_flight", "phase": "action", "attempt": 1, "lost": True}
    story.enter("attempt_uncertain", **lost)
    story.send("reserve_flight", status=503)


def _undo_too_soon(story: Story) -> None:
    _lose_an_attempt(story)
    story.journal[-2]["at"] = "2026-01-01T00:00:59Z"


def _change_the_key(story: Story) -> None:
    story.send("reserve_flight", status=503, key="s1:reserve_flight:action:2")


def _send_without_intent(story: Story) -> None:
    story.send("reserve_flight", status=503)
    story.journal.pop()


def _send_twice(story: Story) -> None:
    story.deliveries.append(story.deliveries[0])


def _undo_what_was_never_invoked(story: Story) -> None:
    story.journal[1]["kind"] = "late_answer"
    story.deliveries.pop(0)


def _leave_a_gap(story: Story) -> None:
    story.journal.pop(2)


def _go_on_after_the_end(story: Story) -> None:
    story.enter("step_succeeded", step="reserve_flight")


def _say_otherwise(story: Story) -> None:
    story.status = "completed" if story.status == "compensated" else "compensated"


def _never_end(story: Story) -> None:
    story.status = "running"


def _refuse_what_took_effect(story: Story) -> None:
    story.journal[2]["kind"] = "step_refused"


def _undone_in_the_journal_alone(story: Story) -> None:
    for row in story.deliveries:
        row["status"] = 503 if row["phase"] == "compensation" else row["status"]


def _lose_a_start(story: Story) -> None:
    story.more["accepted"] = {"k2": "s2"}


def _give_one_saga_to_two(story: Story) -> None:
    story.more["accepted"] = {"k1": "s1", "k2": "s1"}


def _tell_a_client_otherwise(story: Story) -> None:
    story.more["told"] = {"s1": "parked"}


def _cancel_and_complete(story: Story) -> None:
    story.more["cancelled"] = frozenset({"s1"})


def _serve_a_stranger(story: Story) -> None:
    story.deliveries.append(story.deliveries[0] | {"saga": "s9"})


def _park_for_no_reason(story: Story) -> None:
    story.deliveries[-1]["faults"] = []


def _park_with_less_than_was_done(story: Story) -> None:
    story.effects.pop(0)


@pytest.mark.parametrize(
    ("tell", "spoil", "rule"),
    [
        (completed, _lose_an_effect, "whole"),
        (compensated, _lose_an_effect, "whole"),
        (completed, _say_otherwise, "whole"),
        (compensated, _say_otherwise, "whole"),
        (completed, _never_end, "ended"),
        (completed, _act_twice, "once"),
        (compensated, _undo_the_flight_first, "undone_in_reverse"),
        (completed, _change_the_key, "once"),
        (compensated, _undo_too_soon, "undone_when_quiet"),
        (completed, _lose_an_attempt, "fences_rise_at_takeover"),
        (completed, _charge_early, "done_in_order"),
        (completed, _undo_past_the_pivot, "pivot_is_final"),
        (completed, _send_other_bytes, "same_bytes"),
        (completed, _lower_the_fence, "fences_never_fall"),
        (completed, _send_without_intent, "every_request_is_an_intent"),
        (completed, _send_twice, "every_request_is_an_intent"),
        (compensated, _undo_what_was_never_invoked, "every_request_is_an_intent"),
        (completed, _leave_a_gap, "journal_is_whole"),
        (completed, _go_on_after_the_end, "journal_is_whole"),
        (completed, _say_otherwise, "journal_is_whole"),
        (completed, _refuse_what_took_effect, "journal_agrees"),
        (completed, _lose_an_effect, "journal_agrees"),
        (compensated, _undone_in_the_journal_alone, "journal_agrees"),
        (completed, _lose_a_start, "acknowledged"),
        (completed, _give_one_saga_to_two, "acknowledged"),
        (completed, _serve_a_stranger, "acknowledged"),
        (completed, _tell_a_client_otherwise, "told"),
        (completed, _cancel_and_complete, "told"),
        (parked, _park_for_no_reason, "parked_with_reason"),
        (parked, _park_with_less_than_was_done, "parked_with_reason"),
    ],
)
def test_a_broken_promise_is_found(
    tell: Callable[[], Story], spoil: Callable[[Story], None], rule: str
) -> None:
    """Each rule fires on the story that breaks it."""
    story = tell()
    spoil(story)

    assert rule in {finding.rule for finding in judge(story.evidence())}


def test_the_judge_knows_neither_the_coordinator_nor_the_example() -> None:
    """It could not repeat their mistakes."""
    import ast
    import inspect

    from tests.campaign import clock, definitions, evidence
    from tests.campaign import judge as judging

    for module in (judging, evidence, definitions, clock):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] in ("saga", "examples", "compensations")]
