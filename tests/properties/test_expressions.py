"""What holds for every expression, every template and every value."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from hypothesis import given, settings
from hypothesis import strategies as st

from saga.language.expressions import (
    ExpressionInvalid,
    NothingFound,
    evaluate,
    evaluate_header,
    evaluate_members,
    evaluate_path,
    references,
    truth,
    without_members,
)

#: A shared machine may be slow at any moment, which says nothing about the code.
unhurried = settings(deadline=None)

#: Text as documents hold it: no half of a surrogate pair.
texts = st.text(st.characters(codec="utf-8"), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
#: Pieces from which valid, nearly valid and odd expressions arise.
pieces = st.sampled_from(
    [
        "input",
        "a",
        "b",
        ".",
        "[",
        "]",
        "[*]",
        "[0]",
        "[?a]",
        "{",
        "}",
        "(",
        ")",
        "|",
        "||",
        "&&",
        "!",
        "@",
        "&",
        "*",
        ",",
        ":",
        "'x'",
        "`1`",
        '"',
        "'",
        "`",
        "==",
        "<",
        "length",
        "map",
        "merge",
        "to_number",
        "$",
    ]
)
expressions = st.lists(pieces, max_size=10).map(" ".join) | st.lists(pieces, max_size=10).map("".join) | texts


def quoted(keys: list[str]) -> str:
    """Return a dotted path through any keys."""
    return ".".join(json.dumps(key) for key in keys)


@unhurried
@given(values)
def test_a_value_passes_through_one_expression_unchanged(value: Any) -> None:
    """With its JSON type, whatever it is."""
    assert json.dumps(evaluate("${input}", {"input": value})) == json.dumps(value)


@unhurried
@given(st.lists(texts, min_size=1, max_size=4), values)
def test_a_dotted_path_finds_what_is_there(keys: list[str], value: Any) -> None:
    """Through any keys, and nothing once the last is taken away."""
    scope: Any = value
    for key in reversed(keys):
        scope = {key: scope}
    template = f"${{{quoted(['input', *keys])}}}"
    assert evaluate(template, {"input": scope}) == value
    output, missing = evaluate_members(f"${{{quoted(['input', *keys, 'absent'])}}}", {"input": {}})
    assert (output, missing) == (None, ("",))


@unhurried
@given(values)
def test_a_value_without_expressions_is_its_own_result(value: Any) -> None:
    """Once each ``${`` in it is doubled."""
    escaped = json.loads(json.dumps(value).replace("${", "$${"))
    if isinstance(escaped, dict | list) and "${" in json.dumps(value):
        return  # names of members are not evaluated, so they are not doubled either
    assert evaluate(escaped, {}) == value


@unhurried
@given(expressions, values)
def test_no_expression_raises_anything_unforeseen(expression: str, value: Any) -> None:
    """It is invalid, it finds nothing, or it gives JSON."""
    template = f"${{{expression}}}"
    try:
        references(template)
    except ExpressionInvalid:
        return
    scope = {"input": value, "a": value}
    try:
        found = evaluate(template, scope)
        json.dumps(found, allow_nan=False).encode()
    except NothingFound:
        assert truth(template, scope) is False


@unhurried
@given(texts)
def test_no_text_is_too_odd_to_be_looked_at(text: str) -> None:
    """It is a template or it is invalid."""
    try:
        references(text)
    except ExpressionInvalid:
        return
    evaluate_members(text, {})


@unhurried
@given(texts)
def test_a_path_keeps_its_depth_whatever_the_value(value: str) -> None:
    """And the participant reads the very value out of its segment."""
    try:
        path = evaluate_path("/a/${input}/b", {"input": value})
    except NothingFound:
        assert value in ("", ".", "..")
        return
    assert path.isascii()
    assert path.count("/") == 3
    assert not set(path) & set("?# \r\n")
    assert unquote(path.split("/")[2]) == value


@unhurried
@given(texts)
def test_a_header_is_one_line_whatever_the_value(value: str) -> None:
    """Or it is nothing."""
    try:
        parts = evaluate_header("x ${input}", {"input": value})
    except NothingFound:
        return
    assert not set("\r\n\x00") & set("".join(map(str, parts)))


@unhurried
@given(st.dictionaries(texts, st.sampled_from(["${input}", "${absent}", "x ${absent}", "plain"]), max_size=6))
def test_members_that_were_nothing_are_absent_and_no_others(template: dict[str, str]) -> None:
    """The pointers lead exactly to them."""
    output, missing = evaluate_members(template, {"input": None})
    kept = without_members(output, missing)
    assert set(kept) == {name for name, text in template.items() if "absent" not in text}
    assert set(output) == set(template)


@unhurried
@given(values, values)
def test_evaluation_is_the_same_every_time(left: Any, right: Any) -> None:
    """The bytes of a request must not differ between attempts."""
    template = {"a": "x ${input} ${key}", "b": ["${key}", "${input}"]}
    scope = {"input": left, "key": right}
    assert json.dumps(evaluate(template, scope)) == json.dumps(evaluate(template, scope))
