"""Forward recovery: attempts, what satisfies a step, deadlines, and the end."""

from __future__ import annotations

import pytest

from saga.core import entries as e
from saga.core.backoff import base_delay
from saga.core.decider import decide
from tests.driver import START, World, call, defined, step
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

TWO = defined(step("flight"), step("hotel"))


def test_steps_follow_one_another_in_the_order_they_are_written() -> None:
    """Without ``after`` a step waits for the one above it."""
    given(TWO).then_sends("flight", "hotel").then_ends("completed")


def test_steps_that_wait_for_nothing_are_sent_together() -> None:
    """A diamond: both sides begin once what they wait for is done, the last step once both are."""
    diamond = defined(step("a"), step("b", ["a"]), step("c", ["a"]), step("d", ["b", "c"]))
    moment = journal(diamond).has(invoked("a"), succeeded("a")).when(1).then_invokes("b:action", "c:action")
    moment.has(succeeded("b")).when(2).then_invokes()
    moment.has(succeeded("c")).when(3).then_invokes("d:action")


def test_the_same_journal_at_the_same_time_is_the_same_decision() -> None:
    """Nothing is decided from anything but definition, state and time."""
    world = World.start(TWO)

    assert decide(TWO, world.state, START) == decide(TWO, world.state, START)


def test_nothing_is_sent_before_start_at() -> None:
    """A saga with ``start_at`` sleeps until then."""
    moment = journal(TWO, start_at=START + 60).when(0).then_invokes().then_records().then_wakes_after(60)
    moment.when(60).then_invokes("flight:action")


def test_a_saga_cancelled_before_start_at_is_compensated_without_a_request() -> None:
    """Nothing was invoked, so nothing is owed."""
    given(TWO, start_at=START + 60).when_commanded("cancel").then_sends().then_ends("compensated")


# --------------------------------------------------------------------------- attempts


@pytest.mark.parametrize("outcome", [DOUBT, UNREACHABLE])
def test_an_action_has_four_attempts(outcome: object) -> None:
    """The first attempt counts."""
    given(TWO).when_always("flight", outcome).then_sends("flight", "flight", "flight", "flight")  # type: ignore[arg-type]


def test_only_not_executed_is_a_refusal_and_owes_nothing() -> None:
    """``unreachable``: certainly nothing happened."""
    story = given(TWO).when_not_executed("flight").then_compensates().then_ends("compensated")
    story.then_step("flight", "refused", kind="unreachable").then_fails_with("flight", "unreachable")


def test_doubt_at_the_end_of_the_attempts_is_compensated() -> None:
    """What may have happened is owed."""
    story = given(TWO).when_uncertain("flight").then_compensates("flight").then_ends("compensated")
    story.then_step("flight", "uncertain", "undone", kind="uncertain")


def test_doubt_is_not_erased_by_a_later_different_failure() -> None:
    """One 500, then three connections refused: it may still have happened."""
    story = given(TWO).when("flight", DOUBT, UNREACHABLE, UNREACHABLE, UNREACHABLE)
    story.then_compensates("flight").then_step("flight", "uncertain", "undone")


def test_a_refusal_after_doubt_ends_the_attempts_and_leaves_it_uncertain() -> None:
    """A no to the second attempt says nothing of the first."""
    story = given(TWO).when("flight", DOUBT, NO).then_sends("flight", "flight")
    story.then_compensates("flight").then_step("flight", "uncertain", "undone")


def test_a_refusal_after_attempts_that_were_not_executed_is_certain() -> None:
    """Nobody but the one who said no has had the request."""
    given(TWO).when("flight", UNREACHABLE, NO).then_compensates().then_step(
        "flight", "refused", kind="refused"
    )


def test_a_declared_refusal_settles_doubt() -> None:
    """``on_status: refused`` is the participant's verdict under the key."""
    given(TWO).when("flight", DOUBT, DECLARED_NO).then_compensates().then_step("flight", "refused")


def test_a_success_of_any_attempt_settles_doubt() -> None:
    """The same key: it happened once."""
    given(TWO).when("flight", DOUBT, UNREACHABLE, yes()).then_ends("completed")


def test_the_wait_before_the_next_attempt_grows_and_is_recorded_with_the_failure() -> None:
    """Jitter is a quarter to either side of the policy's wait."""
    story = given(TWO)
    for tries in (1, 2, 3):
        story.answered("flight", UNREACHABLE)
        failed = [each for each in story.world.journal if isinstance(each, e.AttemptNotExecuted)][-1]
        wait = (failed.next_at or 0.0) - failed.at
        expected = base_delay(TWO.step("flight").action.retry, tries)  # type: ignore[union-attr]
        assert 0.75 * expected <= wait <= 1.25 * expected
        story.world.advance(failed.next_at or 0.0)


def test_a_lost_attempt_does_not_count_and_the_next_takes_its_number() -> None:
    """Four attempts are left after the coordinator died with the first."""
    story = given(TWO).when_uncertain("flight")
    story.world.take_over()
    story.then_sends(*["flight"] * 5).then_step("flight", "uncertain", "undone")

    assert story.step("flight").action.attempts == 5


def test_an_attempt_that_was_withdrawn_is_due_again_at_once_and_adds_no_doubt() -> None:
    """Its owner knows that it was not sent."""
    moment = journal(TWO).has(
        invoked("flight"), e.Withdrawn(at=START, step="flight", phase="action", attempt=1)
    )
    moment.when(0).then_invokes("flight:action:2")

    assert not moment.state.step("flight").action.doubt


def test_a_lost_attempt_adds_doubt() -> None:
    """A later refusal is no longer certain."""
    story = given(TWO).when("flight", NO)
    story.world.take_over()
    story.then_compensates("flight").then_step("flight", "uncertain", "undone")


def test_a_retry_policy_ends_within_its_time() -> None:
    """``within`` bounds the attempts as well: none starts later."""
    retry = {"attempts": "unlimited", "initial": "1s", "factor": 1, "within": "3s"}
    quick = defined(step("flight", action=call(retry=retry)))
    story = given(quick).when_not_executed("flight").then_step("flight", "refused", kind="unreachable")

    assert 3 <= story.step("flight").action.attempts <= 4
    assert story.world.now - START <= 3


# --------------------------------------------------------------------------- too early, pending


def test_too_early_sends_the_same_attempt_again() -> None:
    """Each sending has an intent of its own, the same number, and adds no doubt."""
    story = given(TWO).when("flight", TOO_EARLY, TOO_EARLY, NO).then_sends("flight", "flight", "flight")
    story.then_step("flight", "refused")
    intents = [each for each in story.world.journal if isinstance(each, e.Invoked) and each.step == "flight"]

    assert [each.attempt for each in intents] == [1, 1, 1]
    assert story.step("flight").action.tries == 1


def test_too_early_for_too_long_is_uncertain_and_not_sent_again() -> None:
    """After ``pending.timeout`` nobody knows."""
    slow = defined(step("flight", action=call(pending={"timeout": "3s", "poll": "1s"})))
    story = given(slow).when_always("flight", TOO_EARLY).then_step("flight", "uncertain", "undone")

    assert story.world.now - START <= 3


def test_an_outcome_that_does_not_come_in_time_is_uncertain_and_not_sent_again() -> None:
    """Up to the pivot: the participant has it."""
    world = given(TWO).answered("flight", ACCEPTED).world
    world.advance(START + 900)

    assert world.sent == [("flight", "action"), ("flight", "compensation")]
    assert world.state.step("flight").status == "uncertain"


def test_a_pending_step_completes_by_its_callback() -> None:
    """The callback's output is the step's."""
    story = given(defined(step("flight"))).answered("flight", ACCEPTED)
    assert story.world.callback("flight", "action", "succeeded", effect=True) == "taken"

    assert story.step("flight").output == {"of": "flight"}
    story.then_ends("completed")


def test_a_poll_may_refuse() -> None:
    """Nothing is in doubt, so it is certain."""
    story = given(TWO).answered("flight", ACCEPTED)
    story.world.poll("flight", "action", NO)
    story.then_compensates().then_step("flight", "refused")


# --------------------------------------------------------------------------- skipped and tolerated


def test_a_step_whose_condition_does_not_hold_is_skipped_and_owes_nothing() -> None:
    """It satisfies ``after``."""
    chosen = defined(step("flight"), step("hotel", when="${input.hotel}"), step("car"))
    given(chosen).then_sends("flight", "car").then_step("hotel", "skipped").then_ends("completed")
    given(chosen, input={"hotel": 1}).when_refused("car").then_compensates("hotel", "flight")
    given(chosen).when_refused("car").then_compensates("flight").then_ends("compensated")


def test_a_certain_refusal_is_tolerated_where_the_definition_says_so() -> None:
    """``on_refused: continue``: the saga goes on without it."""
    tolerant = defined(step("flight"), step("meal", on_refused="continue"), step("car"))
    given(tolerant).when_refused("meal").then_sends("flight", "meal", "car").then_ends("completed")
    given(tolerant).when_not_executed("meal").then_ends("completed").then_step("meal", "refused")


def test_doubt_is_not_tolerated() -> None:
    """``continue`` covers a certain refusal only."""
    tolerant = defined(step("flight"), step("meal", on_refused="continue"))
    given(tolerant).when_uncertain("meal").then_compensates("meal", "flight").then_ends("compensated")


def test_an_action_that_cannot_be_made_is_refused_and_was_never_sent() -> None:
    """A reference that finds nothing is ``template``."""
    lacking = defined(step("flight"), step("hotel", action=call(body="${input.absent}")))
    story = given(lacking).then_sends("flight").then_compensates("flight")
    story.then_step("hotel", "refused", kind="template").then_fails_with("hotel", "template")


def test_a_request_over_its_limit_is_refused_and_was_never_sent() -> None:
    """1 MB; more is ``size``."""
    large = defined(step("flight", action=call(body="${input}")))
    story = given(large, input="x" * 1024 * 1024).then_sends().then_ends("compensated")
    story.then_step("flight", "refused", kind="size")


def test_what_could_not_be_recorded_is_not_invoked() -> None:
    """The last quarter of a journal is kept for compensation and parking."""
    story = given(TWO, size=6 * 1024 * 1024)
    story.then_sends().then_step("flight", "refused", kind="size").then_ends("compensated")


def test_an_attempt_in_doubt_that_could_not_be_recorded_stays_in_doubt() -> None:
    """A full journal is no verdict."""
    story = given(TWO).answered("flight", DOUBT)
    signals = [
        e.SignalReceived(at=START, name="x", message=f"m{each}", size=2 * 1024 * 1024) for each in range(3)
    ]
    story.world.apply(*signals)
    story.then_sends("flight").then_step("flight", "uncertain", "undone", kind="size")


# --------------------------------------------------------------------------- deadline, lateness


TIMED = defined(step("flight"), step("hotel"), timeout="1m", due="30s")


def test_the_deadline_turns_the_saga_backward() -> None:
    """Nothing new is sent; what is done is undone."""
    moment = journal(TIMED).has(invoked("flight"), succeeded("flight"), invoked("hotel"))
    moment.when(60).then_records(e.SagaMarkedLate, e.TurnedBackward).then_invokes()

    assert moment.state.failure is not None
    assert moment.state.failure.kind == "deadline"
    moment.has(succeeded("hotel")).when(61).then_invokes("hotel:compensation")


def test_the_deadline_wakes_the_saga_and_so_does_its_due_time() -> None:
    """Both are times at which something follows."""
    journal(TIMED).has(invoked("flight")).when(1).then_wakes_after(30)
    journal(TIMED).has(invoked("flight")).when(30).then_records(e.SagaMarkedLate).then_wakes_after(60)


def test_being_late_changes_nothing_else() -> None:
    """The saga goes on as before."""
    story = given(TIMED).when_passes(31)
    assert story.state.late
    story.then_ends("completed")


def test_a_step_is_late_by_its_own_due_time() -> None:
    """Counted from its beginning."""
    slow = defined(step("flight"), step("hotel", due="5s"))
    moment = journal(slow).has(invoked("flight", at=0)).when(1).then_wakes_after(None)
    moment.has(succeeded("flight", at=2), invoked("hotel", at=2)).when(3).then_wakes_after(7)
    moment.when(7).then_records(e.SagaMarkedLate)


def test_twelve_tries_of_any_kind_make_a_saga_late() -> None:
    """Somebody should look."""
    retry = {"attempts": 20, "initial": "1s", "factor": 1}
    story = given(defined(step("flight", action=call(retry=retry)))).when("flight", *[UNREACHABLE] * 12)
    story.then_ends("completed")

    assert story.state.late


def test_a_deadline_does_not_count_while_paused_or_parked() -> None:
    """It is moved by as long as the saga stood still."""
    story = given(TIMED).when_passes(10).when_commanded("pause").when_passes(1000).when_commanded("resume")

    assert story.state.deadline == START + 1060


def test_a_pause_before_start_at_moves_the_deadline_only_by_what_lies_behind_it() -> None:
    """The deadline counts from the end of ``start_at``."""
    story = given(TIMED, start_at=START + 100, deadline=START + 160)
    story.when_commanded("pause").when_passes(130).when_commanded("resume")

    assert story.state.deadline == START + 190


# --------------------------------------------------------------------------- output


def test_an_output_is_what_its_template_says() -> None:
    """Absent, it is the whole body."""
    shaped = defined(
        step("flight", output={"id": "${response.body.number}", "by": "${response.status}"}),
        step("hotel"),
        output={"flight": "${steps.flight.output.id}", "hotel": "${steps.hotel.output}"},
    )
    story = given(shaped).when("flight", yes({"number": 7})).when("hotel", yes("ok")).then_ends("completed")

    assert story.state.output == {"flight": 7, "hotel": "ok"}
    assert story.step("flight").output == {"id": 7, "by": 200}


def test_a_member_of_an_output_that_is_not_found_is_null_and_said_to_be_missing() -> None:
    """The saga goes on; a reference to that member finds nothing."""
    shaped = defined(
        step("flight", output={"id": "${response.body.number}"}), output={"id": "${steps.flight.output.id}"}
    )
    story = (
        given(shaped)
        .when("flight", yes({}))
        .then_ends("completed")
        .then_step("flight", "succeeded", kind="output")
    )

    assert story.step("flight").output == {"id": None}
    assert (story.state.output, story.state.missing) == ({"id": None}, ("/id",))
    assert story.state.failure is not None


def test_an_output_over_its_limit_has_happened_and_is_compensated() -> None:
    """The step succeeded, without output; the saga goes backward, ``size``."""
    story = given(TWO).when("flight", yes("x" * 256 * 1024)).then_compensates("flight")
    story.then_step("flight", "succeeded", "undone", kind="size").then_fails_with("flight", "size")
