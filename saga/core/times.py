"""Times as everybody is shown them: RFC 3339 in UTC, with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def timestamp(seconds: float) -> str:
    """Return epoch seconds as text.

    >>> timestamp(1767225600.25)
    '2026-01-01T00:00:00.250Z'
    """
    second, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{_second(second)}.{milliseconds:03}Z"


@lru_cache(
    maxsize=1024
)  # hundreds of sagas begin, and hundreds of attempts have their deadlines, in the same second
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()[:-6]
