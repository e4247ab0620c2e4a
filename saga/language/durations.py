"""Durations and times as people write them: ``250ms``, ``5s``, ``10m``, ``24h``, ``7d``, RFC 3339.

Inside the package a duration is a ``float`` of seconds, in whole milliseconds, and a time is a ``float``
of seconds since the epoch (UTC).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache

#: Milliseconds in one of each unit, longest first.
_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
#: What the text of a duration is made of.
DURATION = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|[smhd])"
_DURATION = re.compile(DURATION)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)

#: Longest duration that is taken: ten years, in seconds.
LONGEST = 3650 * 86_400.0


@lru_cache(maxsize=256)  # fractions are slow, and clients ask with the same few durations
def parse_duration(text: str) -> float:
    """Return the seconds that a text such as ``250ms`` or ``1.5h`` stands for, in whole milliseconds.

    Raises:
        ValueError: it is no duration, is finer than a millisecond, or is longer than :data:`LONGEST`.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a duration: write one as in 250ms, 5s, 10m, 24h or 7d")
    milliseconds = Fraction(match[1]) * _UNITS[match[2]]
    if milliseconds.denominator != 1:
        raise ValueError(f"{text!r} is finer than a millisecond, the smallest step of time there is")
    return checked_duration(int(milliseconds) / 1000)


def checked_duration(seconds: float) -> float:
    """Return the seconds in whole milliseconds.

    Raises:
        ValueError: they are negative, not finite, or more than :data:`LONGEST`.
    """
    if not 0 <= seconds <= LONGEST:
        raise ValueError("a duration lies between 0s and 3650d")
    return round(seconds, 3)


def format_duration(seconds: float) -> str:
    """Return the shortest exact text of a duration; days are used from two days up.

    >>> [format_duration(each) for each in (0.25, 90, 600, 86400, 604800, 0)]
    ['250ms', '90s', '10m', '24h', '7d', '0s']
    """
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    for unit, size in _UNITS.items():
        least = 2 * size if unit == "d" else size
        if milliseconds >= least and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def parse_time(text: str) -> float:
    """Return the epoch seconds (UTC, in milliseconds) of an RFC 3339 date-time, whose offset is required.

    Raises:
        ValueError: it is not such a time, or no such day exists.
    """
    if _TIME.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is not a time: write one as in 2026-03-01T09:30:00Z")
    moment = datetime.fromisoformat(text.upper().replace(" ", "T"))
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds(), 3)
