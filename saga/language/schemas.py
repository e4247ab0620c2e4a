"""JSON Schema 2020-12, for the input of sagas; the only module that knows the validator.

No reference is ever fetched: a definition must not be able to make the coordinator read files or addresses.
Problems never repeat the value at fault, which may be what nobody should see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema_rs

from saga.errors import Problem
from saga.language.json_values import compact
from saga.language.pointers import pointer

#: The one dialect there is.
DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Most problems that are listed for one value.
MAX_PROBLEMS = 50
_MASK = "the value"
_NOT_A_REGEX = f'{_MASK} is not a "regex"'
_NO_PATTERN = "the pattern is no regular expression, too large a one, or one that looks around or back"


def check_schema(schema: Mapping[str, Any], at: str = "") -> tuple[Problem, ...]:
    """Return what keeps a schema from being used; ``at`` is the pointer it stands at."""
    dialect = schema.get("$schema", DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != DIALECT:
        detail = f"only {DIALECT} is understood: write that, or remove it"
        return (Problem(pointer=f"{at}/$schema", detail=detail),)
    if problems := _problems(_metaschema(), schema, at):
        return tuple(replace(each, detail=f"this is no JSON Schema: {each.detail}") for each in problems)
    try:
        _compiled(compact(schema))
    except ValueError as error:
        # A reference that leads nowhere or out of the document, or a pattern that is no regular expression.
        place = pointer(*getattr(error, "instance_path", ()))
        return (Problem(pointer=f"{at}{place}", detail=f"this schema cannot be used: {_unusable(error)}"),)
    return ()


def validate(schema: Mapping[str, Any], value: object, at: str = "") -> tuple[Problem, ...]:
    """Return how a value fails a schema that has been checked, each problem with its pointer below ``at``."""
    try:
        compiled = _compiled(compact(schema))
    except ValueError as error:
        # One that another release has taken, or that was made in Python and never checked.
        return (Problem(pointer=at, detail=f"cannot be checked: {_unusable(error)}"),)
    return _problems(compiled, value, at)


def _problems(validator: jsonschema_rs.Draft202012Validator, value: object, at: str) -> tuple[Problem, ...]:
    try:
        errors = list(islice(validator.iter_errors(value), MAX_PROBLEMS))
    except (ValueError, RecursionError) as error:
        return (Problem(pointer=at, detail=f"cannot be checked: {_first_line(error)}"),)
    return tuple(
        Problem(pointer=f"{at}{pointer(*error.instance_path)}", detail=error.message) for error in errors
    )


def _unusable(error: Exception) -> str:
    said = _first_line(error)
    return _NO_PATTERN if said == _NOT_A_REGEX else said


def _first_line(error: Exception) -> str:
    return str(getattr(error, "message", error)).partition("\n")[0][:300]


@lru_cache(maxsize=256)
def _compiled(schema: str) -> jsonschema_rs.Draft202012Validator:
    """Compile the schema of that JSON text; formats are annotations, as the dialect says."""
    return jsonschema_rs.Draft202012Validator(schema, offline=True, mask=_MASK, pattern_options=_LINEAR)


#: Patterns are matched in time that is linear in the text; those that look around or back would need another matcher,
#: which a text of half a megabyte keeps busy for minutes.
_LINEAR = jsonschema_rs.RegexOptions()


@lru_cache(maxsize=1)
def _metaschema() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"$ref": DIALECT}, offline=True, mask=_MASK)
