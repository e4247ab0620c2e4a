"""Reading YAML 1.2 as another way of writing JSON; the only module that knows the YAML library.

Built on the parser's events, which are flat: what is read here neither recurses nor repeats. Aliases,
anchors, tags and several documents in one text are refused. A plain scalar is null, a boolean or a number
only where the core schema of YAML 1.2 says so (https://yaml.org/spec/1.2.2/, section 10.3.2); ``yes``,
``on``, dates and times are text, and a key is the text that is written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.tag import Tag

from saga.errors import Problem
from saga.language.documents import MAX_DEPTH, MAX_NODES, Unreadable, refuse
from saga.language.json_values import MAX_DIGITS, is_encodable
from saga.language.pointers import escape
from saga.language.words import shortened, shown

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+")
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_REAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
#: The scanner takes a time that is quadratic in the length of a tag, so long ones never reach it.
_LONG_TAG = re.compile(r"(?:^|[\s\[{,:-])!\S{255}")


class _ScalarRefused(Exception):
    """A plain scalar that would be read otherwise than it was meant."""


def read_yaml(text: str) -> tuple[Any, dict[str, int]]:
    """Return the JSON value of a YAML text, and the line of each pointer.

    Raises:
        Unreadable: with every problem that was found.
    """
    if _LONG_TAG.search(text):
        refuse("tags are not taken: remove what begins with '!'")
    builder = _Builder()
    for event in _events(text):
        builder.take(event)
    if builder.problems:
        raise Unreadable(*builder.problems)
    if not builder.documents:
        refuse("the document is empty")
    return builder.root, builder.lines


def _events(text: str) -> Iterator[Event]:
    """Yield the parser's events, its errors in our own words."""
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = "; inside [ ] or { } a text with ${…} needs quotes" if "${" in text else ""
        refuse(
            f"this is not YAML: {error.problem or error.context}{hint}",
            line=mark.line + 1 if mark is not None else None,
        )
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        # The scanner meets some malformed texts with Python's own errors instead of its own.
        refuse(f"this is not YAML: {str(error).strip().splitlines()[0] if str(error) else 'unreadable text'}")
    except RecursionError:
        refuse(f"the document is nested deeper than {MAX_DEPTH} levels")


@dataclass(slots=True)
class _Open:
    """An array or object that is being read."""

    value: list[Any] | dict[str, Any]
    pointer: str
    #: The key whose value comes next; None when a key comes next.
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    """Put events together, noting problems and going on where that makes sense."""

    root: Any = None
    documents: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    open: list[_Open] = field(default_factory=list)
    nodes: int = 0

    def take(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent):
            self._document(event)
        elif isinstance(event, NodeEvent):
            self._node(event)
        elif isinstance(event, CollectionEndEvent):
            self.open.pop()

    def _document(self, event: DocumentStartEvent) -> None:
        self.documents += 1
        if self.documents > 1:
            refuse("one text holds one document: remove what follows '---'", line=_line(event))
        if event.tags or (event.version or (1, 2)) != (1, 2):
            refuse("directives (%YAML, %TAG) are not taken: remove them", line=1)

    def _node(self, event: NodeEvent) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            refuse(f"the document has more than {MAX_NODES:,} values", line=_line(event))
        holder = self.open[-1] if self.open else None
        if holder is not None and isinstance(holder.value, dict) and holder.key is None:
            self._key(holder, event)
            return
        at = self._pointer(holder)
        self.lines.setdefault(at, _line(event))
        self._check_plain(event, at)
        value = self._value(event, at)
        self._place(holder, value)
        if isinstance(value, list | dict):
            self._descend(value, at)

    def _pointer(self, holder: _Open | None) -> str:
        if holder is None:
            return ""
        part = len(holder.value) if isinstance(holder.value, list) else escape(holder.key or "")
        return f"{holder.pointer}/{part}"

    def _place(self, holder: _Open | None, value: Any) -> None:
        if holder is None:
            self.root = value
        elif isinstance(holder.value, list):
            holder.value.append(value)
        elif holder.key is not None:
            holder.value[holder.key] = value
            holder.key = None

    def _descend(self, value: list[Any] | dict[str, Any], at: str) -> None:
        if len(self.open) >= MAX_DEPTH:
            refuse(f"the document is nested deeper than {MAX_DEPTH} levels")
        self.open.append(_Open(value, at))

    def _value(self, event: NodeEvent, at: str) -> Any:
        if isinstance(event, MappingStartEvent):
            return {}
        if isinstance(event, SequenceStartEvent):
            return []
        return self._scalar(event, at) if isinstance(event, ScalarEvent) else None

    def _scalar(self, event: ScalarEvent, at: str) -> Any:
        if event.style:
            return _paired(event.value)
        try:
            return _plain(event.value)
        except _ScalarRefused as refused:
            self._problem(at, str(refused), event)
            return None

    def _key(self, holder: _Open, event: NodeEvent) -> None:
        if not isinstance(event, ScalarEvent) or (not event.style and event.value in _NULL):
            refuse("a key is text, no list, mapping, alias or null", holder.pointer, _line(event))
        holder.key = key = _paired(event.value)
        at = self._pointer(holder)
        self._check_plain(event, at)
        if key in holder.value:
            self._problem(at, f"the key {shown(key)} stands here more than once: keep one", event)
        if key == "<<" and not event.style:
            self._problem(at, "'<<' merges nothing here: write the members out", event)
        self.lines[at] = _line(event)

    def _check_plain(self, event: NodeEvent, at: str) -> None:
        """Note an alias, an anchor or a tag."""
        if isinstance(event, AliasEvent):
            self._problem(
                at, f"aliases are not taken: write out what *{shortened(event.anchor)} stands for", event
            )
        elif event.anchor is not None:
            self._problem(at, f"anchors are not taken: remove &{shortened(event.anchor)}", event)
        tag = getattr(event, "ctag", None)  # an alias has none
        if tag is not None:
            self._problem(at, f"tags are not taken: remove {shortened(_written(tag))}", event)

    def _problem(self, at: str, detail: str, event: Event) -> None:
        self.problems.append(Problem(pointer=at, detail=detail, line=_line(event)))


def _written(tag: Tag) -> str:
    """Return a tag as it stands in the text."""
    if tag.handle:
        return f"{tag.handle}{tag.suffix}"
    return str(tag.suffix) if tag.suffix == "!" else f"!<{tag.suffix}>"


def _paired(text: str) -> str:
    """Put halves of surrogate pairs together, as JSON writes characters beyond 16 bits with escapes."""
    if text.isascii() or is_encodable(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1


def _plain(text: str) -> Any:
    """Return what a plain scalar stands for by the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _RADIX.fullmatch(text):
        return int(text, 0)
    if _NOT_FINITE.fullmatch(text):
        raise _ScalarRefused(f"{text} is no number in JSON: write null, or quote it if it is text")
    return _real(text) if _REAL.fullmatch(text) else text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    if len(digits) > MAX_DIGITS:
        raise _ScalarRefused(f"a number has more than {MAX_DIGITS:,} digits: quote it if it is text")
    if len(digits) > 1 and digits[0] == "0":
        raise _ScalarRefused(f"{text} would be read as the number {int(text)}: quote it if it is text")
    return int(text)


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _ScalarRefused(
            f"{shortened(text)} is larger than any number there can be: quote it if it is text"
        )
    return number
