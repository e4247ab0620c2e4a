"""JSON pointers (RFC 6901): where in a document something stands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*", re.DOTALL)


def escape(name: str) -> str:
    """Return a member's name as one part of a pointer."""
    return name.replace("~", "~0").replace("/", "~1") if "~" in name or "/" in name else name


def pointer(*parts: str | int) -> str:
    """Return the pointer that leads through these members and positions.

    >>> pointer("steps", 2, "a/b")
    '/steps/2/a~1b'
    """
    return "".join(f"/{escape(str(part))}" for part in parts)


def is_pointer(text: str) -> bool:
    """Return whether a text is a JSON pointer: empty, or parts that each begin with a slash."""
    return _POINTER.fullmatch(text) is not None


def parent(text: str) -> str:
    """Return the pointer one part shorter; the parent of "" is ""."""
    return text.rpartition("/")[0]


def keys(text: str) -> list[str]:
    """Return the names and positions a pointer leads through.

    >>> keys("/steps/2/a~1b")
    ['steps', '2', 'a/b']
    """
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def is_position(key: str, array: list[Any]) -> bool:
    """Return whether a key is the position of an element."""
    return key.isascii() and key.isdigit() and int(key) < len(array)


def value_at(value: Any, path: Iterable[str], absent: Any = None) -> Any:
    """Return what stands in a JSON value behind these keys; ``absent`` when nothing does."""
    for key in path:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and is_position(key, value):
            value = value[int(key)]
        else:
            return absent
    return value
