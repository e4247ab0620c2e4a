"""How long to wait before the next attempt: pure functions of the policy, the try and a seed.

Durations are seconds as ``float``, times epoch seconds (UTC). Jitter is a hash of the seed, so that a
replay computes the same wait and no two invocations share one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, Protocol

#: A wait is spread over this part of it to either side: 0.25 is ±25 %.
SPREAD: Final = 0.25

#: Nine digits are 31 years; a longer number is nonsense, and a bounded one cannot overflow.
_SECONDS: Final = re.compile(r"[0-9]{1,9}")

_DAY: Final = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY: Final = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME: Final = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"

#: The three forms of RFC 9110 section 5.6.7; names of days and months are case-sensitive there.
_DATES: Final = (
    re.compile(f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(f"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(f"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


class Backoff(Protocol):
    """The part of a retry policy that says how long to wait."""

    @property
    def initial(self) -> float:
        """Seconds before the second try."""

    @property
    def factor(self) -> float:
        """What each further wait is multiplied by."""

    @property
    def max(self) -> float:
        """Seconds no wait exceeds."""


def jitter(seed: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the text."""
    digest = blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # 53 bits are what a float holds exactly: with all 64 the largest digests would round up to 1.0.
    return (int.from_bytes(digest) >> 11) / (1 << 53)


def base_delay(retry: Backoff, tries: int) -> float:
    """Return the seconds to wait after so many tries (from 1), before jitter: never over ``retry.max``."""
    try:
        grown = float(retry.initial) * float(retry.factor) ** (max(tries, 1) - 1)
    except OverflowError:
        # Only the power overflows, so the wait is past any maximum, unless there is no wait at all.
        grown = float(retry.max) if retry.initial else 0.0
    return min(float(retry.max), grown)


def delay(retry: Backoff, tries: int, *, seed: str, retry_after: float | None) -> float:
    """Return the seconds to wait after so many tries (from 1), jitter and Retry-After included.

    The wait is spread by ±25 %, and never exceeds ``retry.max``. It is not shorter than ``retry_after``
    (seconds, from :func:`parse_retry_after`), which in turn counts up to ``retry.max``.
    """
    wait, spot = base_delay(retry, tries), jitter(seed)
    wait = _between((1 - SPREAD) * wait, min((1 + SPREAD) * wait, float(retry.max)), spot)
    if retry_after is None or not retry_after > wait:  # also true of NaN
        return wait
    asked = min(retry_after, float(retry.max))
    # Everyone who was told the same time would come back in the same instant: spread them after it.
    return max(wait, _between(asked, min((1 + SPREAD) * asked, float(retry.max)), spot))


def _between(low: float, high: float, spot: float) -> float:
    # Rounding may carry the sum past its end by one unit in the last place; the end is a promise.
    return min(high, low + (high - low) * spot)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds a ``Retry-After`` asks for (RFC 9110 section 10.2.3), None when it is nonsense.

    The value is a number of seconds in ASCII digits or a date in one of the three forms of HTTP; a date
    that has passed is 0. ``now`` is epoch seconds.
    """
    if value is None:
        return None
    text = value.strip(" \t")
    if _SECONDS.fullmatch(text):
        return float(text)
    at = _http_date(text, now)
    return None if at is None else max(0.0, at - now)


def _http_date(text: str, now: float) -> float | None:
    for form in _DATES:
        if found := form.fullmatch(text):
            return _epoch(found, now)
    return None


def _epoch(found: re.Match[str], now: float) -> float | None:
    year, second = int(found["year"]), int(found["second"])
    if second > 60:
        return None
    try:
        if len(found["year"]) == 2:
            year = _full_year(year, datetime.fromtimestamp(now, UTC).year)
        at = datetime(
            year,
            _MONTHS.index(found["month"]) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            min(second, 59),
            tzinfo=UTC,
        )
    except (ValueError, OverflowError):  # the thirty-second of a month, the year 0
        return None
    return at.timestamp() + (second == 60)  # a leap second is legal in the grammar


def _full_year(year: int, this_year: int) -> int:
    """Return the year two digits mean: more than 50 years ahead is the past (RFC 9110 section 5.6.7)."""
    year += this_year - this_year % 100
    return year - 100 if year > this_year + 50 else year
