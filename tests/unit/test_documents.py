"""Reading YAML and JSON as what they say, and refusing whatever says two things."""

from __future__ import annotations

from typing import Any

import pytest

from saga.errors import DefinitionInvalid, InputInvalid, Problem
from saga.language.documents import read_document
from saga.language.schemas import check_schema, validate


def refused(text: bytes | str, *, yaml: bool) -> tuple[Problem, ...]:
    """Return the problems of a text that is no document."""
    with pytest.raises(DefinitionInvalid) as caught:
        read_document(text, yaml=yaml)
    return caught.value.problems


# --------------------------------------------------------------------------- YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("12345678901234567890123", 12345678901234567890123),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("yes", "yes"),
        ("on", "on"),
        ("2026-03-01", "2026-03-01"),
        ("2026-03-01T09:30:00Z", "2026-03-01T09:30:00Z"),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("5s", "5s"),
        ("'5'", "5"),
        ('"\\u00e4"', "ä"),
        ('"\\ud83d\\ude00"', "😀"),
        ("${input.a}", "${input.a}"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_yaml_is_read_by_the_core_schema_of_1_2(text: str, value: object) -> None:
    """Dates, times and the many spellings of yes are text."""
    document, _lines = read_document(f"member: {text}", yaml=True)
    assert document == {"member": value}
    assert type(document["member"]) is type(value)


def test_a_key_is_the_text_that_is_written() -> None:
    """A status code among them."""
    assert read_document("404: a\nyes: b\n1.0: c\n", yaml=True)[0] == {"404": "a", "yes": "b", "1.0": "c"}


def test_every_pointer_has_its_line() -> None:
    """A member begins with its name, an element with its value."""
    text = "a: [1,\n  {b/c: 2}]\nd:\n  - x\n  - y:\n      z: 1\n"
    value, lines = read_document(text, yaml=True)
    assert value == {"a": [1, {"b/c": 2}], "d": ["x", {"y": {"z": 1}}]}
    assert dict(lines) == {
        "": 1, "/a": 1, "/a/0": 1, "/a/1": 2, "/a/1/b~1c": 2,
        "/d": 3, "/d/0": 4, "/d/1": 5, "/d/1/y": 5, "/d/1/y/z": 6,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: &x 1\nb: 2", 1, "anchors"),
        ("a: 1\nb: *x", 2, "aliases"),
        ("a: 1\nb: !!int 5", 2, "tags"),
        ("a: !secret 5", 1, "tags"),
        ("!" * 1_000_000, None, "tags"),
        ("- a: 1\n- !!map {b: 1}", 2, "tags"),
        ("a: 1\nb: 2\na: 3", 3, "more than once"),
        ("a: 1\n'a': 3", 2, "more than once"),
        ("<<: {a: 1}", 1, "merges nothing"),
        ("a: 1\n---\nb: 2", 2, "one document"),
        ("%YAML 1.1\n---\na: 1", 1, "directives"),
        ("%TAG ! tag:x,2000:\n---\na: 1", 1, "directives"),
        ("? [a]\n: 1", 1, "a key is text"),
        ("~: 1", 1, "a key is text"),
        ("a: 012", 1, "quote it"),
        ("a: .nan", 1, "no number in JSON"),
        ("a: -.inf", 1, "no number in JSON"),
        ("a: 1e999", 1, "larger than any number"),
        ("a: " + "1" * 4301, 1, "4,300 digits"),
        ("a: 0x" + "f" * 5000, 1, "4,300 digits"),
        ('a: "\\ud800"', 1, "surrogate"),
        ('"\\ud800": 1', 1, "surrogate"),
        ("a:\n\tb: 1", 2, "not YAML"),
        ("a: b: c", 1, "not YAML"),
        ("a: {x: ${key}}", 1, "needs quotes"),
        ("a: 'x", 1, "not YAML"),
        ("", None, "empty"),
        ("# nothing but this\n", None, "empty"),
        ("a: \x00", None, "not YAML"),
        (b"a: 1\nb: \xff", 2, "UTF-8"),
        ("a: \ud800", None, "surrogate"),
        ("[" * 1000, None, "nested deeper"),
        ("- " * 100 + "a", None, "nested deeper"),
        ("a: " + "x" * 1_048_576, None, "larger than 1,048,576 bytes"),
    ],
)
def test_yaml_that_says_two_things_or_nothing_is_refused(
    text: bytes | str, line: int | None, words: str
) -> None:
    """With the line, and with what to write instead."""
    problem = refused(text, yaml=True)[0]
    assert words in problem.detail
    assert line == problem.line


@pytest.mark.parametrize(
    "tag", ["!secret", "!", "!!int", "!<tag:x,2000:y>", "!!python/object:os.system", "!" + "x" * 59]
)
def test_a_tag_is_told_as_it_is_written(tag: str) -> None:
    """So that it is found in the text."""
    assert refused(f"a: {tag} 5", yaml=True)[0].detail == f"tags are not taken: remove {tag}"


def test_a_long_tag_is_told_with_an_ellipsis() -> None:
    """It says that something is left out."""
    assert refused(f"a: !{'x' * 99} 5", yaml=True)[0].detail.endswith(f"remove !{'x' * 58}…")


def test_all_problems_of_a_yaml_text_are_found_at_once() -> None:
    """As far as it can be read at all."""
    found = refused("a: &x 1\nb: *x\nc: 012\na: !!str 2\n", yaml=True)
    assert [(each.line, each.pointer) for each in found] == [
        (1, "/a"),
        (2, "/b"),
        (3, "/c"),
        (4, "/a"),
        (4, "/a"),
    ]


def test_a_text_just_within_the_bounds_is_read() -> None:
    """Depth, digits and number of values."""
    deep = "[" * 63 + "]" * 63
    assert read_document(f"a: {deep}", yaml=True)[0]["a"]
    assert read_document("a: " + "1" * 4300, yaml=True)[0] == {"a": int("1" * 4300)}
    assert read_document("\ufeffa: 1", yaml=True)[0] == {"a": 1}
    assert read_document(b"\xef\xbb\xbfa: 1", yaml=True)[0] == {"a": 1}


# --------------------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12345678901234567890123", 12345678901234567890123),
        ("-0.5e1", -5.0),
        ('"\\ud83d\\ude00"', "😀"),
        ('{"a": [], "b": {}}', {"a": [], "b": {}}),
        (b"\xef\xbb\xbf null ", None),
        ("[" * 64 + "]" * 64, None),
        ('["' + '[{\\"' * 500 + '"]', ['[{"' * 500]),
        ("[" + "[[]]," * 500 + "0]", [*[[[]]] * 500, 0]),
    ],
)
def test_json_is_read_exactly(text: bytes | str, value: object) -> None:
    """Integers of any size and pairs of surrogates included."""
    found, _lines = read_document(text, yaml=False)
    assert found == value or value is None


@pytest.mark.parametrize(
    ("text", "line", "pointer", "words"),
    [
        ('{"a": 1,\n "b": {"c": 1, "c": 2}}', 2, "/b/c", "more than once"),
        ('{"a": 1, "\\u0061": 2}', 1, "/a", "more than once"),
        ("[NaN]", None, "", "NaN"),
        ("[-Infinity]", None, "", "-Infinity"),
        ("1e999", None, "", "larger than any number"),
        ("1" * 4301, None, "", "4,300 digits"),
        ('["\\ud800"]', 1, "/0", "surrogate"),
        ('{"\\udc00": 1}', 1, "", "surrogate"),
        ('{"a": 1,\n}', 1, "", "not JSON: a comma stands before the closing }: remove it (column 8)"),
        ("[1,\n 2 ,\n ]", 2, "", "not JSON: a comma stands before the closing ]: remove it (column 4)"),
        ("[,]", 1, "", "not JSON: a comma stands before the closing ]: remove it (column 2)"),
        ('{"a": ]', 1, "", "not JSON: Expecting value"),
        ('{"a",\n "b": 1}', 1, "", "not JSON: Expecting ':' delimiter"),
        ("[1,", 1, "", "not JSON: Expecting value"),
        ('{"a" 1}', 1, "", "not JSON"),
        ("'a'", 1, "", "not JSON"),
        ('"a\nb"', 1, "", "not JSON"),
        ("", 1, "", "not JSON"),
        ("[1] 2", 1, "", "not JSON"),
        ("[" * 65 + "]" * 65, 1, "/0" * 64, "nested deeper"),
        ("[" * 256, 1, "", "not JSON"),
        ("[" * 257, 1, "", "nested deeper"),
        ("[" * 100_000, 1, "", "nested deeper"),
        ('{"a":\n' * 100_000, 257, "", "nested deeper"),
        ('["\\"[",' * 100_000, 1, "", "nested deeper"),
        ("[]" * 300 + '"' + '\\"' * 400_000, 1, "", "not JSON: Extra data"),
        (b"\xff", 1, "", "UTF-8"),
    ],
)
def test_json_that_is_not_strict_is_refused(
    text: bytes | str, line: int | None, pointer: str, words: str
) -> None:
    """Python's parser alone would take half of these."""
    problem = refused(text, yaml=False)[0]
    assert words in problem.detail
    assert (line, pointer) == (problem.line, problem.pointer)


@pytest.mark.slow
@pytest.mark.parametrize("yaml", [True, False])
def test_a_document_has_so_many_values_at_most(yaml: bool) -> None:  # noqa: FBT001 -- a table
    """In either form."""
    assert "50,000 values" in refused("[" + "1," * 49_999 + "1]", yaml=yaml)[0].detail


def test_json_has_lines_too() -> None:
    """Found when the first is asked for."""
    text = '{"a": [1,\n  {"b/c": "x, {y}"}],\n "d": {\n  "": null}, "e": []}'
    _value, lines = read_document(text, yaml=False)
    assert lines["/a/1/b~1c"] == 2
    assert dict(lines) == {"": 1, "/a": 1, "/a/0": 1, "/a/1": 2, "/a/1/b~1c": 2, "/d": 3, "/d/": 4, "/e": 4}
    assert len(lines) == 8
    assert "/a/7" not in lines


def test_an_input_is_refused_as_one() -> None:
    """The caller says which error it is."""
    with pytest.raises(InputInvalid):
        read_document("{", yaml=False, error=InputInvalid)


# --------------------------------------------------------------------------- schemas


def violations(schema: dict[str, Any], value: object) -> list[tuple[str, str]]:
    """Return how a value fails a schema that is in order."""
    assert check_schema(schema) == ()
    return [(each.pointer, each.detail) for each in validate(schema, value, "/input")]


def test_every_violation_is_told_with_its_pointer() -> None:
    """In words, and below where the value stands."""
    schema = {
        "type": "object",
        "required": ["card"],
        "properties": {"a/b": {"items": {"type": "integer"}}},
        "additionalProperties": False,
    }
    assert sorted(violations(schema, {"a/b": [1, "x"], "q": 1})) == [
        ("/input", '"card" is a required property'),
        ("/input", "Additional properties are not allowed ('q' was unexpected)"),
        ("/input/a~1b/1", 'the value is not of type "integer"'),
    ]


def test_a_violation_never_repeats_the_value() -> None:
    """It may be what nobody should see."""
    schema = {"properties": {"card": {"type": "string", "maxLength": 3, "pattern": "^x", "enum": ["x"]}}}
    found = violations(schema, {"card": "4242-4242"})
    assert len(found) == 3
    assert "4242" not in str(found)


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"type": "integer"}, 2**70, True),
        ({"type": "integer", "maximum": 2**69}, 2**70, False),
        ({"const": 2**70}, 2**70, True),
        ({"const": 2**70}, 2**70 + 1, False),
        ({"enum": [2**70]}, 2**70 + 1, False),
        ({"multipleOf": 7}, 7 * 2**70, True),
        ({"multipleOf": 7}, 7 * 2**70 + 1, False),
        ({"type": "integer"}, 1.0, True),
        ({"type": "integer"}, 10**400, True),
        ({"uniqueItems": True}, [2**70, 2**70 + 1], True),
    ],
)
def test_integers_beyond_64_bits_are_compared_exactly(
    schema: dict[str, Any],
    value: object,
    valid: bool,  # noqa: FBT001 -- a table
) -> None:
    """Neither the schema's nor the value's are rounded."""
    assert valid is (violations(schema, value) == [])


def test_a_pattern_cannot_hold_the_process() -> None:
    """The classic one that backtracks for ever is answered at once."""
    assert violations({"pattern": "^(a+)+$"}, "a" * 40 + "b")


def test_local_references_are_followed() -> None:
    """Those within the schema; all others are refused when it is checked."""
    schema = {"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}
    assert violations(schema, 1)
    assert not violations(schema, "1")


def test_what_cannot_be_validated_is_not_valid() -> None:
    """It is told, not raised."""
    assert "cannot be checked" in violations({"type": "string"}, "\ud800")[0][1]
