"""What a JSON value is, and how it is written."""

from __future__ import annotations

import json
import math

#: Python refuses to convert longer integers by default, as the time it takes is quadratic.
MAX_DIGITS = 4300


def compact(value: object) -> str:
    """Return a JSON value as JSON text without spaces, members in their order, not limited to ASCII.

    Raises:
        ValueError: a number in it is not finite or has too many digits.
        TypeError: something in it is not JSON.
        RecursionError: it is nested too deep.
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def is_json(value: object) -> bool:
    """Return whether a value is JSON and can be sent: finite numbers, text without lone surrogates."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item)
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif not _is_scalar(item):
            return False
    return True


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() or is_encodable(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int)


def is_encodable(text: str) -> bool:
    """Return whether a text can be sent as UTF-8; one with a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
