"""How problems speak of values: what stands there, and what could stand there."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

#: Characters of a value that are shown.
_SHOWN = 60
#: How much alike, from 0 to 1, what is written and what was probably meant are: FETCH is no PATCH.
_ALIKE = 0.7


def shown(value: object) -> str:
    """Return a value as it was written, shortened; of a list or a mapping only that it is one.

    >>> shown("FETCH"), shown(None), shown(True), shown(5), shown({"a": 1}), shown([])
    ("'FETCH'", 'null', 'true', '5', 'a mapping', 'a list')
    """
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        return repr(shortened(value))
    return shortened(json.dumps(value) if isinstance(value, bool | int | float | None) else repr(value))


def shortened(text: str) -> str:
    """Return a text, its end replaced by an ellipsis where it is long."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that ends a sentence, when something known is much like it; else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def not_among(value: object, expected: str) -> str:
    """Return that a value is none of those expected, which stand in quotes, and which one was probably meant."""
    allowed = re.findall("'([^']*)'", expected)
    close = difflib.get_close_matches(value, allowed, n=1, cutoff=_ALIKE) if isinstance(value, str) else []
    hint = f"did you mean {close[0]!r}? Taken are" if close else "write one of"
    return f"{shown(value)} is not taken here: {hint} {expected}"
