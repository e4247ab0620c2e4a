"""Reading the text of one setting; every reader raises ``ValueError`` with how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from saga.language.durations import format_duration, parse_duration

Read: TypeAlias = Callable[[str], Any]


def store(text: str) -> str:
    """Read where sagas are kept."""
    if text == "memory://" or text.startswith(("mongodb://", "mongodb+srv://")):
        return text
    if text.startswith("sqlite:///") and text != "sqlite:///":
        return text
    raise ValueError(
        "write sqlite:///saga.db (a relative path), sqlite:////var/lib/saga.db, mongodb://host/database, or memory://"
    )


def without_credentials(address: str) -> str:
    """Return the address of a store as it may be shown: without user, password and options."""
    scheme, _, rest = address.partition("://")
    # What should have been encoded and was not may stand in a password: it ends at the last @.
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def host(text: str) -> str:
    """Read an address to listen on."""
    found = text.strip().removeprefix("[").removesuffix("]")
    if not found or not found.isascii() or any(char in found for char in "/@ "):
        raise ValueError(f"{text[:40]!r} is no address to listen on: write 127.0.0.1, ::1 or 0.0.0.0")
    return found


def number(least: int, most: int) -> Read:
    """Return a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise ValueError(f"{text[:40]!r} is no whole number from {least} to {most:,}")
        return int(text)

    return read


def duration(least: float, most: float) -> Read:
    """Return a reader of durations within bounds, in seconds."""

    def read(text: str) -> float:
        seconds = parse_duration(text)
        if not least <= seconds <= most:
            raise ValueError(f"must lie between {format_duration(least)} and {format_duration(most)}")
        return seconds

    return read


def folder(text: str) -> Path:
    """Read the path of a folder that is there."""
    path = Path(text)
    if not path.is_dir():
        raise ValueError(f"there is no folder {text!r}")
    return path


def file(text: str) -> Path:
    """Read the path of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"there is no file {text!r}")
    return path


def one_of(*words: str) -> Read:
    """Return a reader of one of some words."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be {' or '.join(words)}, not {text[:40]!r}")
        return text.lower()

    return read


def address(text: str) -> str:
    """Read an absolute address, without a slash at its end."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not host or "?" in text or "#" in text or "@" in parts.netloc:
        raise ValueError(f"{text[:80]!r} is no address: write one as in https://saga.example.com:7242")
    return text.rstrip("/")


def hosts(text: str) -> tuple[str, ...]:
    """Read names of hosts with commas between them."""
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if not names or any(not name.isascii() or "/" in name for name in names):
        raise ValueError("write host names with commas between them, or * for any")
    return names


def token(text: str) -> str:
    """Read a bearer token."""
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        raise ValueError("must be printable ASCII without spaces")
    return text


def secret(text: str) -> str:
    """Read what a header can carry."""
    if any(char in text for char in "\r\n\0"):
        raise ValueError("holds a line break, which no header can carry")
    return text
