"""Reading documents that come from outside: YAML or JSON text becomes a JSON value, or a list of problems.

Strict, because what is read decides about money: duplicate keys, numbers that are not finite, text that is
no Unicode and whatever is not JSON are refused. Integers are kept exactly, whatever their size up to
:data:`~saga.language.json_values.MAX_DIGITS` digits. Nothing but the given error is ever raised, whatever the bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn, TypeAlias

from saga.errors import DefinitionInvalid, InputInvalid, Problem
from saga.language.json_values import MAX_DIGITS, compact, is_encodable
from saga.language.pointers import escape
from saga.language.words import shortened, shown

#: Largest document, in bytes.
MAX_BYTES = 1_048_576
#: Deepest nesting of arrays and objects.
MAX_DEPTH = 64
#: Most faults that are listed.
MAX_FAULTS = 100
#: Most values, members of objects and elements of arrays included.
MAX_NODES = 50_000

_HUGE = 10**MAX_DIGITS
_TOO_LONG = f"a number has more than {MAX_DIGITS:,} digits: write it as text"
_HALF = "half of a surrogate pair stands here, which is no Unicode text"

Lines: TypeAlias = Mapping[str, int]


def read_document(
    text: bytes | str,
    *,
    yaml: bool,
    error: type[DefinitionInvalid | InputInvalid] = DefinitionInvalid,
) -> tuple[Any, Lines]:
    """Return the JSON value of a text, and the line (from 1) of each JSON pointer in it.

    The lines of JSON are found only when one is asked for.

    Raises:
        DefinitionInvalid: with every problem that was found, each with its line; or ``error``, if given.
    """
    try:
        decoded = _decoded(text)
        return _read_yaml(decoded) if yaml else _read_json(decoded)
    except Unreadable as unreadable:
        raise error(unreadable.problems) from None


class Unreadable(Exception):
    """A text is no document; carries its problems within this module and the YAML reader."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__()
        self.problems = problems


def refuse(detail: str, at: str = "", line: int | None = None) -> NoReturn:
    """Give up on a text for one reason."""
    raise Unreadable(Problem(pointer=at, detail=detail, line=line))


def _decoded(text: bytes | str) -> str:
    if len(text) > MAX_BYTES:
        refuse(_too_large())
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            refuse("the text is not UTF-8: save it as UTF-8", line=line)
    elif not is_encodable(text):
        refuse(_HALF)
    return text.removeprefix("\ufeff")


def _too_large() -> str:
    return f"the document is larger than {MAX_BYTES:,} bytes"


def _read_yaml(text: str) -> tuple[Any, Lines]:
    # Imported here because a program that reads no YAML should not have to load it.
    from saga.language.yaml_text import read_yaml  # noqa: PLC0415

    value, lines = read_yaml(text)
    _refuse_unless_json(value, lines)
    return value, lines


# JSON


class _Pairs(dict[str, Any]):
    """An object as read, with the keys that stood in it more than once."""

    repeated: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    found = _Pairs(members)
    seen: set[str] = set()
    found.repeated = tuple(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return found


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        refuse(_TOO_LONG)
    return int(text)


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        refuse(f"{shortened(text)} is larger than any number that can be stored: write it as text")
    return number


def _constant(text: str) -> NoReturn:
    refuse(f"{text} is no number in JSON: write null or text")


def _read_json(text: str) -> tuple[Any, Lines]:
    _check_brackets(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_pairs, parse_int=_integer, parse_float=_real, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        fault = _trailing_comma(text, error.pos) or error
        refuse(f"this is not JSON: {fault.msg} (column {fault.colno})", line=fault.lineno)
    except RecursionError:
        refuse(_too_deep())
    lines = JsonLines(text)
    _refuse_unless_json(value, lines)
    return value, lines


#: Deepest nesting that the parser is given. It recurses, and how far Python lets it, and on how much stack, differs
#: from version to version.
_PARSED_DEPTH = 4 * MAX_DEPTH
_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
_BLANK = " \t\n\r"


def _check_brackets(text: str) -> None:
    """Refuse nesting before the parser recurses into it."""
    if text.count("[") + text.count("{") <= _PARSED_DEPTH:
        return
    depth = 0
    for piece in _BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(piece[0], 0)
        if depth > _PARSED_DEPTH:
            refuse(_too_deep(), line=text.count("\n", 0, piece.start()) + 1)


def _trailing_comma(text: str, at: int) -> json.JSONDecodeError | None:
    """Return the error of a comma before a closing bracket; Python tells it as such from 3.13 on, and there."""
    before = text[:at].rstrip(_BLANK)
    if text[at : at + 1] in ("]", "}") and before.endswith(","):
        at = len(before) - 1
    closing = text[at + 1 :].lstrip(_BLANK)[:1]
    if text[at : at + 1] != "," or closing not in ("]", "}"):
        return None
    return json.JSONDecodeError(f"a comma stands before the closing {closing}: remove it", text, at)


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]|[^\s{}\[\],:"]+|\n')


class JsonLines(Mapping[str, int]):
    """The line of each pointer of a JSON text, found when the first one is asked for."""

    def __init__(self, text: str) -> None:
        self._text: str | None = text
        self._lines: dict[str, int] = {}

    def _found(self) -> dict[str, int]:
        if self._text is not None:
            self._lines, self._text = _json_lines(self._text), None
        return self._lines

    def __getitem__(self, key: str) -> int:
        """Return the line on which what the pointer names begins; a member begins with its name."""
        return self._found()[key]

    def __iter__(self) -> Iterator[str]:
        """Iterate over every pointer there is."""
        return iter(self._found())

    def __len__(self) -> int:
        """Return how many pointers there are."""
        return len(self._found())


def _json_lines(text: str) -> dict[str, int]:
    """Go through a text that is known to be JSON."""
    lines: dict[str, int] = {}
    line = 1
    # Of each open array or object its pointer, and whether it is an array.
    holders: list[tuple[str, bool]] = []
    at, counts = "", [0]
    expect_key = False
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece == "\n":
            line += 1
        elif piece in "{[":
            lines.setdefault(at, line)
            holders.append((at, piece == "["))
            counts.append(0)
            at, expect_key = (f"{at}/0", False) if piece == "[" else (at, True)
        elif piece in "}]":
            at = holders.pop()[0]
            counts.pop()
            expect_key = False
        elif piece == ",":
            holder, is_array = holders[-1]
            counts[-1] += 1
            at, expect_key = (f"{holder}/{counts[-1]}", False) if is_array else (holder, True)
        elif expect_key:
            at, expect_key = f"{holders[-1][0]}/{escape(json.loads(piece))}", False
            lines[at] = line
        else:
            lines.setdefault(at, line)
    return lines


# is it JSON?


def check_json(value: object) -> tuple[Problem, ...]:
    """Return what keeps a value from being a document: too large, too deep, not JSON.

    For values made in Python; :func:`read_document` gives none that would fail.
    """
    try:
        _refuse_unless_json(value, {})
        if len(compact(value).encode()) > MAX_BYTES:
            refuse(_too_large())
    except Unreadable as unreadable:
        return unreadable.problems
    return ()


def _too_deep() -> str:
    return f"the document is nested deeper than {MAX_DEPTH} levels"


def _refuse_unless_json(value: object, lines: Lines) -> None:
    found = list(islice(_faults(value), MAX_FAULTS))
    if found:
        raise Unreadable(*(Problem(pointer=at, detail=detail, line=lines.get(at)) for at, detail in found))


def _faults(value: object) -> Iterator[tuple[str, str]]:
    """Yield what is not JSON in a value, each with its pointer; without recursion, and bounded."""
    stack: list[tuple[object, str, int]] = [(value, "", 0)]
    count = 0
    while stack:
        item, at, depth = stack.pop()
        count += 1
        deep = depth >= MAX_DEPTH and isinstance(item, dict | list)
        if deep or count > MAX_NODES:
            yield at, _too_deep() if deep else f"the document has more than {MAX_NODES:,} values"
            return
        if isinstance(item, dict):
            yield from _key_faults(item, at)
            stack.extend((member, f"{at}/{escape(str(key))}", depth + 1) for key, member in item.items())
        elif isinstance(item, list):
            stack.extend((element, f"{at}/{index}", depth + 1) for index, element in enumerate(item))
        elif fault := _scalar_fault(item):
            yield at, fault


def _key_faults(item: dict[Any, Any], at: str) -> Iterator[tuple[str, str]]:
    for key in item:
        if not isinstance(key, str):
            yield at, f"the key {shown(key)} is not text"
        elif not key.isascii() and not is_encodable(key):
            yield at, _HALF
    if isinstance(item, _Pairs):
        for key in item.repeated:
            yield f"{at}/{escape(key)}", f"the key {shown(key)} stands here more than once: keep one"


def _scalar_fault(item: object) -> str | None:
    if isinstance(item, str):
        return None if item.isascii() or is_encodable(item) else _HALF
    if isinstance(item, float):
        return None if math.isfinite(item) else "a number is finite in JSON: write null or text"
    if isinstance(item, int):
        return None if abs(item) < _HUGE else _TOO_LONG
    return None if item is None else f"a {type(item).__name__} is not JSON"
