"""What a call costs in CPU time, whatever else the machine does: measured against something known."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from functools import cache


def cpu(call: Callable[[], object], times: int = 3) -> float:
    """Return the seconds of CPU that a call takes in this thread: the least of several."""

    def once() -> float:
        # A collection that falls due meanwhile goes through all that the tests have made.
        gc.disable()
        try:
            began = time.thread_time()
            call()
            return time.thread_time() - began
        finally:
            gc.enable()

    return min(once() for _ in range(times))


@cache
def unit() -> float:
    """Return the seconds of CPU in which the standard library reads a megabyte of JSON with 49,000 members."""
    text = json.dumps({f"name{number}": "x" * 8 for number in range(49_000)})
    return cpu(lambda: json.loads(text), times=5)


def units(call: Callable[[], object]) -> float:
    """Return how many such readings a call costs, tried once."""
    return cpu(call, times=1) / unit()
