"""What ``${…}`` gives, and where it gives nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from saga.language.expressions import (
    NOTHING,
    ExpressionInvalid,
    NothingFound,
    SecretRef,
    evaluate,
    evaluate_header,
    evaluate_members,
    evaluate_path,
    references,
    truth,
    without_members,
)

SCOPE: dict[str, Any] = {
    "input": {
        "name": "Ada",
        "amount": 12.5,
        "count": 3,
        "paid": True,
        "note": None,
        "tags": ["a", "b"],
        "card": {"last-four": "4242", "number": "…"},
        "slash": "a/b?c#d",
        "empty": "",
        "dots": "..",
        "huge": 12345678901234567890123,
        "zero": 0,
    },
    "steps": {"reserve": {"output": {"id": 7}}, "skipped": {}},
    "saga": {"id": "s-1", "started_at": "2026-03-01T09:30:00Z"},
    "key": "s-1:charge",
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${input.amount}", 12.5),
        ("${input.paid}", True),
        ("${input.note}", None),
        ("${input.tags}", ["a", "b"]),
        ("${input.huge}", 12345678901234567890123),
        ('${input.card."last-four"}', "4242"),
        ("${ input.count }", 3),
        ("${steps.reserve.output.id}", 7),
    ],
)
def test_a_text_that_is_one_expression_keeps_the_type(template: str, expected: object) -> None:
    """Numbers stay numbers, null stays null."""
    assert expected == evaluate(template, SCOPE)
    assert type(expected) is type(evaluate(template, SCOPE))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Dear ${input.name}!", "Dear Ada!"),
        ("${input.count}/${input.amount}", "3/12.5"),
        ("paid: ${input.paid}, note: ${input.note}", "paid: true, note: null"),
        ("tags ${input.tags}", 'tags ["a","b"]'),
        ("card ${input.card}", 'card {"last-four":"4242","number":"…"}'),
        ("no. ${input.huge}", "no. 12345678901234567890123"),
    ],
)
def test_inside_longer_text_a_value_becomes_text(template: str, expected: str) -> None:
    """Strings stand as they are, everything else as compact JSON."""
    assert expected == evaluate(template, SCOPE)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$${input.name}", "${input.name}"),
        ("$$${input.name}", "$${input.name}"),
        ("costs $5 and ${input.count}$", "costs $5 and 3$"),
        ("$${${input.count}}", "${3}"),
        ("a } b { c", "a } b { c"),
    ],
)
def test_a_doubled_dollar_is_a_literal_one(template: str, expected: str) -> None:
    """Only ``${`` begins an expression."""
    assert expected == evaluate(template, SCOPE)


@pytest.mark.parametrize(
    "template",
    ["${ {a: input.name, b: '}'}.b }", "${'}'}", '${`"}"`}', "${join('', ['}'])}"],
)
def test_braces_inside_an_expression_do_not_end_it(template: str) -> None:
    """Multi-select hashes and quoted braces are part of JMESPath."""
    assert evaluate(template, SCOPE) == "}"


def test_only_values_are_filled_in() -> None:
    """Names of members are literal, and other types pass through."""
    template = {"${key}": ["${input.count}", 5, None, {"deep": "${key}"}], "plain": "text"}
    assert evaluate(template, SCOPE) == {"${key}": [3, 5, None, {"deep": "s-1:charge"}], "plain": "text"}


@pytest.mark.parametrize(
    "expression",
    [
        "input.absent",
        "input.name.first",  # of a text
        "input.tags.first",  # of an array
        "input.note.first",  # of an explicit null
        "steps.skipped.output",
        "steps.skipped.output.id",
        "absent",
        "length(input.count)",  # a function given the wrong type
        "contains('abc', `1`)",
        "&input",  # a JMESPath object that is no JSON
        "[&input]",
        "`NaN`",
        "`1e999`",
        "sum(`[1e308, 1e308]`)",
        '`"\\ud800"`',
        '{"\\ud800": input}',
        "to_string(`[NaN]`)",
    ],
)
def test_nothing_is_found(expression: str) -> None:
    """An absent key, a failed evaluation and a result that is no JSON are nothing."""
    with pytest.raises(NothingFound) as caught:
        evaluate({"member": f"${{{expression}}}"}, SCOPE)
    assert expression == caught.value.expression


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("input.note", None),
        ("input.absent || 'none given'", "none given"),
        ("input.tags[5]", None),
        ("input.absent == null", True),
        ("steps.skipped.output.id || input.count", 3),
        ("to_number('nan')", None),
        ("to_number('1_000')", None),
        ("to_number('1e999')", None),
        ("to_number('-12.50')", -12.5),
        ("to_number('12')", 12),
        ("to_number(input.count)", 3),
        ("to_number(input.paid)", None),
        ("to_string(input.card)", '{"last-four":"4242","number":"…"}'),
        ("type(&input)", None),
        ("keys(input.card)", ["last-four", "number"]),
    ],
)
def test_any_other_expression_is_its_result(expression: str, expected: object) -> None:
    """JMESPath gives null for what it does not find, so ``||`` gives a default."""
    assert expected == evaluate(f"${{{expression}}}", SCOPE)


@pytest.mark.parametrize(
    "expression", ["to_string([to_string([to_string([input.long])])])", "join(input.long, input.many)"]
)
def test_a_function_cannot_make_a_huge_text(expression: str) -> None:
    """What would grow beyond a megabyte is nothing instead of a memory error."""
    scope = {"input": {"long": '"' * 300_000, "many": ["x"] * 300_000}}
    with pytest.raises(NothingFound):
        evaluate(f"${{{expression}}}", scope)


def test_a_member_of_an_output_that_finds_nothing_is_null() -> None:
    """The pointers say which members are nothing, not merely null."""
    template = {"id": "${input.absent}", "a/b": ["${input.note}", "no. ${absent}"], "name": "${input.name}"}
    output, missing = evaluate_members(template, SCOPE)
    assert output == {"id": None, "a/b": [None, None], "name": "Ada"}
    assert missing == ("/id", "/a~1b/1")


def test_a_whole_output_may_be_nothing() -> None:
    """Its pointer is that of the whole document."""
    assert evaluate_members("${response.body}", SCOPE) == (None, ("",))
    assert without_members(None, ("",)) is NOTHING


def test_members_that_were_nothing_are_absent_for_references() -> None:
    """A reference to such a member is nothing; an element of an array keeps its place."""
    output, missing = evaluate_members({"a": "${absent}", "b": {"c": "${absent}"}, "d": ["${absent}"]}, SCOPE)
    assert without_members(output, missing) == {"b": {}, "d": [None]}
    assert without_members({"a": None}, ()) == {"a": None}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("${input.zero}", True),
        ("${input.paid}", True),
        ("${input.name}", True),
        ("${input.note}", False),
        ("${input.empty}", False),
        ("${`[]`}", False),
        ("${`{}`}", False),
        ("${`false`}", False),
        ("${input.count > `2`}", True),
        ("${input.count > `5`}", False),
        ("${input.absent}", False),
        ("${length(input.count)}", False),
        ("x${input.empty}", True),
        ("${input.empty}${input.empty}", False),
        ("x${input.absent}", False),
    ],
)
def test_truth_is_that_of_jmespath(condition: str, expected: bool) -> None:  # noqa: FBT001 -- a table
    """0 is true; null, false and what is empty are not; nothing is false."""
    assert expected is truth(condition, SCOPE)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/reservations/${key}", "/reservations/s-1%3Acharge"),
        ("/a/${input.slash}/b", "/a/a%2Fb%3Fc%23d/b"),
        ("/a-${input.count}-${input.paid}", "/a-3-true"),
        ("/plain/äöü/100%/%2F/a b", "/plain/%C3%A4%C3%B6%C3%BC/100%25/%2F/a%20b"),
        ("/$${x}", "/$%7Bx%7D"),
        ("/${input.amount}", "/12.5"),
        ("", ""),
    ],
)
def test_in_a_path_a_value_is_one_segment(path: str, expected: str) -> None:
    """A slash in a value is encoded; what is written is kept, and encoded only where it has to be."""
    assert expected == evaluate_path(path, SCOPE)


@pytest.mark.parametrize(
    "path",
    [
        "/${input.dots}",
        "/${input.empty}",
        "/a${input.empty}b",
        "/${input.note}",
        "/${input.tags}",
        "/${input.card}",
        "/${input.absent}",
        '/.${`"."`}',
        '/%2e${`"."`}',
        "/x${input.dots}",
        '/${`"\\ud800"`}',
    ],
)
def test_a_value_cannot_change_the_depth_of_a_path(path: str) -> None:
    """Dot segments, empty text and what has no text are nothing there."""
    with pytest.raises(NothingFound):
        evaluate_path(path, SCOPE)


def test_a_percent_sign_does_not_join_with_a_value() -> None:
    """Otherwise "%" and the value "2F" would be a slash."""
    assert evaluate_path("/%${input.v}", {"input": {"v": "2F"}}) == "/%252F"


def test_a_secret_stays_unresolved() -> None:
    """Only the sender knows secrets."""
    parts = evaluate_header("Bearer ${secret.token}; n=${input.count}", SCOPE)
    assert parts == ("Bearer ", SecretRef("token"), "; n=", "3")
    with pytest.raises(NothingFound):
        evaluate("${secret.token}", SCOPE)


@pytest.mark.parametrize("character", ["\r", "\n", "\x00", "\x1b", "\x7f", "\ud800"])
def test_a_header_cannot_be_split(character: str) -> None:
    """A value with a control character is nothing, and so is one that is no Unicode."""
    with pytest.raises(NothingFound):
        evaluate_header("${input.v}", {"input": {"v": f"a{character}Set-Cookie: x"}})


def test_a_header_may_hold_tabs_and_text_beyond_ascii() -> None:
    """Both are legal in a field value; the text is sent as UTF-8."""
    assert evaluate_header("${input.v}", {"input": {"v": "a\tü"}}) == ("a\tü",)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${input.a.b}", [("input", ("a", "b"), True, False)]),
        ("x ${key} ${saga.id}", [("key", (), True, False), ("saga", ("id",), True, False)]),
        ("${steps | reserve.output.id}", [("steps", ("reserve", "output", "id"), False, False)]),
        (
            "${steps.{x: a.output, y: b.output}}",
            [("steps", ("a", "output"), False, False), ("steps", ("b", "output"), False, False)],
        ),
        (
            "${steps.a.output.x || steps.b.output}",
            [("steps", ("a", "output", "x"), False, True), ("steps", ("b", "output"), False, False)],
        ),
        (
            "${(steps.a.output || input).x}",
            [("steps", ("a", "output"), False, True), ("input", (), False, False)],
        ),
        ("${length(steps.a.output)}", [("steps", ("a", "output"), False, False)]),
        ("${input.list[?id == steps.x].y[0]}", [("input", ("list",), False, False)]),
        ("${map(&steps.x, input.list)}", [("input", ("list",), False, False)]),
        ("${input.a[0].b}", [("input", ("a",), False, False)]),
        ("${input.a[1:2]}", [("input", ("a",), False, False)]),
        ("${!(input.a) && input.b}", [("input", ("a",), False, False), ("input", ("b",), False, False)]),
        ("${steps.*.output}", [("steps", (), False, False)]),
        ("${@}", [("@", (), False, False)]),
        ("${not_null(@)}", [("@", (), False, False)]),
        ("${*}", [("@", (), False, False)]),
        ("${foo | 'x'}", [("foo", (), False, False)]),
        ("${'literal'}", []),
        ({"a": ["${input.x}", 1], "b": "$${input.y}"}, [("input", ("x",), True, False)]),
    ],
)
def test_every_root_that_is_used_is_found(template: Any, expected: list[tuple[Any, ...]]) -> None:
    """Also inside functions, filters, pipes and multi-selects."""
    found = [(each.root, each.path, each.strict, each.guarded) for each in references(template)]
    assert expected == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${input", "not closed"),
        ("${}", "empty"),
        ("${input.}", "not a JMESPath expression"),
        ("${a = b}", "not a JMESPath expression"),
        ("${'}", "not a JMESPath expression"),
        ("${nofunction(a)}", "no function nofunction()"),
        ("${length()}", "takes 1 argument(s), not 0"),
        ("${length(a, b)}", "takes 1 argument(s), not 2"),
        ("${" + "a" * 1025 + "}", "at most 1024 characters"),
        ("${[" + "a," * 256 + "a]}", "at most 256 parts"),
        ("${" + "(" * 400 + "a" + ")" * 400 + "}", "at most 64 deep"),
        ("${`a`}", "is not JSON: write 'a'"),
        ("${`" + "[" * 65 + "]" * 65 + "`}", "at most 64 deep"),
        ("${!input.a}", "binds tighter"),
        ("${" + "!" * 1000 + "a}", "at most 64 deep"),
        ("${" + "||".join("a" * 66) + "}", "at most 64 deep"),
        ("${input" + " | [@, @]" * 7 + "}", "at most 64 times over"),
        ("${input" + ".[@, @]" * 7 + "}", "at most 64 times over"),
        ("${map(&[@, @, @, @, @, @, @, @, @], input.[@, @, @, @, @, @, @, @])}", "at most 64 times over"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused(text: str, words: str) -> None:
    """Whatever is wrong with it, the error says what."""
    with pytest.raises(ExpressionInvalid) as caught:
        references(text)
    assert words in caught.value.detail


@pytest.mark.parametrize(
    "text",
    [
        "${" + "a" * 1024 + "}",
        "${[" + "a," * 254 + "a]}",
        "${input" + " | [@, @]" * 6 + "}",
        "${" + "||".join("a" * 64) + "}",
        "${not_null(a, b, c)}",
        "${a || `" + "[" * 64 + "]" * 64 + "`}",
        '${a || `"\\`"`}',
        "${" + "(" * 64 + "a" + ")" * 64 + "}",
        "${'" + "(" * 100 + "' == input.a}",
    ],
)
def test_an_expression_just_within_the_bounds_is_taken(text: str) -> None:
    """The bounds are inclusive."""
    assert references(text)


def test_the_worst_expression_within_the_bounds_is_quick() -> None:
    """It multiplies its data 64 times and no more."""
    scope = {"input": list(range(1000))}
    found = evaluate("${input" + " | [@, @][]" * 6 + "}", scope)
    assert len(found) == 64_000


def test_a_template_far_too_deep_finds_nothing() -> None:
    """RecursionError never escapes, not even for what no document can hold."""
    deep: Any = "${input.name}"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(NothingFound):
        evaluate(deep, SCOPE)
    assert evaluate_members(deep, SCOPE) == (None, ("",))


def test_long_texts_are_evaluated_without_being_kept() -> None:
    """A text too long for the cache gives the same."""
    text = "x" * 10_000 + "${input.count}"
    assert evaluate(text, SCOPE) == "x" * 10_000 + "3"
    assert json.dumps(evaluate(text, SCOPE)) == json.dumps(evaluate(text, SCOPE))
