"""``${…}``: a JSON value with expressions in it becomes a JSON value, a path, a header or a truth.

Each expression is JMESPath over a *scope* with the roots ``input``, ``steps``, ``saga``, ``item``,
``index``, ``key`` and ``response``; ``secret`` is known to headers alone and stays unresolved there.

* A text that is exactly one ``${…}`` becomes the value with its JSON type. Inside longer text a string
  stands as it is, and everything else, null included, as compact JSON. ``$${`` is a literal ``${``.
* Members' names are literal; only values are filled in.
* *Nothing* is a plain dotted path (``input.a."b-c"``) whose key is absent, also when what should hold
  the key is not an object. An explicit null is a value. Any other expression is its JMESPath result,
  null for what it does not find; one whose evaluation fails or whose result is not JSON is nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from saga.language.functions import Misfit, search
from saga.language.http_texts import CONTROL, DOTS
from saga.language.json_values import compact, is_encodable
from saga.language.pointers import escape
from saga.language.roots import Reference
from saga.language.syntax import Expression, ExpressionInvalid, parts

__all__ = [
    "NOTHING",
    "ExpressionInvalid",
    "Nothing",
    "NothingFound",
    "Reference",
    "Scope",
    "SecretRef",
    "evaluate",
    "evaluate_header",
    "evaluate_members",
    "evaluate_path",
    "references",
    "truth",
    "without_members",
]

#: What expressions are evaluated over: the roots by name. ``steps`` maps a step to ``{"output": value}``.
Scope: TypeAlias = Mapping[str, Any]


class Nothing(Enum):
    """The type of :data:`NOTHING`."""

    NOTHING = "nothing"  #: There is no value, not even null.

    def __repr__(self) -> str:
        """Return the name it is imported by."""
        return self.name


#: What a reference to an absent key finds.
NOTHING: Final = Nothing.NOTHING


class NothingFound(Exception):
    """An expression found nothing; ``expression`` is its text."""

    def __init__(self, expression: str) -> None:
        super().__init__(f"${{{expression}}} found nothing")
        self.expression = expression


@dataclass(frozen=True, slots=True)
class SecretRef:
    """The place of a secret in a header, filled in when the request is sent."""

    name: str


def _find(expression: Expression, scope: Scope) -> Any:
    """Return what an expression finds, :data:`NOTHING` included."""
    if expression.path is None:
        try:
            return search(expression.tree, scope)
        except Misfit:
            return NOTHING
    found: Any = scope
    try:
        for key in expression.path:
            found = found[key]
    except (LookupError, TypeError):
        # Absent, or what should hold the key is a list, a text, a number or null.
        return NOTHING
    return found


def _found(expression: Expression, scope: Scope) -> Any:
    found = _find(expression, scope)
    if found is NOTHING:
        raise NothingFound(expression.text)
    return found


def _text(value: Any, expression: str) -> str:
    """Return a value as it stands inside longer text."""
    if isinstance(value, str):
        return value
    try:
        return compact(value)
    except (ValueError, TypeError, RecursionError):
        raise NothingFound(expression) from None


def _fill(text: str, scope: Scope) -> Any:
    pieces = parts(text)
    if len(pieces) == 1 and isinstance(pieces[0], Expression):
        return _found(pieces[0], scope)
    return "".join(
        piece if isinstance(piece, str) else _text(_found(piece, scope), piece.text) for piece in pieces
    )


def _evaluate(template: Any, scope: Scope) -> Any:
    if isinstance(template, str):
        return _fill(template, scope) if "${" in template else template
    if isinstance(template, dict):
        return {name: _evaluate(value, scope) for name, value in template.items()}
    if isinstance(template, list):
        return [_evaluate(value, scope) for value in template]
    return template


def evaluate(template: Any, scope: Scope) -> Any:
    """Fill every ``${…}`` of a JSON value.

    The result shares what it found with the scope, so neither may be changed afterwards.

    Raises:
        NothingFound: at the first expression that finds nothing.
        ExpressionInvalid: the template was never checked and holds no valid expression.
    """
    try:
        return _evaluate(template, scope)
    except RecursionError:
        raise NothingFound("…") from None


def evaluate_members(template: Any, scope: Scope) -> tuple[Any, tuple[str, ...]]:
    """Fill an output: a member where nothing is found becomes null, and its JSON pointer is returned.

    The pointer is "" when the template as a whole is one text that finds nothing. Never raises for what
    the scope lacks.
    """
    missing: list[str] = []
    try:
        return _fill_members(template, scope, "", missing), tuple(missing)
    except RecursionError:
        return None, ("",)


def _fill_members(template: Any, scope: Scope, pointer: str, missing: list[str]) -> Any:
    if isinstance(template, dict):
        return {
            name: _fill_members(value, scope, f"{pointer}/{escape(name)}", missing)
            for name, value in template.items()
        }
    if isinstance(template, list):
        return [_fill_members(value, scope, f"{pointer}/{at}", missing) for at, value in enumerate(template)]
    try:
        return _evaluate(template, scope)
    except NothingFound:
        missing.append(pointer)
        return None


def without_members(output: Any, missing: tuple[str, ...]) -> Any:
    """Return an output as later steps refer to it: members that were nothing are absent again.

    ``missing`` holds the pointers :func:`evaluate_members` gave. :data:`NOTHING` when the whole output was
    nothing. An element of an array stays null: taking it out would renumber the others.
    """
    if not missing:
        return output
    return NOTHING if "" in missing else _without(output, "", frozenset(missing))


def _without(value: Any, pointer: str, missing: frozenset[str]) -> Any:
    if isinstance(value, dict):
        placed = ((name, item, f"{pointer}/{escape(name)}") for name, item in value.items())
        return {name: _without(item, at, missing) for name, item, at in placed if at not in missing}
    if isinstance(value, list):
        return [_without(item, f"{pointer}/{at}", missing) for at, item in enumerate(value)]
    return value


def truth(template: str, scope: Scope) -> bool:
    """Return whether a condition holds: null, false, "", [] and {} do not, nor does nothing; 0 does.

    In longer text the text as a whole counts, so it holds unless it is empty or finds nothing.
    """
    try:
        value = _evaluate(template, scope)
    except NothingFound:
        return False
    return not (value is None or value is False or value in ("", [], {}))


# paths and headers

#: What may stand unencoded in a path (RFC 3986, section 3.3), the slash between segments included.
_PATH_SAFE = "/:@!$&'()*+,;=~-._%"
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def evaluate_path(text: str, scope: Scope) -> str:
    """Return a path, each value percent-encoded as part of one segment: "/" in it becomes ``%2F``.

    Literal text stays as it is written, encoded only where RFC 3986 asks for it; the bytes are the same
    in every release. A number or a boolean stands as its JSON text.

    Raises:
        NothingFound: an expression found nothing, or null, an array, an object, the empty text, ``.`` or
            ``..``; or a segment with a value in it became ``.`` or ``..``.
    """
    return _path(text, scope) if "${" in text else _literal_path(text)


@lru_cache(maxsize=1024)
def _literal_path(text: str) -> str:
    return _path(text, {})


def _path(text: str, scope: Scope) -> str:
    path, culprit = "", ""
    for piece in parts(text):
        if isinstance(piece, str):
            path += quote(_STRAY_PERCENT.sub("%25", piece), safe=_PATH_SAFE)
        else:
            path += _segment(piece, scope)
            culprit = piece.text
    if any(DOTS.fullmatch(segment) for segment in path.split("/")):
        raise NothingFound(culprit)
    return path


def _segment(expression: Expression, scope: Scope) -> str:
    value = _found(expression, scope)
    text = "" if value is None or isinstance(value, dict | list) else _text(value, expression.text)
    if text in ("", ".", "..") or not is_encodable(text):
        raise NothingFound(expression.text)
    return quote(text, safe="")


def evaluate_header(text: str, scope: Scope) -> tuple[str | SecretRef, ...]:
    """Return a header's value in parts; a secret stays a :class:`SecretRef`, adjacent texts are not joined.

    Values become text as inside longer text; text beyond ASCII is sent as UTF-8.

    Raises:
        NothingFound: an expression found nothing, or the value holds what no header may hold (RFC 9110,
            section 5.5): CR, LF, NUL or another control character, or text that is not Unicode.
    """
    return tuple(_header_part(piece, scope) for piece in parts(text))


def _header_part(piece: str | Expression, scope: Scope) -> str | SecretRef:
    if isinstance(piece, Expression) and piece.path is not None and piece.path[0] == "secret":
        return SecretRef(".".join(piece.path[1:]))
    source = piece if isinstance(piece, str) else piece.text
    text = piece if isinstance(piece, str) else _text(_found(piece, scope), piece.text)
    if CONTROL.search(text) or not is_encodable(text):
        raise NothingFound(source)
    return text


def references(template: Any) -> tuple[Reference, ...]:
    """Return every root a JSON value refers to, in order of appearance.

    Raises:
        ExpressionInvalid: at the first expression that cannot be used.
    """
    if isinstance(template, str):
        pieces = parts(template) if "${" in template else ()
        return tuple(found for piece in pieces if isinstance(piece, Expression) for found in piece.references)
    if isinstance(template, dict):
        return tuple(found for value in template.values() for found in references(value))
    if isinstance(template, list):
        return tuple(found for value in template for found in references(value))
    return ()
