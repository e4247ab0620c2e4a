"""JSON pointers (RFC 6901): where in a document something stands."""

from __future__ import annotations

import re

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
    """Say whether a text is a JSON pointer: empty, or parts that each begin with a slash."""
    return _POINTER.fullmatch(text) is not None


def parent(text: str) -> str:
    """Return the pointer one part shorter; the parent of "" is ""."""
    return text.rpartition("/")[0]
