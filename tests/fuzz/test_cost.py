"""Whatever text or value comes in, reading it takes a bounded time: hostile ones of the largest size there may be.

The time is CPU time of the reader, in units of what the standard library takes to read a megabyte of JSON, so that
it says something about the code and not about the machine. One unit is some 30 ms.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from saga.api import bodies
from saga.definition import parse_definition
from saga.errors import DefinitionInvalid
from saga.language.documents import MAX_BYTES, read_document
from saga.language.schemas import check_schema, validate
from tests.fuzz.cost import cpu, units

pytestmark = pytest.mark.slow

#: A megabyte of YAML is read by a parser in Python; nothing else may take nearly as long.
YAML_UNITS, JSON_UNITS, CHECK_UNITS, EXPRESSION_UNITS = 400, 60, 100, 800

YAMLS = {
    "sequence": "- a\n", "flow": "a,", "plain": "a ", "lines": "a\n", "question": "? a\n", "dashes": "- ",
    "colons": "a: ", "comments": "# a\n", "anchors": "- &a b\n", "tags": "- !a b\n", "directives": "%a\n",
    "documents": "---\n", "duplicates": "a: 1\n", "spaces": " ", "empty lines": "\r\n", "tabs": "\t", "quotes": "''",
    "opening": "[", "objects": "{a: ", "digits": "1", "dots": ".", "planes": "\U0001f4ba", "separators": "\u2028",
    "long tags": "- !" + "x" * 250 + " b\n", "references": "${a} ", "escapes": "\\", "percent": "%", "bang": "!x",
}  # fmt: skip
HEADS = ["", "[", '"', "'", "|\n ", "a: !", "&", "? "]


def reading(text: str, *, yaml: bool) -> Callable[[], None]:
    """Return what reads the text, whether or not it is a document."""

    def read() -> None:
        with contextlib.suppress(DefinitionInvalid):
            read_document(text, yaml=yaml)[1].get("")

    return read


@pytest.mark.parametrize("name", YAMLS)
def test_a_megabyte_of_any_yaml_is_read_in_linear_time(name: str) -> None:
    """Of one thing again and again: twice the text takes about twice the time, and is bounded as a whole."""
    piece = YAMLS[name]
    for head in HEADS if len(piece) < 3 else HEADS[:1]:
        size = MAX_BYTES // len((head + piece).encode()) // 24
        small = cpu(reading(head + piece * (size // 4), yaml=True), times=1)
        large = units(reading(head + piece * size, yaml=True))
        assert large < YAML_UNITS, (name, head)
        assert large < 1 or cpu(reading(head + piece * size, yaml=True), times=1) < 16 * max(small, 0.004), (
            head
        )


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        '{"a":' * 200_000,
        "{" + ",".join(f'"k{n}":1' for n in range(60_000)) + "}",
        "{" + ",".join('"a":1' for _ in range(150_000)) + "}",
        "1" * 1_000_000,
        "[" + ",".join(["1" * 4000] * 240) + "]",
        '"' + "\\u0041" * 170_000 + '"',
        '["' + '","'.join(["\\ud800"] * 49_000) + '"]',
        "[" + ",".join(["1e999"] * 49_000) + "]",
        '"' * 1_000_000,
        " " * 1_000_000,
    ],
    ids=lambda text: text[:8],
)
def test_a_megabyte_of_any_json_is_read_in_bounded_time(text: str) -> None:
    """With the line of every member."""
    assert units(reading(text, yaml=False)) < JSON_UNITS


def step(name: str, **more: Any) -> dict[str, Any]:
    """Return a step that is in order."""
    return {"name": name, "action": {"url": "http://127.0.0.1:1"}, "compensation": "none"} | more


def definition(*steps: dict[str, Any], **top: Any) -> dict[str, Any]:
    """Return a definition of these steps."""
    return {"name": "a", "steps": list(steps) or [step("s")]} | top


MANY = 20_000
DEFINITIONS = {
    "unknown members": definition(**{f"nam{n}": 1 for n in range(MANY)}),
    "unknown members of a step": definition(step("s", **{f"nam{n}": 1 for n in range(MANY)})),
    "services": definition(services={f"s{n}": {"url": "http://127.0.0.1:1"} for n in range(MANY)}),
    "services with wrong names": definition(services={f"S{n}": {"url": "x"} for n in range(MANY)}),
    "labels": definition(labels={f"s{n}": "${input.a}" for n in range(MANY)}),
    "every edge": definition(*(step(f"s{n}", after=[f"s{m}" for m in range(n)]) for n in range(200))),
    "every cycle": definition(*(step(f"s{n}", after=[f"s{m}" for m in range(200)]) for n in range(200))),
    "one name": definition(*(step("s") for _ in range(200))),
    "too many steps": definition(*({"name": f"s{n}", "fail": "x"} for n in range(16_000))),
    "statuses": definition(step("s", action={"url": "http://127.0.0.1:1", "on_status": {str(n): "retry" for n in range(40_000)}})),
    "unknown steps": definition(step("s", after=[f"s{n}" for n in range(40_000)])),
    "wrong items": definition(step("s", after=list(range(40_000)))),
    "one reference again and again": definition(labels={"a": "${a}" * 240_000}),
    "open references": definition(labels={"a": "${" * 500_000}),
    "dollars": definition(labels={"a": "$${" * 300_000}),
    "braces": definition(labels={"a": "${" + "{" * 1_000_000}),
    "quotes": definition(labels={"a": "${" + "'" * 999_999}),
    "long expressions": definition(
        labels={"a": "".join("${" + "||".join(f"input.a{m}" for m in range(60)) + f"||input.b{n}}}" for n in range(900))}
    ),
    "references that lead nowhere": definition(step("s", output=[f"${{inpu{n}}}" for n in range(4_900)])),
    "a schema of many members": definition(input={"properties": {f"a{n}": {"type": "string"} for n in range(10_000)}}),
    "a schema of many patterns": definition(input={"patternProperties": {f"^a{n}$": {} for n in range(1, 9_000)}}),
    "a pattern that multiplies": definition(input={"pattern": "((a{1,100}){1,100}){1,100}"}),
    "a long pattern": definition(input={"pattern": "(a|b)" * 100_000}),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFINITIONS)
def test_any_definition_is_checked_in_bounded_time(name: str) -> None:
    """As large as they may be, and wrong in every member; at most a hundred problems of a kind are told."""

    def check() -> None:
        with contextlib.suppress(DefinitionInvalid):
            parse_definition(DEFINITIONS[name])

    # A megabyte of nothing but expressions has to be parsed, aside from everything else.
    assert units(check) < (EXPRESSION_UNITS if name == "long expressions" else CHECK_UNITS)


@pytest.mark.parametrize(
    "value",
    [
        {"definition": "a"} | {f"definitio{n}": 1 for n in range(49_000)},
        {"definition": "a", "labels": {f"A{n}": 1 for n in range(49_000)}},
        {"definition": "a", "labels": {f"a{n}": [] for n in range(49_000)}},
        {"definition": "a", "d" * 500_000: 1},
    ],
    ids=["unknown", "names", "values", "one long"],
)
def test_a_request_at_fault_everywhere_is_refused_in_bounded_time_and_size(value: dict[str, Any]) -> None:
    """A hundred problems are listed, however many there are."""
    with pytest.raises(ValidationError) as caught:
        bodies.StartBody.model_validate(value)
    told = list(bodies._problems(caught.value, bodies.StartBody))
    assert len(told) <= bodies.MOST_PROBLEMS
    assert units(lambda: list(bodies._problems(caught.value, bodies.StartBody))) < JSON_UNITS


@pytest.mark.parametrize(
    "pattern",
    ["^(a+)+$", "^(a|aa)+$", "(.*)*x", r"^(\w+\s?)*$", "(a{1,50}){1,20}b", "^.{1,1000}$", "(x+x+)+y"],
)
def test_no_pattern_takes_more_than_linear_time(pattern: str) -> None:
    """Whatever the text."""
    schema = {"pattern": pattern}
    assert check_schema(schema) == ()
    for text in ("a" * 500_000 + "!", "x" * 500_000, " " * 500_000):
        assert units(lambda: validate(schema, text)) < CHECK_UNITS  # noqa: B023 - called at once


@pytest.mark.parametrize("pattern", ["(?=(a+)+$).*", r"(a+)\1+b", "(?<!a)b", "(?!a)b"])
def test_a_pattern_that_looks_around_or_back_is_refused(pattern: str) -> None:
    """It takes a matcher that half a megabyte keeps busy for minutes."""
    (problem,) = check_schema({"properties": {"a": {"pattern": pattern}}})
    assert problem.pointer == "/properties/a/pattern"
    assert "looks around or back" in problem.detail
    (told,) = validate({"pattern": pattern}, "a" * 500_000)
    assert told.detail.startswith("cannot be checked")


def test_a_schema_with_many_equal_items_to_tell_apart_is_bounded() -> None:
    """``uniqueItems`` compares each with each only if it has to."""
    schema = {"uniqueItems": True}
    for items in (list(range(49_000)), [{"a": n} for n in range(24_000)], [[n] for n in range(24_000)]):
        assert units(lambda: validate(schema, items)) < CHECK_UNITS  # noqa: B023 - called at once
        assert len(json.dumps(items)) < MAX_BYTES
