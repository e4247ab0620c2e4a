"""Logs: lines on standard error, each with its time and place, and never a flood.

A store that is down, or a participant that is, would say the same thing thousands of times a second. The same line
(before its arguments are filled in) is written at most so often in a period; what was held back is counted.
"""

from __future__ import annotations

import logging
import sys

#: Lines of one kind that are written in one period; of warnings and worse, which may differ in what they name.
BURST = 5

#: Seconds a period lasts.
PERIOD = 30.0


class Quiet(logging.Filter):
    """Lets the first lines of a kind through in each period, and says afterwards how many it held back."""

    def __init__(self, burst: int = BURST, period: float = PERIOD) -> None:
        super().__init__()
        self._burst, self._period = burst, period
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written."""
        kind = (record.name, str(record.msg))
        began, count = self._seen.get(kind, (record.created, 0))
        if record.created - began >= self._period:
            held_back = count - self._burst
            if held_back > 0:
                record.msg = f"{record.msg} (and {held_back} times more in the {self._period:.0f} s before)"
            began, count = record.created, 0
        self._seen[kind] = (began, count + 1)
        return count < self._burst


def configure(level: str = "INFO") -> None:
    """Write the log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Escaped("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    handler.addFilter(Quiet())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line for every request it serves would say nothing that the journal does not.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # At other levels it writes out commands, with all that sagas hold.
    logging.getLogger("pymongo").setLevel(logging.WARNING)


class _Escaped(logging.Formatter):
    """Keeps a line one line: what comes from outside can forge none."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, control characters escaped; a traceback keeps its lines."""
        text = record.getMessage()
        if text.isprintable():
            return super().format(record)
        record.msg = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
        )
        record.args = ()
        return super().format(record)
