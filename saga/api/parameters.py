"""Parameters of queries and headers: each is said once, and read and described from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

from aiohttp import web

from saga.api.problems import invalid
from saga.api.refusal import Refusal
from saga.errors import Problem
from saga.language.durations import DURATION, parse_duration

#: Items of a page when nothing is asked, and at most.
LIMIT: Final = 50
MOST: Final = 200
#: Largest number of a version or an entry.
LARGEST: Final = 2**31 - 1

T = TypeVar("T")

#: The values of a query by name.
Given: TypeAlias = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """One named text of a request, and what it may be."""

    name: str
    #: What it is for.
    says: str
    #: JSON Schema of its values.
    schema: Mapping[str, Any]
    #: Makes a value of the text; raises ValueError with what it must be.
    parse: Callable[[str], T]

    def of(self, query: Given) -> T | None:
        """Return its value in a query, None when it is not given."""
        text = self.text(query)
        if text is None:
            return None
        try:
            return self.parse(text)
        except ValueError as error:
            raise self.refused(str(error)) from None

    def text(self, query: Given) -> str | None:
        """Return its text, which may be given once."""
        values = query.get(self.name)
        if values is None:
            return None
        if len(values) > 1:
            raise self.refused("is given more than once")
        return values[0]

    def refused(self, detail: str) -> Refusal:
        """Return the refusal of its value."""
        return bad_parameter(self.name, detail)


#: The parameters a route knows, by name; None: known, but not in this release.
Parameters: TypeAlias = Mapping[str, Parameter[Any] | None]
NO_PARAMETERS: Final[Parameters] = {}


def known(*parameters: Parameter[Any], later: Iterable[str] = ()) -> Parameters:
    """Return parameters by name, with the names of those that a later release takes."""
    return {each.name: each for each in parameters} | dict.fromkeys(later)


# kinds of parameters


def whole(name: str, says: str, least: int, most: int = LARGEST) -> Parameter[int]:
    """Return a parameter that is a whole number."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"must be a whole number from {least} to {most:,}")

    return Parameter(name, says, {"type": "integer", "minimum": least, "maximum": most}, parse)


def flag(name: str, says: str) -> Parameter[bool]:
    """Return a parameter that is true or false."""

    def parse(text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError("must be true or false")
        return text == "true"

    return Parameter(name, says, {"type": "boolean"}, parse)


def span(name: str, says: str, most: float) -> Parameter[float]:
    """Return a parameter that is a duration."""

    def parse(text: str) -> float:
        seconds = parse_duration(text)
        if seconds > most:
            raise ValueError(f"is at most {most:g}s")
        return seconds

    return Parameter(name, says, {"type": "string", "pattern": f"^{DURATION}$"}, parse)


def words(name: str, says: str, allowed: Iterable[str]) -> Parameter[frozenset[str]]:
    """Return a parameter that is one or more of some words, with commas between or given again."""
    among = tuple(allowed)

    def parse(text: str) -> frozenset[str]:
        found = frozenset(word.strip() for word in text.split(","))
        if not found <= set(among):
            raise ValueError(f"is one or more of {', '.join(among)}")
        return found

    return Parameter(name, says, {"type": "array", "items": {"type": "string", "enum": list(among)}}, parse)


def text(name: str, says: str, **schema: Any) -> Parameter[str]:
    """Return a parameter that is text."""
    return Parameter(name, says, {"type": "string"} | schema, str)


# queries


def query_of(request: web.Request, known: Parameters) -> dict[str, list[str]]:
    """Return the query's values by name; refuse names that are not known, or not in this release."""
    found: dict[str, list[str]] = {}
    for name, value in request.query.items():
        found.setdefault(name, []).append(value)
    problems = [
        Problem(pointer=f"?{name}", detail="is not in this release" if name in known else "is not known here")
        for name in found
        if known.get(name) is None
    ]
    if problems:
        raise invalid("parameter-invalid", problems)
    return found


def bad_parameter(name: str, detail: str) -> Refusal:
    """Return the refusal of one query parameter."""
    return invalid("parameter-invalid", [Problem(pointer=f"?{name}", detail=detail)])


# pages

PAGE_SIZE: Final = whole("limit", f"How many items a page has, {LIMIT} when nothing is said.", 1, MOST)
CURSOR: Final = text("cursor", "Where to go on: the `next` of the page before.")
#: Parameters of a list without filters.
PAGING: Final = known(PAGE_SIZE, CURSOR)


def foreign_cursor() -> Refusal:
    """Return the refusal of a cursor that no page gave."""
    return CURSOR.refused("is not one that a page of this list gave")


def paged(query: Given, keys: list[str], limit: int) -> tuple[list[str], str | None]:
    """Return one page of a list that is held whole, and its cursor: the key of its last item."""
    after = CURSOR.of(query)
    limit = PAGE_SIZE.of(query) or limit
    if after is not None and after not in keys:
        raise foreign_cursor()
    begin = 0 if after is None else keys.index(after) + 1
    found = keys[begin : begin + limit]
    return found, found[-1] if begin + limit < len(keys) else None
