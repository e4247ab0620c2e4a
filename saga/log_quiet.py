"""Keeps the log from becoming a flood: an hour of a store that is down leaves a few kilobytes.

A store that is away, or a participant, would say the same thing thousands of times a second. Lines are of one kind
when they are alike before their arguments are filled in.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

#: Lines of one kind that are written in its first period.
BURST: Final = 5
#: Seconds of a first period. While a kind goes on, each period is twice as long as the last, and lets one line through.
PERIOD: Final = 30.0
#: Seconds of the longest one.
LONGEST: Final = 600.0
#: Lines of all kinds together that are written in :data:`PERIOD`.
ALL: Final = 100
#: Kinds that are remembered; a library that makes its texts up could bring any number.
KINDS: Final = 1_000


@dataclass(slots=True)
class _Seen:
    """One kind, or all of them, in the period that is running."""

    began: float
    period: float
    allowed: int
    written: int = 0
    held_back: int = 0

    def is_over(self, now: float) -> bool:
        # A clock that was set back begins a new one, else it would be quiet until it has caught up.
        return not self.began <= now < self.began + self.period


class Quiet(logging.Filter):
    """Lets the first lines of a kind through, and fewer the longer it goes on; the next says how many were held back."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], _Seen] = {}
        self._all = _Seen(0.0, PERIOD, ALL)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written; one that is carries as ``held_back`` how many of its kind were not."""
        now, key = record.created, (record.name, str(record.msg))
        seen = self._kinds.pop(key, None)
        seen = _Seen(now, PERIOD, BURST) if seen is None else _next(seen, now)
        self._kinds[key] = seen  # last: the one that was silent longest is forgotten first
        if len(self._kinds) > KINDS:
            del self._kinds[next(iter(self._kinds))]
        if seen.written >= seen.allowed or not self._has_room(record, now):
            seen.held_back += 1
            return False
        seen.written += 1
        if seen.held_back:
            record.held_back = seen.held_back
            seen.held_back = 0
        return True

    def _has_room(self, record: logging.LogRecord, now: float) -> bool:
        """Count a line among all; the last words of a process are always heard."""
        if self._all.is_over(now):
            self._all = _Seen(now, PERIOD, ALL)
        self._all.written += 1
        return self._all.written <= ALL or record.levelno >= logging.CRITICAL


def _next(seen: _Seen, now: float) -> _Seen:
    """Return the period that is running now: a longer one after one that had more to say than it was let."""
    if not seen.is_over(now):
        return seen
    if not seen.held_back or now >= seen.began + seen.period + LONGEST:
        return _Seen(now, PERIOD, BURST, held_back=seen.held_back)
    return _Seen(now, min(2 * seen.period, LONGEST), 1, held_back=seen.held_back)
