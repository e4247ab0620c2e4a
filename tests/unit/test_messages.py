"""Callbacks and other messages: what their senders are told, and what they become in the journal."""

from __future__ import annotations

import pytest

from saga.core import entries as e
from saga.core.conclusions import OUTPUT_LIMIT
from saga.core.journal import replay
from saga.core.messages import Callback, fold_all, hear
from saga.ports.stored import Message
from tests.driver import START, World, call, defined, step
from tests.sentences import ACCEPTED, DECLARED_NO, DOUBT, NO, Story, given, yes

BOOKING = defined(step("flight"), step("hotel"), step("charge", pivot=True), step("ticket", no_undo=True))
LONE = defined(step("a"))


def pending() -> Story:
    """Return a saga whose only action is pending."""
    return given(defined(step("a"), step("b"))).answered("a", ACCEPTED)


# --------------------------------------------------------------------------- the first outcome stands


def test_the_first_outcome_stands_the_same_again_is_taken_and_another_conflicts() -> None:
    """200, 200, 409; and nothing is recorded twice."""
    for first, other in (("succeeded", "refused"), ("refused", "succeeded")):
        world = pending().world
        assert world.callback("a", "action", first) == "taken"  # type: ignore[arg-type]
        length = len(world.journal)
        assert world.callback("a", "action", first) == "taken"  # type: ignore[arg-type]
        assert world.callback("a", "action", other) == "conflict"  # type: ignore[arg-type]
        assert len(world.journal) == length


def test_a_success_with_another_output_conflicts() -> None:
    """It is a different outcome."""
    world = pending().world
    world.callback("a", "action", "succeeded")
    other = Callback(step="a", phase="action", outcome="succeeded", output={"of": "somebody else"})

    assert hear(world.definition, world.state, other, world.now) == ("conflict", ())


def test_an_outcome_that_was_answered_is_the_same_when_it_is_called_back() -> None:
    """Whatever the words: the attempt's answer has settled it."""
    world = given(BOOKING).answered("flight", yes({"id": 1})).world

    assert world.callback("flight", "action", "succeeded") == "taken"
    assert world.callback("flight", "action", "refused") == "conflict"


def test_a_success_stands_although_its_output_was_too_large_to_go_on() -> None:
    """The participant is not told that the saga went another way, and no second success takes its place."""
    world = given(BOOKING).answered("flight", yes()).answered("hotel", yes()).world
    (wire,) = world.wires
    world.answer(wire, yes("x" * (OUTPUT_LIMIT + 1)))
    assert (world.state.status, world.state.step("charge").status) == ("parked", "succeeded")
    length = len(world.journal)

    assert world.callback("charge", "action", "refused") == "conflict"
    assert world.callback("charge", "action", "succeeded") == "taken"
    assert len(world.journal) == length
    assert world.state.status == "parked"


def test_a_callback_for_what_was_never_invoked_is_unknown() -> None:
    """404: such a token was never given out."""
    world = given(BOOKING).world

    assert world.callback("hotel", "action", "succeeded") == "unknown"
    assert world.callback("flight", "compensation", "succeeded") == "unknown"


def test_a_callback_for_a_worker_or_a_child_is_unknown() -> None:
    """They have no such address."""
    world = given(defined(step("w", worker={"queue": "q"}))).world

    assert world.callback("w", "action", "succeeded") == "unknown"


def test_a_callback_before_the_202_is_kept() -> None:
    """And the 202 says nothing new."""
    story = given(LONE)
    assert story.world.callback("a", "action", "succeeded", effect=True) == "taken"
    story.then_is("completed").answered("a", ACCEPTED)

    assert story.step("a").output == {"of": "a"}


def test_a_callback_after_the_saga_went_another_way_is_gone_and_recorded() -> None:
    """410."""
    story = pending()
    story.world.advance(START + 900)
    assert story.step("a").status == "uncertain"
    assert story.world.callback("a", "action", "succeeded") == "gone"
    late = story.world.journal[-1]

    assert isinstance(late, e.LateAnswer)
    assert (late.step, late.outcome, late.attempt) == ("a", "succeeded", None)
    story.then_compensates("a").then_ends("compensated")


def test_a_refusal_that_nobody_spoke_does_not_stand_for_one() -> None:
    """``unreachable`` is the coordinator's word: a later callback is gone."""
    story = given(LONE).when_not_executed("a").then_ends("compensated")

    assert story.world.callback("a", "action", "refused") == "gone"


def test_a_callback_to_an_ended_saga_is_gone_unless_it_says_what_stands() -> None:
    """The same again is 200 for ever."""
    story = given(LONE).answered("a", ACCEPTED)
    story.world.callback("a", "action", "succeeded", effect=True)
    story.then_ends("completed")

    assert story.world.callback("a", "action", "succeeded") == "taken"
    abandoned = given(LONE).answered("a", ACCEPTED).when_commanded("abandon")
    assert abandoned.world.callback("a", "action", "succeeded") == "gone"


# --------------------------------------------------------------------------- what settles nothing


def undoing() -> Story:
    """Return a saga whose compensation is pending."""
    story = given(defined(step("a"), step("b"))).answered("a", yes()).answered("b", NO)
    return story.answered("a", ACCEPTED, "compensation")


def test_a_refusal_of_a_compensation_only_fails_an_attempt() -> None:
    """Once a later attempt is due or open, the next outcome is taken as a first one."""
    story = undoing()
    world = story.world
    assert world.callback("a", "compensation", "refused") == "taken"
    assert story.step("a").undo_status == "waiting"
    assert world.callback("a", "compensation", "refused") == "taken"
    assert world.callback("a", "compensation", "succeeded") == "conflict"
    world.advance(world.wake_at or 0.0)
    assert world.callback("a", "compensation", "succeeded", effect=True) == "taken"
    story.then_ends("compensated")
    assert story.step("a").undo.refusals == 1


def test_a_refusal_past_the_pivot_only_fails_an_attempt() -> None:
    """The same again is no second refusal."""
    story = given(BOOKING).answered("flight", yes()).answered("hotel", yes()).answered("charge", yes())
    story.answered("ticket", ACCEPTED)
    for _ in range(3):
        assert story.world.callback("ticket", "action", "refused") == "taken"

    assert (story.step("ticket").status, story.step("ticket").action.refusals) == ("waiting", 1)
    story.then_ends("completed")


def test_a_no_called_back_in_doubt_leaves_it_in_doubt_and_is_taken_again() -> None:
    """It says nothing of the attempt before."""
    story = given(LONE).answered("a", DOUBT)
    assert story.world.callback("a", "action", "refused") == "taken"
    assert story.step("a").status == "uncertain"
    assert story.world.callback("a", "action", "refused") == "taken"
    assert story.world.callback("a", "action", "succeeded") == "gone"


def test_refused_when_is_asked_of_a_callbacks_output() -> None:
    """As of a poll's body; it is a declared refusal."""
    action = call(refused_when="${response.body.of == 'a'}")
    story = given(defined(step("a", action=action))).answered("a", DOUBT)
    story.world.callback("a", "action", "succeeded")

    story.then_step("a", "refused").then_compensates()


def test_what_is_undone_or_resolved_or_skipped_hears_nothing_more() -> None:
    """Undone is undone; by a person it went another way."""
    story = given(defined(step("a"), step("b"))).when_refused("b").when_undo("a", DECLARED_NO).played()
    skipped = Story(story.world.copy()).when_commanded("skip", "a")
    assert skipped.world.callback("a", "compensation", "succeeded") == "gone"
    resolved = Story(story.world.copy()).when_commanded("resolve", "a", "undone")
    assert resolved.world.callback("a", "compensation", "succeeded") == "gone"
    late = Story(story.world.copy())
    assert late.world.callback("a", "compensation", "refused") == "gone"
    assert late.world.callback("a", "compensation", "succeeded", effect=True) == "taken"
    late.then_ends("compensated")


def test_a_success_for_what_was_parked_and_then_undone_is_gone() -> None:
    """The saga went another way."""
    service = {"s": {"url": "http://127.0.0.1:1", "key_lifetime": "1s"}}
    story = given(defined(step("a"), services=service)).answered("a", DOUBT).when_commanded("pause")
    story.when_passes(9).when_commanded("resume").then_parks("a", "key-expired").when_commanded("cancel")
    story.then_ends("compensated")

    assert story.world.callback("a", "action", "succeeded") == "gone"


def test_callbacks_are_recorded_while_paused() -> None:
    """Nothing is sent."""
    story = pending().when_commanded("pause")
    assert story.world.callback("a", "action", "succeeded") == "taken"
    assert (story.step("a").status, story.world.wires) == ("succeeded", [])


# --------------------------------------------------------------------------- answers that come late


def test_a_success_of_an_earlier_attempt_counts() -> None:
    """A refused callback failed the attempt; its own answer comes after the next was sent."""
    story = given(BOOKING).answered("flight", yes()).answered("hotel", yes()).answered("charge", yes())
    first = story.wire("ticket")
    story.world.callback("ticket", "action", "refused")
    story.world.advance(story.world.wake_at or 0.0)
    assert [wire.attempt for wire in story.world.wires] == [1, 2]
    story.world.answer(first, yes(7), effect=True)
    assert story.step("ticket").output == 7
    story.answered("ticket", NO).then_is("completed")


def test_another_answer_of_an_earlier_attempt_is_recorded_as_late() -> None:
    """It neither closes nor fails the one on the wire."""
    story = given(BOOKING).answered("flight", yes()).answered("hotel", yes()).answered("charge", yes())
    first = story.wire("ticket")
    story.world.callback("ticket", "action", "refused")
    story.world.advance(story.world.wake_at or 0.0)
    story.world.answer(first, NO)
    late = story.world.journal[-1]

    assert isinstance(late, e.LateAnswer)
    assert story.step("ticket").action.open is not None


@pytest.mark.parametrize("answer", [NO, yes(1)])
def test_a_poll_that_was_overtaken_by_a_callback_changes_nothing(answer: object) -> None:
    """The first outcome that settles stands."""
    story = pending()
    story.world.callback("a", "action", "refused")
    before = story.state.status
    story.world.poll("a", "action", answer)  # type: ignore[arg-type]

    assert (story.state.status, story.step("a").status) == (before, "refused")
    assert isinstance(story.world.journal[-1], e.LateAnswer)


def test_a_poll_that_says_no_after_the_promise_was_given_up_fails_no_later_attempt() -> None:
    """It was about the promise."""
    story = undoing()
    story.world.advance(START + 900)
    story.world.advance(story.world.wake_at or 0.0)
    story.world.poll("a", "compensation", NO)

    assert story.step("a").undo.open is not None


# --------------------------------------------------------------------------- folding


def test_messages_fold_in_order_and_each_sees_what_the_one_before_has_done() -> None:
    """A pause, and a resume after it."""
    world = World.start(LONE)
    bodies = [b'{"command":"pause"}', b'{"command":"pause"}', b'{"command":"resume","reason":"go"}']
    messages = tuple(
        Message(id=f"m{at}", kind="command", body=body, by="kim", at=START) for at, body in enumerate(bodies)
    )
    state, found = fold_all(LONE, world.state, messages, START)

    assert [type(entry) for entry in found] == [e.SagaPaused, e.CommandUnchanged, e.SagaResumed]
    assert [entry.message for entry in found] == ["m0", "m1", "m2"]  # type: ignore[attr-defined]
    assert replay([*world.journal, *found]) == state


def test_a_message_of_a_kind_that_is_not_known_changes_nothing() -> None:
    """A later release may have put it there."""
    assert World.start(LONE).message("telegram", {}) == ()


def test_a_message_that_comes_after_the_end_changes_nothing() -> None:
    """Signals and children of an ended saga."""
    story = given(LONE).then_ends("completed")

    assert story.world.signal("go") == ()
    assert story.world.message("child", {"step": "a", "status": "completed"}) == ()
    story.when_commanded("retry").then_is("completed")


def test_a_childs_end_that_nobody_waits_for_changes_nothing() -> None:
    """It was told twice."""
    parent = defined(step("c", saga={"name": "x"}), step("b"))
    story = given(parent)
    assert story.world.message("child", {"step": "b", "child": "s1.b", "status": "completed"}) == ()
    story.world.begin_child(story.wire("c"))
    story.world.end_child("c", "completed")
    assert story.world.message("child", {"step": "c", "child": "s1.c", "status": "completed"}) == ()


def test_a_callback_between_two_attempts_settles_them() -> None:
    """The first one was in doubt, and did happen."""
    story = given(LONE).answered("a", DOUBT)
    assert story.world.callback("a", "action", "succeeded", effect=True) == "taken"
    story.then_ends("completed")
