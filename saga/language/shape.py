"""Reading a definition's shape: pydantic's errors in plain words, and a model to go on checking with.

A document with a wrong member is mended in a copy (the member taken out, or something harmless put in its
place), so that all other checks can still be made and a person sees every problem at once.
"""

from __future__ import annotations

import copy
import difflib
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
        """Say whether a pointer lies at or below a wrong member, so that nothing there is certain."""
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
        return error.errors(include_url=False, include_input=False)
    return []


def _cleaned(loc: _Loc) -> _Loc:
    """Return where an error stands, without the labels pydantic puts in: which variant, or "it is a key"."""
    return tuple(part for part in loc if part != "[key]" and not str(part).startswith("~"))


def _place(error: ErrorDetails) -> _Loc:
    """Return where a person should look; for something missing, what it is missing in."""
    loc = _cleaned(error["loc"])
    return loc[:-1] if error["type"] == "missing" else loc


# --------------------------------------------------------------------------- words

_TYPES = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
    "model_attributes_type": "must be a mapping of names to values",
}

_NAME_RULE = "must begin with a-z and go on with a-z, 0-9 or _, 64 characters at most"


def _words(error: ErrorDetails) -> str:
    """Return what is wrong and how to mend it."""
    loc = _cleaned(error["loc"])
    last = loc[-1] if loc else "the definition"
    name = f"item {last}" if isinstance(last, int) else repr(last)
    context = error.get("ctx", {})
    special: dict[str, Callable[[], str]] = {
        "missing": lambda: f"{name} is missing: add it",
        "extra_forbidden": lambda: _unknown(error["loc"]),
        "string_pattern_mismatch": lambda: f"a name {_NAME_RULE}",
        "value_error": lambda: str(context.get("error")),
        "literal_error": lambda: f"{name} must be one of {context.get('expected')}",
    }
    if last == "compensation" and error["type"] != "extra_forbidden":
        return "a compensation is a call, a worker, or none"
    words = special.get(error["type"])
    if words is not None:
        return words()
    return f"{name} {_TYPES.get(error['type'], error['msg'][:1].lower() + error['msg'][1:])}"


def _unknown(loc: _Loc) -> str:
    name, known = loc[-1], sorted(_model_at(loc).model_fields)
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known here are {', '.join(known)}"
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


# --------------------------------------------------------------------------- mending


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
