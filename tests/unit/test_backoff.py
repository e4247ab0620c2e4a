"""How long to wait: what Retry-After may say, and what a policy makes of it."""

from __future__ import annotations

from calendar import timegm
from dataclasses import dataclass
from typing import Final

import pytest
from tenacity import RetryCallState, Retrying, wait_exponential

from saga.core.backoff import base_delay, delay, jitter, parse_retry_after

#: 6 November 1994, 08:49:37 UTC, the moment RFC 9110 writes in three ways.
THEN: Final = float(timegm((1994, 11, 6, 8, 49, 37)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A retry policy, seconds."""

    initial: float = 0.2
    factor: float = 2
    max: float = 10.0


# --------------------------------------------------------------------------- Retry-After


@pytest.mark.parametrize(("value", "seconds"), [("0", 0.0), ("120", 120.0), (" 7\t", 7.0), ("007", 7.0)])
def test_seconds_are_taken(value: str, seconds: float) -> None:
    """ASCII digits, with the white space a header may have around them."""
    assert parse_retry_after(value, THEN) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_dates_are_taken_in_all_three_forms(value: str) -> None:
    """RFC 9110 section 5.6.7: the current form and the two that are obsolete."""
    assert parse_retry_after(value, THEN - 90) == 90.0


def test_a_date_that_has_passed_is_now() -> None:
    """A wait is never negative."""
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", THEN + 1) == 0.0


def test_two_digits_of_a_year_are_the_nearest_past_or_the_next_fifty_years() -> None:
    """RFC 9110 section 5.6.7: what seems to be more than 50 years ahead is the past."""
    in_2026 = float(timegm((2026, 1, 1, 0, 0, 0)))
    ahead = parse_retry_after("Wednesday, 01-Jan-76 00:00:00 GMT", in_2026)
    assert ahead == timegm((2076, 1, 1, 0, 0, 0)) - in_2026
    assert parse_retry_after("Saturday, 01-Jan-77 00:00:00 GMT", in_2026) == 0.0


def test_a_leap_second_is_a_second() -> None:
    """The grammar of HTTP dates has one."""
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:60 GMT", THEN) == 23.0


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "nan",
        "inf",
        "Infinity",
        "-5",
        "+5",
        "1.5",
        "1e3",
        "²",
        "1_000",
        "٣",
        "①",
        "0x10",
        "5 s",
        "5, 10",
        "9999999999",
        "9" * 5000,
        "soon",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0100",
        "sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
    ],
)
def test_nonsense_is_nothing(value: str | None) -> None:
    """What Python's own conversions would take, or sleep on for ever, is as good as absent."""
    assert parse_retry_after(value, THEN) is None


# --------------------------------------------------------------------------- waits


def test_a_wait_grows_by_its_factor_up_to_the_maximum() -> None:
    """The first try is followed by ``initial``."""
    waits = [base_delay(Policy(), tries) for tries in range(1, 9)]
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


@pytest.mark.parametrize("policy", [Policy(), Policy(initial=0.5, factor=3, max=300), Policy(factor=1)])
def test_the_base_is_that_of_tenacity(policy: Policy) -> None:
    """An independent implementation agrees, try by try."""
    theirs = wait_exponential(multiplier=policy.initial, exp_base=policy.factor, max=policy.max)
    state = RetryCallState(Retrying(), None, (), {})
    for tries in range(1, 60):
        state.attempt_number = tries
        assert base_delay(policy, tries) == pytest.approx(theirs(state))


@pytest.mark.parametrize("factor", [2, 2.0, 1.0000001, 1e300])
def test_a_wait_after_very_many_tries_is_the_maximum(factor: float) -> None:
    """Neither an overflow nor a number of a million digits."""
    assert base_delay(Policy(factor=factor), 10**9) == 10.0


def test_no_initial_wait_is_no_wait() -> None:
    """Zero stays zero, however often it is multiplied."""
    assert delay(Policy(initial=0.0), 10**9, seed="s", retry_after=None) == 0.0


def test_jitter_is_of_the_seed_alone() -> None:
    """A replay computes the wait it computed before; another invocation has another."""
    policy = Policy()
    assert delay(policy, 3, seed="a", retry_after=None) == delay(policy, 3, seed="a", retry_after=None)
    assert delay(policy, 3, seed="a", retry_after=None) != delay(policy, 3, seed="b", retry_after=None)
    assert jitter("saga:step:action:1") == pytest.approx(0.4945166277891969)


def test_jitter_spreads_evenly() -> None:
    """Of ten thousand seeds a tenth falls into each tenth, give or take."""
    spots = [jitter(f"saga-{number}") for number in range(10_000)]
    tenths = [sum(1 for spot in spots if low <= spot * 10 < low + 1) for low in range(10)]
    assert all(850 < tenth < 1150 for tenth in tenths)


def test_waits_at_the_maximum_are_spread_too() -> None:
    """An outage ends for all at once; they do not come back at once."""
    waits = {delay(Policy(), 50, seed=str(number), retry_after=None) for number in range(100)}
    assert len(waits) == 100
    assert 7.5 <= min(waits) <= max(waits) <= 10.0


def test_retry_after_is_honoured() -> None:
    """Not earlier than asked, and not all in the same instant."""
    waits = {delay(Policy(), 1, seed=str(number), retry_after=4.0) for number in range(100)}
    assert len(waits) == 100
    assert 4.0 <= min(waits) <= max(waits) <= 5.0


@pytest.mark.parametrize("asked", [10.0, 86_400.0, float("inf")])
def test_retry_after_counts_up_to_the_maximum(asked: float) -> None:
    """A participant cannot put a saga to sleep for longer than the policy says."""
    assert delay(Policy(), 1, seed="s", retry_after=asked) == 10.0


@pytest.mark.parametrize("asked", [0.0, 0.01, -1.0, float("nan"), None])
def test_a_retry_after_that_is_shorter_changes_nothing(asked: float | None) -> None:
    """The policy's own wait is the least."""
    alone = delay(Policy(), 4, seed="s", retry_after=None)
    assert delay(Policy(), 4, seed="s", retry_after=asked) == alone
