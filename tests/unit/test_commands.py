"""What a person asks of a saga: what fits, what is in effect already, and what is refused, and with which word."""

from __future__ import annotations

from typing import Any

import pytest

from saga.core import entries as e
from saga.core.commands import Asked, judge
from saga.core.entries import Entry
from tests.driver import START, call, defined, step
from tests.sentences import ACCEPTED, DECLARED_NO, DOUBT, NO, TOO_EARLY, UNREACHABLE, Story, given, yes

BOOKING = defined(
    step("flight"), step("hotel"), step("charge", pivot=True), step("ticket", no_undo=True), timeout="1m"
)


def verdict(story: Story, command: Any, name: str | None = None, outcome: Any = None) -> Entry:
    """Give a command and return the entry it became."""
    return story.world.command(command, name, outcome)


def refused(entry: Entry) -> str:
    """Return the word a command was refused with."""
    assert isinstance(entry, e.CommandRefused), entry
    return entry.type


def parked() -> Story:
    """Return a saga that is parked going backward, at the hotel's compensation."""
    return given(BOOKING).when_refused("charge").when_undo("hotel", DECLARED_NO).played().then_is("parked")


def past() -> Story:
    """Return a saga that is parked past the pivot."""
    return given(BOOKING).when("ticket", DECLARED_NO).played().then_is("parked")


def test_every_command_is_one_entry_with_who_when_and_why() -> None:
    """Whatever its verdict."""
    story = given(BOOKING)
    for command in ("pause", "pause", "retry", "resume", "cancel", "abandon", "abandon"):
        asked = Asked(command=command, message="m", at=START, by="kim", reason="so")
        entry: Any = judge(BOOKING, story.state, asked)
        assert (entry.at, entry.by, entry.reason, entry.message) == (START, "kim", "so", "m")
        story.world.apply(entry)


# --------------------------------------------------------------------------- pause, resume


def test_nothing_is_sent_while_paused_and_what_arrives_is_recorded() -> None:
    """Compensations included."""
    story = given(BOOKING).when_commanded("pause").answered("flight", yes())
    assert (story.state.status, story.step("flight").status, story.world.wires) == ("paused", "succeeded", [])
    story.when_commanded("resume")
    assert [wire.unit for wire in story.world.wires] == ["hotel"]

    story = given(BOOKING).answered("flight", yes()).answered("hotel", NO).when_commanded("pause")
    story.answered("flight", NO, "compensation").when_passes(9999)
    assert story.world.wires == []
    story.when_commanded("resume").then_compensates("flight", "flight").then_ends("compensated")


def test_timers_stand_still_while_paused() -> None:
    """Waits, signals, retries, promises, and the deadline go on from where they stood."""
    timed = defined(
        step("w", [], wait="1h"),
        step("s", [], signal={"name": "go", "timeout": "2h"}),
        step("r", [], action=call(retry={"initial": "10s", "max": "10s"})),
        step("p", []),
        step("d", [], action=call(pending={"timeout": "1h", "poll": "10s"})),
        timeout="3h",
    )
    story = given(timed).answered("r", UNREACHABLE).answered("p", ACCEPTED).answered("d", TOO_EARLY)
    before = _timers(story)
    story.when_passes(5).when_commanded("pause").when_passes(100_000).when_commanded("resume")

    assert _timers(story) == pytest.approx([at + 100_000 for at in before])


def _timers(story: Story) -> list[float]:
    promised = story.step("p").action.pending
    assert promised is not None
    put_off = story.step("d").action
    times = [
        story.step("w").until, story.step("s").until, story.step("r").action.next_at, promised.until,
        put_off.next_at, put_off.deferred_until, story.state.deadline,
    ]  # fmt: skip
    return [at or 0.0 for at in times]


def test_an_answer_that_comes_while_paused_waits_its_full_time_after() -> None:
    """The next attempt is due as long after the pause as it would have been after the answer."""
    story = given(defined(step("a", action=call(retry={"initial": "10s", "max": "10s"}))))
    story.when_commanded("pause").when_passes(1000).answered("a", UNREACHABLE)
    story.when_passes(1000).when_commanded("resume")

    assert 7 <= (story.step("a").action.next_at or 0) - story.world.now <= 13


def test_within_stands_still_while_paused() -> None:
    """The budget of a compensation is not used up by a pause."""
    story = given(BOOKING).when_refused("charge").when_undo_always("hotel", DOUBT)
    while story.step("hotel").undo.tries < 2:
        story._goes_on()
    story.when_commanded("pause").when_passes(86_400 * 3).when_commanded("resume")
    story._always.clear()
    story.then_ends("compensated")


def test_pause_and_resume_in_effect_already_change_nothing() -> None:
    """200 both."""
    story = given(BOOKING)
    assert isinstance(verdict(story, "resume"), e.CommandUnchanged)
    assert isinstance(verdict(story, "pause"), e.SagaPaused)
    assert isinstance(verdict(story, "pause"), e.CommandUnchanged)


def test_a_parked_saga_is_neither_paused_nor_resumed() -> None:
    """It waits for a decision."""
    assert refused(verdict(parked(), "pause")) == "saga-parked"
    assert refused(verdict(parked(), "resume")) == "saga-parked"


# --------------------------------------------------------------------------- cancel


def test_cancel_begins_backward_recovery_whatever_the_status_and_resumes() -> None:
    """Running, paused or parked before the pivot's intent."""
    given(BOOKING).answered("flight", yes()).when_commanded("cancel").answered(
        "hotel", yes()
    ).then_compensates("hotel", "flight").then_fails_with(None, "cancelled")
    story = given(BOOKING).answered("flight", yes()).when_commanded("pause").when_commanded("cancel")
    story.then_is("compensating").then_compensates("hotel", "flight").then_ends("compensated")


def test_cancel_going_backward_already_changes_nothing() -> None:
    """Paused stays paused; ended stays ended."""
    story = given(BOOKING).answered("flight", yes()).answered("hotel", NO).when_commanded("pause")
    assert isinstance(verdict(story, "cancel"), e.CommandUnchanged)
    story.then_is("paused").when_commanded("resume").then_ends("compensated")
    assert isinstance(verdict(story, "cancel"), e.CommandUnchanged)
    assert isinstance(verdict(parked(), "cancel"), e.CommandUnchanged)


def test_cancel_past_the_pivot_is_refused() -> None:
    """``pivot-passed``, also when it has ended."""
    assert refused(verdict(past(), "cancel")) == "pivot-passed"
    assert refused(verdict(given(BOOKING).played(), "cancel")) == "pivot-passed"
    assert refused(verdict(given(defined(step("a"))).played(), "cancel")) == "saga-ended"


def test_a_request_that_is_on_the_wire_when_a_paused_saga_is_cancelled_is_awaited() -> None:
    """Nothing is lost by the two commands."""
    story = (
        given(BOOKING)
        .when_commanded("pause")
        .when_passes(1000)
        .when_commanded("cancel")
        .then_is("compensating")
    )
    story.answered("flight", yes()).then_compensates("flight").then_ends("compensated")


# --------------------------------------------------------------------------- retry


def test_retry_makes_the_next_attempt_due_now_with_a_new_budget() -> None:
    """Numbering goes on."""
    story = given(BOOKING).answered("flight", UNREACHABLE).when_commanded("retry", "flight")
    assert [(wire.unit, wire.attempt) for wire in story.world.wires] == [("flight", 2)]
    story.when_not_executed("flight").then_sends(*["flight"] * 5)


def test_retry_of_a_parked_compensation_tries_it_again() -> None:
    """All that are parked, or the one named."""
    story = (
        parked().when_commanded("retry").then_ends("compensated").then_compensates("hotel", "hotel", "flight")
    )
    assert story.step("hotel").undo.attempts == 2
    assert isinstance(verdict(parked(), "retry", "hotel"), e.RetryCommanded)


def test_retry_keeps_doubt() -> None:
    """A new budget is no verdict."""
    story = given(BOOKING).answered("flight", DOUBT).when_commanded("retry").answered("flight", NO)
    story.then_compensates("flight").then_step("flight", "uncertain", "undone")


def test_retry_of_what_was_never_sent_evaluates_it_anew() -> None:
    """A signal that did not come is awaited again."""
    waits = defined(step("p", pivot=True), step("s", signal={"name": "go", "timeout": "1s"}))
    story = given(waits).then_parks("s", "signal-timeout").when_commanded("retry", "s").then_is("running")
    story.world.signal("go", 1)
    story.then_ends("completed")


@pytest.mark.parametrize(
    ("name", "word"), [("flight", "nothing-to-retry"), ("x", "step-unknown"), (None, "nothing-to-retry")]
)
def test_retry_where_nothing_waits_is_refused(name: str | None, word: str) -> None:
    """With the reason."""
    assert refused(verdict(given(BOOKING), "retry", name)) == word


def test_retry_while_paused_is_refused() -> None:
    """Nothing is sent then."""
    story = given(BOOKING).answered("flight", UNREACHABLE).when_commanded("pause")
    assert refused(verdict(story, "retry")) == "saga-paused"


def test_retry_of_a_saga_parked_by_the_coordinators_own_error_sets_it_going() -> None:
    """With what is on the wire still on the wire."""
    story = given(BOOKING)
    story.world.apply(e.SagaParked(at=START, cause="internal", detail="an exception"))
    assert isinstance(verdict(story, "retry"), e.RetryCommanded)
    story.then_ends("completed")


# --------------------------------------------------------------------------- skip


def test_skip_of_an_action_never_invoked_is_as_if_its_condition_were_false() -> None:
    """Also of a step not reached for long."""
    given(BOOKING).when_commanded("skip", "ticket").then_sends("flight", "hotel", "charge").then_ends(
        "completed"
    )
    given(BOOKING).when_commanded("skip", "hotel").when_refused("charge").then_compensates("flight")


def test_skip_twice_changes_nothing() -> None:
    """It is skipped already."""
    story = given(BOOKING).when_commanded("skip", "hotel")
    assert isinstance(verdict(story, "skip", "hotel"), e.CommandUnchanged)


@pytest.mark.parametrize(
    ("name", "word"),
    [("flight", "not-skippable"), ("charge", "pivot"), ("x", "step-unknown"), ("flight[0]", "step-unknown"),
     ("flight[", "step-unknown"), ("flight[x]", "step-unknown"), (None, "step-missing")],
)  # fmt: skip
def test_skip_of_anything_else_is_refused(name: str | None, word: str) -> None:
    """What is invoked, the pivot's action, and what does not exist."""
    assert refused(verdict(given(BOOKING), "skip", name)) == word


def test_skip_of_a_step_in_doubt_before_the_pivot_is_refused() -> None:
    """It may have happened, and then it is owed."""
    service = {"s": {"url": "http://127.0.0.1:1", "key_lifetime": "1s"}}
    story = given(defined(step("a"), services=service)).answered("a", DOUBT).when_commanded("pause")
    story.when_passes(9).when_commanded("resume").then_parks("a", "key-expired")
    assert refused(verdict(story, "skip", "a")) == "not-skippable"


def test_nothing_forward_is_skipped_while_the_saga_goes_backward() -> None:
    """There is nothing to skip."""
    story = given(BOOKING).when_commanded("cancel")
    assert refused(verdict(story, "skip", "ticket")) == "not-skippable"


# --------------------------------------------------------------------------- resolve


def test_resolve_of_what_is_not_parked_is_refused() -> None:
    """Action or compensation."""
    for outcome in ("succeeded", "refused", "undone"):
        assert refused(verdict(given(BOOKING), "resolve", "flight", outcome)) == "not-parked"
    assert refused(verdict(given(BOOKING), "resolve", "flight")) == "outcome-missing"
    assert refused(verdict(given(BOOKING), "resolve", "x", "undone")) == "step-unknown"


def test_a_parked_compensation_takes_undone_and_a_parked_action_does_not() -> None:
    """Each its own outcomes."""
    assert refused(verdict(past(), "resolve", "ticket", "undone")) == "not-parked"
    assert refused(verdict(parked(), "resolve", "hotel", "refused")) == "not-parked"
    assert refused(verdict(parked(), "resolve", "hotel", "succeeded")) == "not-parked"
    assert isinstance(verdict(parked(), "resolve", "hotel", "undone"), e.ResolveCommanded)


def test_resolve_in_effect_already_changes_nothing() -> None:
    """Undone is undone, succeeded is succeeded."""
    story = parked().when_commanded("resolve", "hotel", "undone")
    assert isinstance(verdict(story, "resolve", "hotel", "undone"), e.CommandUnchanged)
    assert isinstance(verdict(story, "resolve", "flight", "succeeded"), e.CommandUnchanged)
    assert isinstance(verdict(past(), "resolve", "ticket", "refused"), e.CommandUnchanged)


def test_a_person_may_give_the_output_of_what_succeeded() -> None:
    """And it is held to the limit of outputs."""
    told = {"message": "m", "at": START, "step": "ticket", "outcome": "succeeded"}
    asked = Asked(command="resolve", output={"number": 7}, **told)
    story = past()
    story.world.apply(judge(BOOKING, story.state, asked))
    assert story.step("ticket").output == {"number": 7}
    large = Asked(command="resolve", output="x" * 300_000, **told)
    assert refused(judge(BOOKING, past().state, large)) == "size"


def test_an_action_before_the_pivot_found_refused_turns_the_saga_backward() -> None:
    """Found succeeded, it goes on."""
    service = {"s": {"url": "http://127.0.0.1:1", "key_lifetime": "1s"}}
    story = given(defined(step("a"), step("b"), services=service)).answered("a", yes()).answered("b", DOUBT)
    story.when_commanded("pause").when_passes(9).when_commanded("resume").then_parks("b", "key-expired")
    other = Story(story.world.copy())
    story.when_commanded("resolve", "b", "refused").then_compensates("a").then_ends("compensated")
    other.world.ledger.take("b", "action")
    other.when_commanded("resolve", "b", "succeeded").then_ends("completed")


# --------------------------------------------------------------------------- abandon


def test_abandon_ends_without_undoing_and_late_answers_are_recorded() -> None:
    """Nothing is sent any more."""
    story = given(BOOKING).answered("flight", yes()).when_commanded("abandon").then_is("abandoned")
    story.answered("hotel", yes())
    assert isinstance(story.world.journal[-1], e.LateAnswer)
    assert list(story.state.open_invocations()) == []
    assert story.world.callback("hotel", "action", "succeeded") == "gone"
    story.then_compensates()


def test_abandon_twice_changes_nothing_and_an_ended_saga_is_not_abandoned() -> None:
    """It has ended."""
    story = given(BOOKING).when_commanded("abandon")
    assert isinstance(verdict(story, "abandon"), e.CommandUnchanged)
    assert refused(verdict(given(defined(step("a"))).played(), "abandon")) == "saga-ended"


@pytest.mark.parametrize("command", ["pause", "resume", "retry", "skip", "resolve"])
def test_an_ended_saga_takes_no_command(command: str) -> None:
    """409, with the state."""
    ended = given(BOOKING).when_commanded("abandon")
    assert refused(verdict(ended, command, "hotel", "succeeded")) == "saga-ended"
