"""What stands inside ``${…}``: finding it in a text, parsing it and bounding it.

An expression is JMESPath over a scope whose members are the *roots*: ``input``, ``steps``, ``saga`` …
Everything here happens once per text: definitions are written seldom and rendered often.

The bounds keep a hostile definition from holding the event loop. JMESPath has no loops, but its evaluator
is recursive, and data can be doubled again and again: ``[@, @] | [@, @] | …``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import jmespath

from saga.language.functions import FUNCTIONS
from saga.language.roots import Node, Path, Reference, references_of

#: Longest expression, in characters.
MAX_LENGTH = 1024
#: Most nodes of its syntax tree.
MAX_NODES = 256
#: Deepest nesting of its syntax tree; two stack frames each, so far from Python's limit.
MAX_DEPTH = 64
#: How many times over data may be repeated by multi-selects that feed one another.
MAX_GROWTH = 64

_OPEN = re.compile(r"\$(\$?)\{")
_QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`"""
_PIECE = re.compile(f"{_QUOTED}|[{{}}]", re.DOTALL)
_BRACKET = re.compile(rf"{_QUOTED}|[\[\](){{}}]", re.DOTALL)
#: Texts longer than this are compiled anew each time, so that the cache stays small.
_CACHED_LENGTH = 8192


class ExpressionInvalid(Exception):
    """A text holds a ``${…}`` that cannot be used; ``detail`` says why and what to write instead."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Expression:
    """One parsed ``${…}``."""

    text: str
    #: The keys of a plain dotted path, which is walked without JMESPath; None for anything else.
    path: Path | None
    tree: Node
    references: tuple[Reference, ...]


#: A text in its parts: literal text, and what has to be evaluated.
Parts: TypeAlias = tuple[str | Expression, ...]


def parts(text: str) -> Parts:
    """Return the parts of a text; no part is the empty text, adjacent literals are one.

    Raises:
        ExpressionInvalid: a ``${`` is not closed, or an expression cannot be used.
    """
    return _cached_parts(text) if len(text) <= _CACHED_LENGTH else _parts(text)


def _parts(text: str) -> Parts:
    found: list[str | Expression] = []
    literal, position = "", 0
    while match := _OPEN.search(text, position):
        literal += text[position : match.start()]
        if match[1]:
            literal, position = literal + "${", match.end()
            continue
        end = _closing(text, match.end())
        found += [literal] if literal else []
        found.append(_expression(text[match.end() : end].strip()))
        literal, position = "", end + 1
    literal += text[position:]
    return (*found, literal) if literal else tuple(found)


_cached_parts = lru_cache(maxsize=4096)(_parts)


def has_expression(text: str) -> bool:
    """Return whether a text holds a ``${…}``, valid or not."""
    try:
        return any(isinstance(part, Expression) for part in parts(text))
    except ExpressionInvalid:
        return True


def is_one_expression(text: str) -> bool:
    """Return whether a text is exactly one ``${…}``, and so keeps the type of its value.

    Yes also for a text whose expression is invalid: that is another problem, found where it is parsed.
    """
    try:
        found = parts(text)
    except ExpressionInvalid:
        return True
    return len(found) == 1 and isinstance(found[0], Expression)


def _closing(text: str, start: int) -> int:
    """Return where the brace that closes the expression stands; braces inside quotes do not count."""
    depth = 1
    for piece in _PIECE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(piece[0], 0)
        if depth == 0:
            return piece.start()
    raise ExpressionInvalid("a '${' is not closed by '}'; write '$${' for a literal '${'")


def _expression(text: str) -> Expression:
    tree = _tree(text)
    _check_bounds(tree)
    _check_functions(tree)
    _check_negations(tree)
    _growth(tree)
    path = _dotted(tree)
    return Expression(text, path, tree, tuple(references_of(tree, text, strict=path is not None)))


def _tree(text: str) -> Node:
    if not text:
        raise ExpressionInvalid("'${}' is empty: write an expression, as in ${input.amount}")
    if len(text) > MAX_LENGTH:
        raise ExpressionInvalid(f"an expression has at most {MAX_LENGTH} characters, this one {len(text)}")
    _check_brackets(text)
    try:
        return jmespath.compile(text).parsed
    except RecursionError:
        raise ExpressionInvalid(_too_deep()) from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # The parser's message goes on to repeat the expression and to draw an arrow below it.
        reason = str(error).splitlines()[0].split(", for expression")[0]
        raise ExpressionInvalid(f"'${{{text}}}' is not a JMESPath expression: {reason}") from None


def _check_brackets(text: str) -> None:
    """Refuse nesting before the parser recurses into it: parentheses leave no nodes to be counted."""
    depth = 0
    for piece in _BRACKET.finditer(text):
        depth += 1 if piece[0] in "([{" else -1 if piece[0] in ")]}" else 0
        if depth > MAX_DEPTH:
            raise ExpressionInvalid(_too_deep())
        if piece[0].startswith("`"):
            _check_literal(piece[0][1:-1].replace("\\`", "`"))


def _check_literal(text: str) -> None:
    """Refuse a literal in backticks that is no JSON; JMESPath still takes it for text, with a warning."""
    _check_brackets(text)
    try:
        json.loads(text)
    except ValueError:
        raise ExpressionInvalid(f"`{text}` is not JSON: write '{text}' for a text") from None


def _too_deep() -> str:
    return f"an expression is nested at most {MAX_DEPTH} deep; simplify it"


def _children(node: Node) -> list[Node]:
    return [child for child in node["children"] if isinstance(child, dict)]


def _nodes(tree: Node) -> Iterator[tuple[Node, int]]:
    """Yield every node with its depth, without recursion."""
    stack = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        stack.extend((child, depth + 1) for child in _children(node))


def _check_bounds(tree: Node) -> None:
    for count, (_node, depth) in enumerate(_nodes(tree), start=1):
        if count > MAX_NODES:
            raise ExpressionInvalid(f"an expression has at most {MAX_NODES} parts; shorten it")
        if depth > MAX_DEPTH:
            raise ExpressionInvalid(_too_deep())


def _check_functions(tree: Node) -> None:
    """Refuse a function that does not exist or takes another number of arguments."""
    for node, _depth in _nodes(tree):
        if node["type"] != "function_expression":
            continue
        name, given = node["value"], len(node["children"])
        signature = FUNCTIONS.get(name)
        if signature is None:
            known = ", ".join(sorted(FUNCTIONS))
            raise ExpressionInvalid(f"there is no function {name}(); there are {known}")
        if given < signature.arguments or (given > signature.arguments and not signature.variadic):
            raise ExpressionInvalid(f"{name}() takes {signature.arguments} argument(s), not {given}")


def _check_negations(tree: Node) -> None:
    """Refuse ``!a.b``, which JMESPath takes as a member of ``!a`` and so is never anything but null."""
    for node, _depth in _nodes(tree):
        first = next(iter(_children(node)), None)
        joined = node["type"] in ("subexpression", "index_expression", "value_projection")
        if joined and first is not None and first["type"] == "not_expression":
            raise ExpressionInvalid("'!' binds tighter than '.': write !(a.b), not !a.b")


def _growth(node: Node) -> int:
    """Return how many times over the node can repeat the data it is given; raise when it is too often."""
    grown = [_growth(child) for child in _children(node)]
    match node["type"]:
        case "multi_select_list" | "multi_select_dict":
            return max(1, sum(grown))
        case "subexpression" | "index_expression" | "pipe" | "projection" | "value_projection":
            return _product(grown)
        case "filter_projection":
            return _product(grown[:2])
        case "function_expression":
            return _product(grown)
        case _:
            return max(grown, default=1)


def _product(factors: list[int]) -> int:
    """Return the product; one factor alone grows no more than its own text, and is never too much."""
    product = 1
    for factor in factors:
        product *= factor
    if product > MAX_GROWTH and sum(factor > 1 for factor in factors) > 1:
        raise ExpressionInvalid(f"an expression may repeat data at most {MAX_GROWTH} times over; shorten it")
    return product


def _dotted(tree: Node) -> Path | None:
    fields = tree["children"] if tree["type"] == "subexpression" else [tree]
    if any(field["type"] != "field" for field in fields):
        return None
    return tuple(field["value"] for field in fields)
