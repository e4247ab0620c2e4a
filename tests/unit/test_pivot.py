"""The point of no return: what holds while the pivot is invoked, when it is in doubt, and behind it."""

from __future__ import annotations

import pytest

from saga.core import entries as e
from saga.core.outcomes import Outcome
from saga.core.state import SagaState
from tests.driver import START, call, defined, step
from tests.sentences import (
    ACCEPTED,
    DECLARED_NO,
    DOUBT,
    NO,
    TOO_EARLY,
    UNREACHABLE,
    Story,
    given,
    yes,
)

_PAST = step("ticket", no_undo=True)
BOOKING = defined(step("flight"), step("charge", pivot=True), _PAST, timeout="1m")
NONE = defined(step("flight"), step("charge", pivot=True, compensation="none"), _PAST, timeout="1m")


def charging(definition: object = BOOKING) -> Story:
    """Begin a story whose pivot is on the wire."""
    return given(definition).answered("flight", yes())  # type: ignore[arg-type]


def refused_as(state_of: Story) -> str:
    """Return how the last command was refused."""
    last = state_of.world.journal[-1]
    assert isinstance(last, e.CommandRefused)
    return last.type


# --------------------------------------------------------------------------- at the pivot


@pytest.mark.parametrize("answer", [NO, DECLARED_NO])
def test_refused_for_certain_the_saga_goes_backward(answer: Outcome) -> None:
    """As with any step."""
    charging().when("charge", answer).then_compensates("flight").then_ends("compensated")


def test_before_any_doubt_it_is_retried_by_the_action_policy() -> None:
    """Four attempts that were not executed, and it is refused."""
    story = charging().when_not_executed("charge").then_sends("flight", *["charge"] * 4)
    story.then_step("charge", "refused", kind="unreachable").then_compensates("flight")


@pytest.mark.parametrize("answer", [DOUBT, UNREACHABLE])
def test_in_doubt_it_is_retried_for_a_day_whatever_the_deadline_says(answer: Outcome) -> None:
    """By the compensation policy of the defaults."""
    story = charging().when("charge", DOUBT).when_always("charge", answer).played(2000)
    story.then_compensates("charge", "flight").then_step("charge", "uncertain", "undone")

    assert story.step("charge").action.attempts > 200
    assert story.world.now - START > 86_000


def test_in_doubt_refusals_that_are_not_declared_are_bounded() -> None:
    """To twelve; its own ``retry`` has no say any more."""
    retry = {"attempts": 2}
    strict = defined(step("flight"), step("charge", pivot=True, action=call(retry=retry)), _PAST)
    story = charging(strict).when("charge", DOUBT).when_always("charge", NO)
    story.then_sends("flight", *["charge"] * 13).then_compensates("charge", "flight")


def test_in_doubt_a_declared_refusal_settles_it() -> None:
    """The participant's verdict under the key."""
    charging().when("charge", DOUBT, DECLARED_NO).then_compensates("flight").then_step("charge", "refused")


def test_still_in_doubt_and_owing_nothing_it_is_parked_and_nothing_upstream_is_undone() -> None:
    """Until somebody finds out."""
    story = charging(NONE).when_always("charge", DOUBT).played(2000)
    story.then_compensates().then_parks("charge", "uncertain").then_step("charge", "uncertain")
    refused, succeeded = Story(story.world.copy()), Story(story.world.copy())
    refused.when_commanded("resolve", "charge", "refused").then_compensates("flight").then_ends("compensated")
    succeeded.when_commanded("resolve", "charge", "succeeded").then_compensates()
    succeeded.world.ledger.take("charge", "action")
    succeeded.then_ends("completed")


@pytest.mark.parametrize("answer", [None, ACCEPTED, DOUBT, TOO_EARLY])
def test_while_it_may_be_taking_effect_cancel_is_refused_and_the_deadline_does_nothing(
    answer: Outcome | None,
) -> None:
    """Open, pending, in doubt, or put off."""
    story = charging()
    if answer is not None:
        story.answered("charge", answer)
    story.when_commanded("cancel").when_passes(60).then_is("running")

    assert any(
        isinstance(each, e.CommandRefused) and each.type == "pivot-invoked" for each in story.world.journal
    )
    assert story.state.direction == "forward"


def test_while_it_was_certainly_not_executed_cancel_and_deadline_act() -> None:
    """As before its intent."""
    charging().answered("charge", UNREACHABLE).when_commanded("cancel").then_compensates("flight")
    story = charging().answered("charge", UNREACHABLE)
    story.world.now = START + 60
    story.world.turn()
    story.then_compensates("flight").then_fails_with(None, "deadline")
    story.then_step("charge", "refused", kind="unreachable")


def test_not_executed_and_withdrawn_it_can_be_cancelled() -> None:
    """An intent that was taken back was not sent."""
    story = charging()
    story.world.wires.clear()
    story.world.apply(e.Withdrawn(at=START, step="charge", phase="action", attempt=1))
    story.when_commanded("cancel").then_compensates("flight").then_step("charge", "refused")


def test_a_pivot_inherited_open_is_in_doubt() -> None:
    """And sent again at once."""
    story = charging().when("charge", NO)
    story.world.take_over()
    assert [wire.attempt for wire in story.world.wires] == [2]
    story.when_commanded("cancel")
    assert refused_as(story) == "pivot-invoked"
    story.answered("charge", NO).then_is("running")
    story.then_ends("completed")


def test_a_pivot_called_back_with_a_no_after_its_time_is_settled_by_a_later_attempt() -> None:
    """A refusal in doubt settles nothing; a later yes does."""
    story = charging().answered("charge", ACCEPTED)
    story.world.advance(START + 900)
    assert story.step("charge").action.doubt
    assert story.world.callback("charge", "action", "refused") == "taken"
    story.then_ends("completed")


def test_an_output_over_its_limit_parks_the_pivot() -> None:
    """It has happened, and the saga only goes forward."""
    story = charging().answered("charge", yes("x" * 256 * 1024)).then_parks("charge", "size")
    story.when_commanded("cancel")
    assert refused_as(story) == "pivot-passed"
    story.when_commanded("resolve", "charge", "refused")
    assert refused_as(story) == "not-refused"
    story.when_commanded("resolve", "charge", "succeeded").then_ends("completed").then_compensates()


def test_a_key_that_may_be_forgotten_parks_the_pivot() -> None:
    """Even where it could be compensated."""
    service = {"s": {"url": "http://127.0.0.1:1", "key_lifetime": "1h"}}
    short = defined(step("flight"), step("charge", pivot=True), services=service)
    charging(short).when_always("charge", DOUBT).then_compensates().then_parks("charge", "key-expired")


# --------------------------------------------------------------------------- behind it


def _is_forward(state: SagaState) -> None:
    assert state.direction == "forward"


def ticketing(definition: object = BOOKING) -> Story:
    """Begin a story whose pivot has succeeded."""
    return charging(definition).answered("charge", yes())


def test_past_the_pivot_the_deadline_only_marks_the_saga_late() -> None:
    """And cancel is refused."""
    story = ticketing()
    assert story.world.wake_at == START + 60
    story.when_passes(60).when_commanded("cancel")

    assert story.state.late
    assert refused_as(story) == "pivot-passed"
    story.then_compensates().then_ends("completed")


def test_a_pivot_skipped_by_its_condition_is_passed() -> None:
    """Only forward from there."""
    chosen = defined(step("flight"), step("charge", pivot=True, when="${input.card}"), _PAST)
    given(chosen).when_always("ticket", DECLARED_NO).then_compensates().then_parks("ticket", "refused")


def test_refusals_past_the_pivot_are_parked_after_twelve_attempts() -> None:
    """Retried until it works, then a person decides."""
    story = ticketing().when_refused("ticket").then_sends("flight", "charge", *["ticket"] * 12)
    story.then_parks("ticket", "refused").then_step("ticket", "refused")
    _is_forward(story.state)


@pytest.mark.parametrize(("answer", "status"), [(DOUBT, "uncertain"), (UNREACHABLE, "refused")])
def test_what_is_not_a_refusal_is_tried_for_a_day_and_parked(answer: Outcome, status: str) -> None:
    """``within: 24h``."""
    story = ticketing().when_always("ticket", answer).played(2000).then_step("ticket", status)
    story.then_is("parked").then_compensates()

    assert story.step("ticket").action.attempts > 200


def test_a_declared_refusal_past_the_pivot_is_parked_at_once() -> None:
    """So are ``fail``, ``template``, ``size`` and a signal that does not come."""
    ticketing().when_always("ticket", DECLARED_NO).then_sends("flight", "charge", "ticket")
    charge = step("charge", pivot=True)
    for made, kind in (
        (step("ticket", fail="no"), "refused"),
        (step("ticket", no_undo=True, action=call(body="${input.absent}")), "template"),
        (step("ticket", wait="${input.absent}"), "template"),
        (step("ticket", no_undo=True, for_each="${input.absent}"), "template"),
        (step("ticket", no_undo=True, action=call(body="${input.large}")), "size"),
        (step("ticket", signal={"name": "go", "timeout": "1s"}), "signal-timeout"),
    ):
        story = given(defined(charge, made), input={"large": "x" * 1024 * 1024})
        story.then_parks("ticket", kind).then_compensates()


def test_past_the_pivot_a_certain_refusal_is_tolerated_at_once_and_doubt_parks() -> None:
    """``on_refused: continue``."""
    tolerant = defined(step("charge", pivot=True), step("mail", no_undo=True, on_refused="continue"))
    given(tolerant).when_refused("mail").then_sends("charge", "mail").then_ends("completed")
    given(tolerant).when_not_executed("mail").played(2000).then_ends("completed")
    given(tolerant).when("mail", DOUBT).when_always("mail", UNREACHABLE).played(2000).then_parks(
        "mail", "uncertain"
    )


def test_a_parked_step_past_the_pivot_can_be_tried_again_skipped_or_resolved() -> None:
    """A person decides."""
    parked = ticketing().when("ticket", DECLARED_NO).played().then_is("parked")
    again, skipped, resolved = (Story(parked.world.copy()) for _ in range(3))
    again.when_commanded("retry").then_ends("completed").then_step("ticket", "succeeded")
    assert again.step("ticket").action.attempts == 2
    skipped.when_commanded("skip", "ticket").then_ends("completed").then_step("ticket", "skipped")
    resolved.world.ledger.take("ticket", "action")
    resolved.when_commanded("resolve", "ticket", "succeeded").then_ends("completed")


def test_resolved_as_refused_past_the_pivot_it_is_still_in_the_way() -> None:
    """Known now; then it is skipped, or tried again."""
    story = ticketing().when("ticket", DOUBT).when_always("ticket", DECLARED_NO).played()
    story = ticketing()
    story.answered("ticket", yes("x" * 256 * 1024)).then_parks("ticket", "size")
    story = (
        ticketing().when_always("ticket", DOUBT).played(2000).when_commanded("resolve", "ticket", "refused")
    )
    story.then_is("parked").then_step("ticket", "refused")
    story.when_commanded("skip", "ticket").then_ends("completed")


def test_other_branches_go_on_while_one_is_parked() -> None:
    """The saga is parked when nothing else can move."""
    fan = defined(
        step("charge", pivot=True), step("a", ["charge"], no_undo=True), step("b", ["charge"], no_undo=True)
    )
    story = given(fan).answered("charge", yes()).answered("a", DECLARED_NO).then_is("running")
    story.answered("b", yes()).then_is("parked")
    assert story.world.wires == []


def test_a_late_success_settles_what_is_parked() -> None:
    """By callback, after nobody expected it any more."""
    story = ticketing().when_always("ticket", DOUBT).played(2000).then_is("parked")
    assert story.world.callback("ticket", "action", "succeeded", effect=True) == "taken"
    story.then_ends("completed")
