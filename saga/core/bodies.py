"""Bodies of answers: collected within a limit, inflated, and read as JSON or text. Pure, apart from memory."""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from pydantic_core import from_json

#: Bytes of a body, inflated.
BODY_LIMIT: Final = 1024 * 1024
#: Arrays and objects within one another, in a body that is still readable.
MAX_DEPTH: Final = 64

Fault: TypeAlias = Literal["cut", "too-large", "slow"]

# collecting


class Unreadable(Exception):
    """A body that is not to be read further; ``fault`` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Fault = fault


class Collector:
    """Collect a body as it comes off the wire, inflating it, up to :data:`BODY_LIMIT`.

    ``encoding`` is the ``Content-Encoding`` or None; identity, gzip and deflate are known. No more is in
    memory than the limit and one chunk, whatever a chunk inflates to.
    """

    __slots__ = ("_encoding", "_raw", "_zlib", "read")

    def __init__(self, encoding: str | None) -> None:
        self._encoding = (encoding or "identity").strip().lower()
        self._zlib: Any = None
        self._raw = 0
        #: What was read so far, inflated; never over the limit.
        self.read = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take a chunk; raises :class:`Unreadable` past the limit, or when it does not inflate."""
        if not chunk:
            return
        self._raw += len(chunk)
        room = BODY_LIMIT - len(self.read)
        inflated = chunk if self._encoding == "identity" else self._inflate(chunk, room + 1)
        self.read += inflated[:room]
        # The second bound is for what is long and inflates to nothing.
        if len(inflated) > room or self._raw > 2 * BODY_LIMIT:
            raise Unreadable("too-large")

    def end(self) -> None:
        """Take it that all has come; raises :class:`Unreadable` when a compressed body lacks its end."""
        if self._zlib is not None and not self._zlib.eof:
            raise Unreadable("cut")

    def _inflate(self, chunk: bytes, room: int) -> bytes:
        if self._zlib is None:
            self._zlib = zlib.decompressobj(_window(self._encoding, chunk[0]))
        try:
            inflated: bytes = self._zlib.decompress(chunk, room)
        except zlib.error:
            raise Unreadable("cut") from None
        if self._zlib.unused_data:
            raise Unreadable("cut")
        return inflated


def _window(encoding: str, first: int) -> int:
    """Return zlib's name for the format; raises :class:`Unreadable` for an encoding that is not known."""
    if encoding in {"gzip", "x-gzip"}:
        return zlib.MAX_WBITS | 16
    if encoding != "deflate":
        raise Unreadable("cut")
    # RFC 9110 section 8.4.1.2: deflate is the zlib format, which begins with method 8; some send it bare.
    return zlib.MAX_WBITS if first & 0x0F == 8 else -zlib.MAX_WBITS


# reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A body as a value, or what is wrong with it."""

    value: Any = None
    #: Ends a sentence that begins with "the body"; None when it was read.
    problem: str | None = None


_NOT_JSON: Final = Read(problem="is not JSON")
_EMPTY: Final = Read()
_BOM: Final = b"\xef\xbb\xbf"

#: Without one of these no number can overflow to infinity: it needs a run of 300 digits before the point,
#: or an exponent of two digits.
_MAY_OVERFLOW: Final = re.compile(rb"[0-9][eE]\+?[0-9]{2}|[0-9]{250}")


def read_text(body: bytes) -> Read:
    """Return the body as text: any is, so what is not UTF-8 in it is replaced rather than doubted."""
    return Read(value=body.decode("utf-8", "replace"))


def read_json(body: bytes) -> Read:
    """Return the body as JSON (RFC 8259): finite numbers, no lone surrogates, at most 64 deep.

    Integers are exact, up to the 4,300 digits Python converts. A byte order mark is ignored, as section 8.1
    of the RFC allows.
    """
    text = body.removeprefix(_BOM)
    if not text.strip(b" \t\r\n"):
        return _EMPTY
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError:
        return _NOT_JSON
    # Most bodies can be seen to be sound without a walk through them.
    shallow = text.count(b"[") + text.count(b"{") <= MAX_DEPTH
    if (shallow and not _MAY_OVERFLOW.search(text)) or _is_sound(value):
        return Read(value=value)
    return Read(problem=f"holds a number beyond a double, or is nested over {MAX_DEPTH} deep")


def _is_sound(value: Any) -> bool:
    """Return whether every number is finite and nothing is nested too deep.

    ``from_json`` refuses the word ``Infinity`` but reads ``1e999`` as one.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if any(isinstance(item, float) and not math.isfinite(item) for item in level):
            return False
        inner = [item for item in level if isinstance(item, (dict, list))]
        if not inner:
            return True
        level = [member for item in inner for member in (item.values() if isinstance(item, dict) else item)]
    return False
