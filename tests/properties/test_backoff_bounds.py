"""Whatever a policy and a participant say, a wait is finite, bounded and the same again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from saga.core.backoff import delay, jitter, parse_retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A retry policy, seconds."""

    initial: float
    factor: float
    max: float


policies = st.builds(
    Policy,
    initial=st.floats(0, 1e6),
    factor=st.floats(1, 1e6),
    max=st.floats(0, 1e9),
)
seconds = st.none() | st.floats(allow_nan=True, allow_infinity=True)
moments = st.integers(0, 253_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(policies, st.integers(1, 10**12), st.text(), seconds)
def test_a_wait_is_between_nothing_and_the_maximum(
    policy: Policy, tries: int, seed: str, asked: float | None
) -> None:
    """Never negative, never NaN, never over the policy's maximum."""
    assert 0 <= delay(policy, tries, seed=seed, retry_after=asked) <= policy.max


@given(policies, st.integers(1, 10**6), st.text(), st.floats(0, 1e12))
def test_a_wait_is_never_shorter_than_asked(policy: Policy, tries: int, seed: str, asked: float) -> None:
    """Unless the policy's maximum is."""
    assert delay(policy, tries, seed=seed, retry_after=asked) >= min(asked, policy.max)


@given(policies, st.integers(1, 10**6), st.text(), st.floats(0, 1e12))
def test_asking_never_shortens_a_wait(policy: Policy, tries: int, seed: str, asked: float) -> None:
    """Retry-After only ever adds."""
    alone = delay(policy, tries, seed=seed, retry_after=None)
    assert delay(policy, tries, seed=seed, retry_after=asked) >= alone


@given(st.text())
def test_jitter_is_a_fraction(seed: str) -> None:
    """In [0, 1), and the same for the same text."""
    assert 0 <= jitter(seed) < 1
    assert jitter(seed) == jitter(seed)


@given(st.text() | st.text("0123456789 ,:-+.eGMTJanSun"), st.floats(0, 1e10))
def test_any_text_is_a_bounded_wait_or_none(value: str, now: float) -> None:
    """No header raises, and none asks for a wait without end."""
    parsed = parse_retry_after(value, now)
    assert parsed is None or 0 <= parsed < 1e12


@given(moments, moments)
def test_every_date_the_standard_library_writes_is_read(at: datetime, now: datetime) -> None:
    """To the second."""
    parsed = parse_retry_after(format_datetime(at, usegmt=True), now.timestamp())
    assert parsed == max(0.0, at.timestamp() - now.timestamp())
