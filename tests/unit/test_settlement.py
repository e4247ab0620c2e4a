"""What one outcome means: the entries it becomes, by where the step stands and what is in doubt."""

from __future__ import annotations

from typing import Any

import pytest

from saga.core import entries as e
from saga.core.entries import Entry
from saga.core.outcomes import Deferred, NotExecuted, Outcome, Pending, Refused, Uncertain
from saga.core.settlement import child_started, expired, lost, settle
from tests.driver import START, call, defined, step
from tests.sentences import DECLARED_NO, DOUBT, NO, UNREACHABLE, Moment, invoked, journal, succeeded, yes

#: One attempt each, so that the outcome of the last one shows.
_ONCE = call(retry={"attempts": 1})
BOOKING = defined(
    step("before", action=_ONCE),
    step("pivot", pivot=True, action=_ONCE, compensation="none"),
    step("after", no_undo=True, on_refused="continue"),
    step("strict", no_undo=True),
    defaults={"compensation": {"retry": {"attempts": 1, "within": "1ms"}}},
)
_ORDER = ("before", "pivot", "after", "strict")


def at(unit: str, *, doubt: bool = False) -> Moment:
    """Return a saga with an attempt of that step on the wire."""
    moment = journal(BOOKING)
    for name in _ORDER[: _ORDER.index(unit)]:
        moment.has(invoked(name), succeeded(name))
    moment.has(invoked(unit))
    if doubt:
        again = {"step": unit, "phase": "action", "attempt": 1, "next_at": START}
        moment.has(e.AttemptUncertain(at=START, **again), invoked(unit, 2))  # type: ignore[arg-type]
    return moment


def settled(moment: Moment, unit: str, outcome: Outcome, **members: Any) -> tuple[Entry, ...]:
    """Return what the outcome of the open attempt becomes."""
    attempt = moment.state.step(unit).action.attempts
    return settle(
        BOOKING, moment.state, unit, "action", outcome, START + 60, **({"attempt": attempt} | members)
    )


_R, _U, _P = e.StepRefused, e.StepUncertain, e.StepParked


@pytest.mark.parametrize(
    ("unit", "doubt", "outcome", "concluded"),
    [
        ("before", False, NO, _R),
        ("before", False, UNREACHABLE, _R),
        ("before", False, DOUBT, _U),
        ("before", True, NO, _U),
        ("before", True, DECLARED_NO, _R),
        ("before", True, UNREACHABLE, _U),
        ("pivot", False, NO, _R),
        ("pivot", False, UNREACHABLE, _R),
        ("pivot", False, DOUBT, _P),
        ("pivot", True, NO, _P),
        ("pivot", True, DECLARED_NO, _R),
        ("pivot", True, UNREACHABLE, _P),
        ("after", False, NO, _R),
        ("after", False, DECLARED_NO, _R),
        ("after", False, UNREACHABLE, _R),
        ("after", False, DOUBT, _P),
        ("after", True, NO, _P),
        ("after", True, DECLARED_NO, _R),
        ("strict", False, NO, _P),
        ("strict", False, DECLARED_NO, _P),
        ("strict", False, UNREACHABLE, _P),
        ("strict", True, DECLARED_NO, _P),
    ],
)
def test_where_no_attempt_is_left_the_step_is_concluded(
    unit: str,
    doubt: bool,  # noqa: FBT001 - a parameter
    outcome: Outcome,
    concluded: type[Entry],
) -> None:
    """Refused for certain, uncertain, or parked; behind the pivot tolerated where the definition says so."""
    attempt, conclusion = settled(at(unit, doubt=doubt), unit, outcome)

    assert isinstance(conclusion, concluded)
    assert getattr(attempt, "next_at", None) is None
    assert getattr(conclusion, "tolerated", False) is (unit == "after" and concluded is _R)
    if isinstance(conclusion, e.StepParked):
        certain = isinstance(outcome, Refused) and outcome.declared
        in_doubt = (doubt and not certain) or isinstance(outcome, Uncertain)
        assert conclusion.status == ("uncertain" if in_doubt else "refused")
        assert (conclusion.cause == "uncertain") is in_doubt


def test_a_success_has_the_attempt_and_the_size_of_its_output() -> None:
    """The whole body, where no output is given."""
    (done,) = settled(at("before"), "before", yes({"id": 1}))

    assert isinstance(done, e.StepSucceeded)
    assert (done.attempt, done.output, done.size) == (1, {"id": 1}, 8)


def test_an_output_at_its_limit_is_kept_and_one_byte_more_is_not() -> None:
    """256 KB as JSON."""
    limit = 256 * 1024
    (kept,) = settled(at("before"), "before", yes("x" * (limit - 2)))
    (dropped,) = settled(at("before"), "before", yes("x" * (limit - 1)))
    assert isinstance(kept, e.StepSucceeded)
    assert isinstance(dropped, e.StepSucceeded)
    assert (kept.oversized, kept.size) == (False, limit)
    assert (dropped.oversized, dropped.size, dropped.output) == (True, 0, None)

    done, parked = settled(at("pivot"), "pivot", yes("x" * limit))
    assert isinstance(done, e.StepSucceeded)
    assert isinstance(parked, e.StepParked)
    assert (parked.status, parked.cause) == ("succeeded", "size")


def test_retry_after_is_honoured_up_to_the_longest_wait() -> None:
    """Not executed or uncertain."""
    patient = defined(step("a", action=call(retry={"initial": "1s", "max": "10s"})))
    state = journal(patient).has(invoked("a")).state
    for outcome in (
        NotExecuted(detail="429", retry_after=7.0),
        Uncertain(detail="503", retry_after=7.0),
        NotExecuted(detail="429", retry_after=9999.0),
    ):
        (attempt,) = settle(patient, state, "a", "action", outcome, START, attempt=1)
        wait = attempt.next_at - START  # type: ignore[attr-defined]
        assert wait == 10 if outcome.retry_after == 9999.0 else 7 <= wait <= 8.75


def test_a_promise_has_its_timeout_and_its_address() -> None:
    """And ends the attempt."""
    (promised,) = settled(at("before"), "before", Pending(location="http://127.0.0.1:1/status"))

    assert isinstance(promised, e.AttemptPending)
    assert (promised.until, promised.location) == (START + 60 + 900, "http://127.0.0.1:1/status")


def test_too_early_keeps_the_end_of_its_patience() -> None:
    """Counted from the first time, not from the last."""
    moment = at("before")
    (first,) = settled(moment, "before", Deferred())
    assert isinstance(first, e.AttemptDeferred)
    moment.has(first, invoked("before", 1))
    (second,) = settle(BOOKING, moment.state, "before", "action", Deferred(), START + 500, attempt=1)

    assert isinstance(second, e.AttemptDeferred)
    assert second.until == first.until


def test_an_attempt_that_was_lost_is_in_doubt_and_may_be_sent_again_at_once() -> None:
    """Unless its time is over, or nothing more is sent."""
    (attempt,) = lost(BOOKING, at("before").state, "before", "action", START + 60)
    assert isinstance(attempt, e.AttemptUncertain)
    assert (attempt.lost, attempt.detail, attempt.next_at) == (True, "coordinator-lost", START + 60)

    attempt, parked = lost(BOOKING, at("strict").state, "strict", "action", START + 60)
    assert isinstance(attempt, e.AttemptUncertain)
    assert isinstance(parked, e.StepParked)
    assert lost(BOOKING, journal(BOOKING).state, "before", "action", START) == ()


def test_a_promise_given_up_is_sent_again_only_where_it_must_be_done() -> None:
    """Up to the pivot the participant has it."""
    patient = defined(step("a"), step("p", pivot=True), step("e", no_undo=True))
    for unit, before in (("a", ()), ("p", ("a",)), ("e", ("a", "p"))):
        moment = journal(patient)
        for name in before:
            moment.has(invoked(name), succeeded(name))
        moment.has(
            invoked(unit), e.AttemptPending(at=START, step=unit, phase="action", attempt=1, until=START + 9)
        )
        attempt, *concluded = expired(patient, moment.state, unit, "action", START + 9)
        assert isinstance(attempt, e.AttemptUncertain)
        assert (attempt.next_at is None, len(concluded)) == ((True, 1) if unit == "a" else (False, 0))


def test_nothing_settles_what_is_settled() -> None:
    """Whatever comes, from wherever."""
    moment = at("before").has(succeeded("before"))
    for outcome in (NO, DOUBT, UNREACHABLE, yes(2)):
        for attempt in (1, None):
            (late,) = settle(BOOKING, moment.state, "before", "action", outcome, START, attempt=attempt)
            assert isinstance(late, e.LateAnswer)
    assert settle(BOOKING, moment.state, "before", "action", Pending(), START, attempt=1) == ()
    assert settle(BOOKING, moment.state, "before", "action", Deferred(), START, attempt=1) == ()


def test_a_child_that_was_made_is_recorded_once() -> None:
    """And not when its end was heard of before."""
    moment = journal(BOOKING).has(invoked("before", via="child"))
    (made,) = child_started(moment.state, "before", "action", 1, "s1.before", START)
    moment.has(made)

    assert child_started(moment.state, "before", "action", 1, "s1.before", START) == ()
