"""Reading a definition's shape: pydantic's errors in plain words, and a model to go on checking with.

A document with a wrong member is mended in a copy (the member taken out, or something harmless put in its
place), so that all other checks can still be made and a person sees every problem at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from saga.errors import Problem
from saga.language.fields import DOCUMENT
from saga.language.model import (
    Call,
    CallDefaults,
    ChildSaga,
    Defaults,
    Pending,
    Retry,
    SagaDefinition,
    Service,
    Signal,
    Step,
    Worker,
    WorkerCompensation,
)
from saga.language.pointers import parent, pointer
from saga.language.words import MUST_BE, NAME_RULE, closest, not_among, shown

_Loc: TypeAlias = tuple[str | int, ...]

#: What a member's name says about the part it stands for.
_PARTS: Mapping[str, type[BaseModel]] = {
    "action": Call,
    "retry": Retry,
    "pending": Pending,
    "worker": Worker,
    "signal": Signal,
    "saga": ChildSaga,
    "defaults": Defaults,
}
#: What stands in for a member that is missing or wrong and that the model cannot do without.
_STAND_INS: Mapping[str, Any] = {
    "name": "unnamed",
    "queue": "unnamed",
    "url": "http://unnamed.invalid",
    "compensation": "none",
    "action": {"url": "http://unnamed.invalid"},
    "worker": {"queue": "unnamed"},
    "signal": {"name": "unnamed"},
    "saga": {"name": "unnamed"},
    "wait": "1s",
    "fail": "unnamed",
    "for_each": "${input}",
    "steps": [],
}
#: Most problems that are listed; nobody mends more at once, and a hostile document could have thousands.
MAX_PROBLEMS = 100
#: Mending one member can bring out another, which was beneath it.
_ROUNDS = 5


class Shape:
    """What could be read of a document."""

    def __init__(self, definition: SagaDefinition | None, errors: list[ErrorDetails]) -> None:
        #: None when not even a mended document can be read.
        self.definition = definition
        found = dict.fromkeys((pointer(*_place(error)), _words(error)) for error in errors[:MAX_PROBLEMS])
        self.problems = tuple(Problem(pointer=at, detail=detail) for at, detail in found)
        self._wrong = frozenset(pointer(*_cleaned(error["loc"])) for error in errors)

    def covers(self, at: str) -> bool:
        """Return whether a pointer lies at or below a wrong member, so that nothing there is certain."""
        while at not in self._wrong:
            if not at:
                return False
            at = parent(at)
        return True

    def misnamed(self, document: Mapping[str, Any]) -> frozenset[str]:
        """Return the names of steps that cannot be names: what refers to them follows from that."""
        steps = document.get("steps")
        return frozenset(
            str(step["name"])
            for at, step in enumerate(steps if isinstance(steps, list) else [])
            if isinstance(step, dict) and "name" in step and pointer("steps", at, "name") in self._wrong
        )


def read_shape(document: Mapping[str, Any]) -> Shape:
    """Read a JSON object as a definition, as far as it is one."""
    found = errors = _errors(document)
    mended = copy.deepcopy(dict(document)) if errors else document
    for _round in range(_ROUNDS):
        if not errors:
            return Shape(_validated(mended), found)
        for error in reversed(errors):
            _mend(mended, _cleaned(error["loc"]), error["type"])
        errors = _errors(mended)
    return Shape(None, found)


def _validated(document: Mapping[str, Any]) -> SagaDefinition:
    return SagaDefinition.model_validate(document, context=dict(DOCUMENT))


def _errors(document: Mapping[str, Any]) -> list[ErrorDetails]:
    try:
        _validated(document)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _cleaned(loc: _Loc) -> _Loc:
    """Return where an error stands, without the labels pydantic puts in: which variant, or "it is a key"."""
    return tuple(part for part in loc if part != "[key]" and not str(part).startswith("~"))


def _place(error: ErrorDetails) -> _Loc:
    """Return where a person should look; for something missing, what it is missing in."""
    loc = _cleaned(error["loc"])
    return loc[:-1] if error["type"] == "missing" else loc


# words

#: What a text must be that is no mere text.
_TEXTS: Mapping[str | int, str] = {
    "name": "a name",
    "url": "an absolute address, as in http://127.0.0.1:9101",
    "path": "a path, as in /reservations",
    "when": "a condition, written as ${…}",
    "refused_when": "a condition, written as ${…}",
    "for_each": "one ${…} that gives an array",
    "wait": "a duration (30m), a time (2026-03-01T09:30:00Z) or one ${…}",
    "fail": "the reason, as text",
}

#: Longest text that is shown as the item of a list, in characters.
_LONGEST_ITEM = 64


def _words(error: ErrorDetails) -> str:
    """Return what is wrong and how to mend it."""
    loc, kind, value, context = _cleaned(error["loc"]), error["type"], error["input"], error.get("ctx", {})
    if loc[:1] == ("steps",) and loc[2:] == ("compensation",) and kind != "extra_forbidden":
        return f"{shown(value)} is no compensation: it is a call, a worker, or none"
    special: dict[str, Callable[[], str]] = {
        "missing": lambda: f"{_member(loc)} is missing: add it",
        "extra_forbidden": lambda: _unknown(error["loc"]),
        "value_error": lambda: str(context.get("error")),
        "string_pattern_mismatch": lambda: f"{shown(value)} is no name: it {NAME_RULE}",
        "literal_error": lambda: not_among(value, str(context.get("expected"))),
    }
    if kind in special:
        return special[kind]()
    return f"{_member(loc)} must be {_must(error, loc)}, not {shown(value)}{_remedy(kind, value, loc)}"


def _must(error: ErrorDetails, loc: _Loc) -> str:
    kind, last = error["type"], loc[-1] if loc else ""
    if kind == "string_type" and last in _TEXTS:
        return _TEXTS[last]
    return MUST_BE[kind].format(**error.get("ctx", {})) if kind in MUST_BE else f"otherwise ({error['msg']})"


def _member(loc: _Loc) -> str:
    last = loc[-1] if loc else "the definition"
    return f"item {last}" if isinstance(last, int) else repr(last)


def _remedy(kind: str, value: object, loc: _Loc) -> str:
    """Return how to write what was probably meant, where that is known."""
    if kind == "string_type" and isinstance(value, bool | int | float) and loc[-1] not in _TEXTS:
        return ": put it in quotes"
    if not isinstance(value, str):
        return ""
    if (kind == "bool_type" and value in ("true", "false")) or (kind == "int_type" and value.isdecimal()):
        return ": write it without quotes"
    if kind == "int_type" and loc[-1:] == ("attempts",):
        return ": write a number, or unlimited"
    return f": write [{value}]" if kind == "tuple_type" and len(value) <= _LONGEST_ITEM else ""


def _unknown(loc: _Loc) -> str:
    name, known = loc[-1], sorted(_model_at(loc).model_fields)
    close = closest(str(name), known)
    hint = f"did you mean {close!r}?" if close is not None else f"known here are {', '.join(known)}"
    return f"{str(name)[:80]!r} is not a field here: {hint}"


def _model_at(loc: _Loc) -> type[BaseModel]:
    """Return the part of the definition a member at that place belongs to."""
    if len(loc) == 1:
        return SagaDefinition
    if loc[0] == "services":
        return Service
    if loc[0] == "steps" and len(loc) == 3:
        return Step
    if loc[0] == "defaults" and len(loc) == 3:
        return CallDefaults
    if loc[-2:-1] == ("~worker",):
        return WorkerCompensation
    return _PARTS.get(str(loc[-2]), Call)


# mending


def _mend(document: Any, loc: _Loc, kind: str) -> None:
    """Take out the member at that place, or put something harmless there, if it is still there."""
    if not loc:
        return
    holder = document
    for part in loc[:-1]:
        if isinstance(holder, dict) and part not in holder:
            part = _key(holder, part)  # noqa: PLW2901 -- a number that YAML read as a key
        try:
            holder = holder[part]
        except (LookupError, TypeError):
            return
    _replace(holder, loc, kind)


def _key(holder: Mapping[Any, Any], part: str | int) -> Any:
    if part in holder:
        return part
    return next((key for key in holder if str(key) == str(part)), part)


def _replace(holder: Any, loc: _Loc, kind: str) -> None:
    last = loc[-1]
    if isinstance(holder, list) and isinstance(last, int) and last < len(holder):
        if loc[0] == "steps" and loc[1:] == (last,):
            holder[last] = {"name": f"unnamed_{last}", "wait": "1s"}
        else:
            del holder[last]
    elif isinstance(holder, dict):
        if kind != "extra_forbidden" and last in _STAND_INS:
            holder[last] = _stand_in(str(last), loc)
        else:
            holder.pop(_key(holder, last), None)


def _stand_in(name: str, loc: _Loc) -> Any:
    """Return what takes the member's place; names are made different, so that none is there twice."""
    stand_in = copy.deepcopy(_STAND_INS[name])
    return f"unnamed_{loc[1]}" if name == "name" and loc[0] == "steps" and len(loc) > 1 else stand_in
