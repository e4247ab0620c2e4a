"""JMESPath's evaluator as expressions use it: its functions, bounded, and giving JSON only.

``to_number`` reads JSON's numbers and nothing else (Python's ``int`` also takes ``1_000`` and ``nan``).
``join`` and ``to_string`` refuse to make a text over :data:`MAX_TEXT`: joining by a long separator, or
quoting a quoted text again and again, would otherwise grow without bound from a small input.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jmespath.functions import Functions, signature
from jmespath.visitor import Options, TreeInterpreter

from saga.language.json_values import MAX_DIGITS, compact, is_json

#: Longest text a function makes, in characters.
MAX_TEXT = 1_048_576
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class TextTooLong(ValueError):
    """A function would have made a text over :data:`MAX_TEXT`."""


class _Functions(Functions):
    @signature({"types": []})
    def _func_to_number(self, value: Any) -> int | float | None:
        if isinstance(value, str):
            return _number(value)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    @signature({"types": []})
    def _func_to_string(self, value: Any) -> str:
        text = value if isinstance(value, str) else compact(value)
        if len(text) > MAX_TEXT:
            raise TextTooLong
        return text

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, texts: list[str]) -> str:
        if len(separator) * len(texts) + sum(map(len, texts)) > MAX_TEXT:
            raise TextTooLong
        return separator.join(texts)


def _number(text: str) -> int | float | None:
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > MAX_DIGITS:
        return None
    if match[1] is None and match[2] is None:
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class Signature:
    """How many arguments a function takes: exactly so many, or at least so many when variadic."""

    arguments: int
    variadic: bool


def _signature(declared: tuple[dict[str, Any], ...]) -> Signature:
    return Signature(len(declared), variadic=bool(declared) and bool(declared[-1].get("variadic")))


#: Every function there is.
FUNCTIONS: Mapping[str, Signature] = {
    name: _signature(entry["signature"]) for name, entry in _Functions.FUNCTION_TABLE.items()
}

#: One evaluator for all: it keeps nothing but a cache of its own methods.
_INTERPRETER = TreeInterpreter(Options(custom_functions=_Functions()))

#: What evaluation can raise on data that does not fit; all of it is about the data, none about us.
_MISFITS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Misfit(Exception):
    """The data does not fit the expression: a function was given the wrong type, for one."""


def search(tree: Any, scope: Mapping[str, Any]) -> Any:
    """Return what a parsed expression finds in the scope.

    Raises:
        Misfit: a function was given what it does not take, or what was found is not JSON.
    """
    try:
        found = _INTERPRETER.visit(tree, scope)
    except _MISFITS as error:
        raise Misfit from error
    if not is_json(found):
        raise Misfit
    return found
