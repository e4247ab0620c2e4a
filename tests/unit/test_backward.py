"""Backward recovery: what is awaited, what is owed, in which order, and what happens when undoing fails."""

from __future__ import annotations

import pytest

from saga.core import entries as e
from saga.core.outcomes import Outcome
from tests.driver import START, Wire, call, defined, step
from tests.sentences import (
    ACCEPTED,
    DECLARED_NO,
    DOUBT,
    NO,
    TOO_EARLY,
    UNREACHABLE,
    given,
    invoked,
    journal,
    succeeded,
    yes,
)

BOOKING = defined(step("flight"), step("hotel"), step("charge"))
DIAMOND = defined(step("a"), step("b", ["a"]), step("c", ["a"]), step("d", ["b", "c"]))
BESIDE = defined(step("a", []), step("b", []))


def test_what_was_done_is_undone_in_reverse() -> None:
    """The booking of the sentence."""
    given(BOOKING).when_refused("charge").then_compensates("hotel", "flight").then_ends("compensated")


def test_independent_branches_are_undone_together_and_before_what_they_stand_on() -> None:
    """The reverse of the dependency order."""
    moment = journal(DIAMOND).has(
        invoked("a"), succeeded("a"), invoked("b"), succeeded("b"), invoked("c"), succeeded("c"), invoked("d")
    )
    moment.has(e.AttemptRefused(at=START, step="d", phase="action", attempt=1))
    moment.has(e.StepRefused(at=START, step="d", cause="refused"))
    moment.when(1).then_records(e.TurnedBackward).then_invokes("b:compensation", "c:compensation")
    moment.has(e.CompensationUndone(at=START, step="b", attempt=1)).when(2).then_invokes()
    moment.has(e.CompensationUndone(at=START, step="c", attempt=1)).when(3).then_invokes("a:compensation")
    moment.has(e.CompensationUndone(at=START, step="a", attempt=1)).when(4).then_records(e.SagaCompensated)


def test_nothing_is_owed_for_what_was_refused_skipped_or_never_reached() -> None:
    """Steps never reached stay pending."""
    steps = defined(step("a"), step("b", when="${input.no}"), step("c"), step("d"))
    story = given(steps).when_refused("c").then_compensates("a").then_ends("compensated")
    story.then_step("b", "skipped").then_step("c", "refused").then_step("d", "pending")


def test_none_says_that_nothing_is_owed_whether_or_not_it_happened() -> None:
    """``compensation: none``."""
    quiet = defined(step("a"), step("b", compensation="none"), step("c"))
    given(quiet).when_refused("c").then_compensates("a").then_ends("compensated")
    given(quiet).when_uncertain("b").then_compensates("a").then_step("b", "uncertain").then_ends(
        "compensated"
    )


# --------------------------------------------------------------------------- what is under way


def test_calls_on_the_wire_are_awaited_and_then_undone() -> None:
    """A sibling that succeeds after the saga turned is owed like any other."""
    story = given(BESIDE).answered("a", NO).then_is("compensating")
    assert story.world.sent == [("a", "action"), ("b", "action")]

    story.answered("b", yes()).then_compensates("b").then_ends("compensated")


@pytest.mark.parametrize(
    ("answer", "status", "undo"),
    [
        (NO, "refused", "pending"),
        (DOUBT, "uncertain", "undone"),
        (UNREACHABLE, "refused", "pending"),
        (TOO_EARLY, "uncertain", "undone"),
        (DECLARED_NO, "refused", "pending"),
    ],
)
def test_no_further_attempt_is_sent_once_a_branch_has_failed(answer: Outcome, status: str, undo: str) -> None:
    """Doubt is compensated; what was certainly not executed is refused."""
    story = given(BESIDE).answered("a", NO).answered("b", answer)
    story.then_sends("a", "b").then_step("b", status, undo).then_ends("compensated")


def test_a_sibling_that_waits_for_its_next_attempt_is_concluded_at_once() -> None:
    """In doubt: uncertain. Only not executed: ``unreachable``."""
    story = given(BESIDE).answered("b", DOUBT).answered("a", NO).then_compensates("b")
    story.then_step("b", "uncertain", "undone")
    story = given(BESIDE).answered("b", UNREACHABLE).answered("a", NO).then_compensates()
    story.then_step("b", "refused", kind="unreachable")


def test_a_pending_sibling_is_awaited_to_its_timeout() -> None:
    """It may still call back, and then it is settled by that."""
    story = given(BESIDE).answered("b", ACCEPTED).answered("a", NO).then_is("compensating")
    world = story.world.copy()
    assert world.callback("b", "action", "refused") == "taken"
    assert world.state.status == "compensated"

    story.world.advance(START + 900)
    story.then_compensates("b").then_step("b", "uncertain", "undone")


def test_waits_and_signals_end_refused_and_owe_nothing() -> None:
    """``cancelled`` or ``deadline``, by what turned the saga."""
    waiting = defined(
        step("w", [], wait="1h"), step("s", [], signal={"name": "go"}), step("a", []), timeout="1m"
    )
    story = given(waiting).answered("a", yes()).when_commanded("cancel").then_compensates("a")
    story.then_step("w", "refused", kind="cancelled").then_step("s", "refused", kind="cancelled")
    story = given(waiting).answered("a", yes()).when_passes(60).then_step("w", "refused", kind="deadline")
    story.then_fails_with(None, "deadline").then_ends("compensated")


def test_an_inherited_attempt_is_not_compensated_before_its_full_timeout() -> None:
    """The request may still be on the wire from the coordinator that died."""
    story = given(BESIDE).when_passes(3)
    story.world.take_over()
    story.when_commanded("cancel")
    assert story.world.wake_at is None or story.world.wake_at <= START + 13
    story.answered("a", yes()).answered("b", NO)
    compensations = [unit for unit, phase in story.world.sent if phase == "compensation"]
    assert compensations == []

    story.world.advance(START + 12.9)
    assert "compensation" not in [phase for _, phase in story.world.sent]
    story.world.advance(START + 13)
    assert story.world.sent[-2:] == [("a", "compensation"), ("b", "compensation")]


def test_an_attempt_called_back_before_its_answer_is_not_compensated_before_it_is_off_the_wire() -> None:
    """Its outcome is known, and the request may still be under way."""
    story = given(BESIDE)
    story.world.callback("a", "action", "succeeded", effect=True)
    wire = story.wire("a")
    story.answered("b", NO)
    assert "compensation" not in [phase for _, phase in story.world.sent]
    held = story.world.copy()
    held.advance(START + 10)
    assert held.sent[-1] == ("a", "compensation")

    story.world.answer(wire, ACCEPTED)
    assert story.world.sent[-1] == ("a", "compensation")


# --------------------------------------------------------------------------- compensations


@pytest.mark.parametrize("answer", [NO, DOUBT, UNREACHABLE])
def test_a_compensation_is_tried_again_until_it_is_undone(answer: Outcome) -> None:
    """To a compensation, anything but a yes is tried again."""
    story = given(BOOKING).when_refused("charge").when_undo("hotel", answer, answer)
    story.then_compensates("hotel", "hotel", "hotel", "flight").then_ends("compensated")


def test_refusals_of_a_compensation_are_bounded_to_twelve() -> None:
    """Then it is parked, and the saga late."""
    story = given(BOOKING).when_refused("charge").when_undo_always("hotel", NO)
    story.then_compensates(*["hotel"] * 12).then_parks("hotel", "refused")
    story.then_step("hotel", "succeeded", "failed")

    assert story.state.late


@pytest.mark.parametrize("answer", [DOUBT, UNREACHABLE])
def test_what_is_not_a_refusal_is_tried_for_a_day(answer: Outcome) -> None:
    """``within: 24h``, whatever the count."""
    story = given(BOOKING).when_refused("charge").when_undo_always("hotel", answer).played(1000)
    story.then_is("parked")

    assert story.world.now - START > 86_000
    assert story.step("hotel").undo.attempts > 200


def test_a_declared_refusal_of_a_compensation_parks_at_once() -> None:
    """``on_status: refused`` on a compensation means: park now."""
    story = given(BOOKING).when_refused("charge").when_undo("hotel", DECLARED_NO)
    story.then_compensates("hotel").then_parks("hotel", "refused")


def test_a_failed_compensation_holds_back_only_what_is_upstream_of_it() -> None:
    """The saga is parked when nothing else can move."""
    story = given(DIAMOND).when_refused("d").when_undo("b", DECLARED_NO)
    story.then_compensates("b", "c").then_parks("b", "refused").then_step("c", "succeeded", "undone")
    story.then_step("a", "succeeded")


def test_a_compensation_that_cannot_be_made_is_parked() -> None:
    """``template``: what it needs was not in the output."""
    body = {"id": "${steps.flight.output.id}"}
    lacking = defined(step("flight", compensation=call("/undo", body=body)), step("hotel"))
    given(lacking).when_refused("hotel").then_compensates().then_parks("flight", "template")
    given(lacking).when("flight", yes({"id": 1})).when_refused("hotel").then_compensates("flight")


def test_a_compensation_of_doubt_cannot_see_an_output() -> None:
    """Nobody knows whether there is one."""
    body = {"id": "${steps.flight.output.id || 'unknown'}"}
    careful = defined(step("flight", compensation=call("/undo", body=body)))
    story = given(careful).when_uncertain("flight").then_compensates("flight")

    assert story.world.bytes_of["flight", "compensation"][1] == b'{"id":"unknown"}'


def test_a_pending_compensation_is_awaited_and_sent_again_when_nothing_comes() -> None:
    """Under the same key, by its policy."""
    story = given(defined(step("a"), step("b"))).when_refused("b")
    while story.state.step("a").undo_status != "invoking":
        story._goes_on()
    story.answered("a", ACCEPTED, "compensation")
    story.world.advance(START + 900)
    assert story.step("a").undo_status == "waiting"
    story.world.advance(story.world.wake_at or 0.0)

    assert [wire.attempt for wire in story.world.wires] == [2]


def test_a_compensation_put_off_adds_no_doubt_and_does_not_count() -> None:
    """425: the same again, under the same number."""
    story = given(BOOKING).when_refused("charge").when_undo("hotel", TOO_EARLY, TOO_EARLY)
    story.then_compensates("hotel", "hotel", "hotel", "flight")

    assert (story.step("hotel").undo.attempts, story.step("hotel").undo.tries) == (1, 0)


def test_a_compensation_that_was_inherited_open_is_sent_again_at_once() -> None:
    """It adds doubt and takes the next number."""
    story = given(defined(step("a"), step("b"))).answered("a", yes()).answered("b", NO)
    story.world.take_over()

    assert story.world.wires == [Wire("a", "compensation", 2, story.world.now + 10.0, "http")]
    story.then_ends("compensated")


def test_a_key_that_may_be_forgotten_is_not_used_again() -> None:
    """Parked, ``key-expired``; counted from the first attempt, pauses included."""
    service = {"s": {"url": "http://127.0.0.1:1", "key_lifetime": "1h"}}
    short = defined(step("a"), step("b"), services=service)
    story = given(short).when_refused("b").when_undo_always("a", DOUBT)
    story.played(1000).then_is("parked").then_parks("a", "key-expired")
    assert 3600 < story.world.now - START < 3600 + 400
    paused = given(short).answered("a", DOUBT).when_commanded("pause").when_passes(3601)
    paused.when_commanded("resume").then_parks("a", "key-expired").then_step("a", "uncertain")
    paused.when_commanded("cancel").then_compensates("a").then_ends("compensated")


def test_a_key_without_doubt_never_expires() -> None:
    """Nothing of it was executed, so sending it is no second time."""
    service = {"s": {"url": "http://127.0.0.1:1", "key_lifetime": "1h"}}
    short = defined(step("a"), services=service)
    given(short).answered("a", UNREACHABLE).when_commanded("pause").when_passes(9999).when_commanded(
        "resume"
    ).then_ends("completed")


def test_a_saga_without_room_for_another_compensation_is_parked() -> None:
    """Nothing is sent that could not be recorded."""
    story = given(BOOKING).answered("flight", yes())
    story.world.apply(e.SignalReceived(at=START, name="x", message="m", size=9 * 1024 * 1024))
    story.answered("hotel", NO).then_compensates().then_parks("flight", "size")


def test_the_saga_ends_abandoned_when_a_compensation_was_skipped() -> None:
    """``compensated`` is said only when everything owed is undone or resolved."""
    story = given(BOOKING).when_refused("charge").when_undo("hotel", DECLARED_NO).played().then_is("parked")
    other = given(BOOKING).when_refused("charge").when_undo("hotel", DECLARED_NO).played()
    story.when_commanded("skip", "hotel").then_compensates("hotel", "flight").then_ends("abandoned")
    other.when_commanded("resolve", "hotel", "undone").then_compensates("hotel", "flight").then_ends(
        "compensated"
    )
    other.then_step("hotel", "succeeded", "resolved")


def test_no_action_is_sent_after_the_saga_turned() -> None:
    """Not even one whose next attempt was due."""
    story = given(BESIDE).answered("b", UNREACHABLE).when_commanded("cancel").when_passes(60)

    assert story.world.sent == [("a", "action"), ("b", "action")]
