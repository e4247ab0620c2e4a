"""How problems speak of values: what stands there, and what could stand there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

#: What a value must be, by the type of pydantic's error.
MUST_BE: Mapping[str, str] = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "tuple_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of names to values",
    "model_attributes_type": "a mapping of names to values",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:d} or less",
    "string_too_long": "of {max_length} characters at most",
    "too_long": "of {max_length} members at most",
}
#: What a name is made of.
NAME_RULE = "must begin with a-z and go on with a-z, 0-9 or _, 64 characters at most"

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


def closest(name: str, known: Iterable[str], alike: float = 0.6) -> str | None:
    """Return what is most like a name among what is known, None when nothing is alike enough."""
    # Imported here because nothing is compared as long as nothing is wrong.
    import difflib  # noqa: PLC0415

    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=alike)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that ends a sentence, when something known is much like it; else nothing."""
    close = closest(name, known)
    return f": did you mean {close!r}?" if close is not None else ""


def not_among(value: object, expected: str) -> str:
    """Return that a value is none of those expected, which stand in quotes, and which one was probably meant."""
    allowed = re.findall("'([^']*)'", expected)
    close = closest(value, allowed, _ALIKE) if isinstance(value, str) else None
    hint = f"did you mean {close!r}? Taken are" if close is not None else "write one of"
    return f"{shown(value)} is not taken here: {hint} {expected}"
