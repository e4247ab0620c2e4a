"""What holds for every document, whatever its bytes, and for every definition."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from saga.definition import load_definition, parse_definition
from saga.errors import DefinitionInvalid
from saga.language.documents import read_document
from saga.language.durations import format_duration, parse_duration
from saga.language.graph import Graph

#: A shared machine may be slow at any moment, which says nothing about the code.
unhurried = settings(deadline=None)
fewer = settings(deadline=None, max_examples=40)

texts = st.text(st.characters(codec="utf-8"), max_size=8)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
#: What YAML is made of, so that odd but nearly valid texts arise.
yaml_pieces = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            ": ",
            "\n",
            "  ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "'",
            '"',
            "|\n",
            ">\n",
            "&x ",
            "*x",
            "!t ",
            "? ",
            "#",
            "%",
            "---\n",
            "...\n",
            "\t",
            "1",
            "~",
            "\\",
            "${a}",
            "@",
            "`",
            "\x85",
            "\u2028",
            "\ufeff",
            "<<",
        ]
    ),
    max_size=14,
).map("".join)

_durations = st.sampled_from(["1ms", "250ms", "5s", "90s", "10m", "24h", "7d", "1.5h"])
_retries = st.fixed_dictionaries(
    {},
    optional={
        "attempts": st.integers(1, 20) | st.just("unlimited"),
        "initial": st.sampled_from(["1ms", "5s"]),
        "factor": st.sampled_from([1, 1.5, 2]),
        "max": st.sampled_from(["10s", "1h"]),
        "within": _durations | st.just("unlimited"),
    },
)
_calls = st.fixed_dictionaries(
    {"url": st.just("http://127.0.0.1:9101")},
    optional={
        "method": st.sampled_from(["POST", "delete", "PUT"]),
        "path": st.sampled_from(["", "/a", "/a/${key}"]),
        "body": values.filter(lambda value: "${" not in json.dumps(value)),
        "timeout": _durations.filter(lambda text: text != "7d"),
        "retry": _retries,
        "accept": st.sampled_from(["json", "text"]),
        "on_status": st.dictionaries(
            st.sampled_from(["404", "5xx"]), st.sampled_from(["succeeded", "refused", "retry"])
        ),
        "pending": st.fixed_dictionaries({}, optional={"timeout": _durations}),
    },
)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a definition that is in order: steps that wait for some above them, perhaps a last pivot."""
    count = draw(st.integers(1, 5))
    steps: list[dict[str, Any]] = []
    for at in range(count):
        step: dict[str, Any] = {"name": f"s{at}", "action": draw(_calls)}
        step["compensation"] = draw(_calls | st.just("none"))
        if draw(st.booleans()):
            step["after"] = draw(
                st.lists(st.sampled_from([f"s{each}" for each in range(at)] or ["s0"]), unique=True)
            )
            step["after"] = [] if at == 0 else step["after"]
        steps.append(step)
    if draw(st.booleans()):
        steps.append({"name": "pivot", "after": [f"s{at}" for at in range(count)], "pivot": True,
                      "action": draw(_calls), "compensation": "none"})  # fmt: skip
        steps.append({"name": "late", "action": draw(_calls)})
    document: dict[str, Any] = {"name": "example", "steps": steps}
    if draw(st.booleans()):
        document["defaults"] = {"compensation": {"retry": draw(_retries)}}
    return document


@fewer
@given(definitions())
def test_normalising_is_done_once(document: dict[str, Any]) -> None:
    """The normalised document gives an equal definition, and itself again, byte for byte."""
    definition = parse_definition(document).definition
    normalised = definition.document()
    again = parse_definition(normalised).definition
    assert again == definition
    assert json.dumps(again.document()) == json.dumps(normalised)
    assert load_definition(json.loads(json.dumps(normalised))) == definition


@fewer
@given(definitions())
def test_every_default_is_written_out(document: dict[str, Any]) -> None:
    """No call is left without a policy of its own."""
    for step in parse_definition(document).definition.document()["steps"]:
        for phase in ("action", "compensation"):
            call = step.get(phase, "none")
            if call != "none":
                assert {"method", "path", "timeout", "retry", "accept", "pending"} <= set(call)
                assert set(call["retry"]) == {"attempts", "initial", "factor", "max", "within"}
        assert "after" in step


@unhurried
@given(values)
def test_no_value_is_too_odd_a_definition(value: Any) -> None:
    """It is refused with problems, or it is one."""
    for document in (
        value,
        {"name": "x", "steps": value},
        {"name": "x", "steps": [value, {"name": "a", "action": value}]},
    ):
        try:
            parse_definition(document)
        except DefinitionInvalid as invalid:
            assert invalid.problems  # noqa: PT017 -- most are refused, some are not


@fewer
@given(definitions(), st.data())
def test_a_definition_with_one_odd_member_is_refused_in_words(
    document: dict[str, Any], data: st.DataObject
) -> None:
    """Wherever it stands."""
    step = data.draw(st.sampled_from(document["steps"]))
    holder = data.draw(st.sampled_from([document, step, step["action"]]))
    holder[data.draw(st.sampled_from(sorted(holder)) | texts)] = data.draw(values)
    try:
        parse_definition(document)
    except DefinitionInvalid as invalid:
        assert all(problem.detail for problem in invalid.problems)  # noqa: PT017 -- some are taken


@unhurried
@given(st.binary(max_size=60) | texts | yaml_pieces | yaml_pieces.map(str.encode), st.booleans())
def test_no_text_raises_anything_but_problems(text: bytes | str, yaml: bool) -> None:  # noqa: FBT001 -- drawn
    """Whatever the bytes, it is a document or it is refused."""
    try:
        value, lines = read_document(text, yaml=yaml)
    except DefinitionInvalid as invalid:
        assert invalid.problems  # noqa: PT017 -- some are documents
        return
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    assert lines[""] >= 1


@unhurried
@given(values)
def test_json_is_read_as_it_was_written(value: Any) -> None:
    """And with a line for every pointer."""
    text = json.dumps(value, indent=1)
    found, lines = read_document(text, yaml=False)
    assert json.dumps(found) == json.dumps(value)
    assert max(lines.values()) <= text.count("\n") + 1


@fewer
@given(values)
def test_yaml_reads_json_as_json(value: Any) -> None:
    """Every document is the same in both."""
    text = json.dumps({"a": value}, indent=1)
    assert read_document(text, yaml=True)[0] == read_document(text, yaml=False)[0]


@unhurried
@given(st.integers(0, 3650 * 86_400_000))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    """To the millisecond."""
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@unhurried
@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3)))
def test_a_graph_is_sorted_or_has_a_cycle(after: dict[str, list[str]]) -> None:
    """One or the other, and what is upstream of a step stands before it."""
    graph = Graph(after)
    if graph.cycle is not None:
        circle = (*graph.cycle, graph.cycle[0])
        assert all(second in graph.after(first) for first, second in pairwise(circle))
        return
    assert sorted(graph.topological) == sorted(after)
    for at, name in enumerate(graph.topological):
        assert graph.upstream(name) <= set(graph.topological[:at])
        assert all(name in graph.downstream(each) for each in graph.upstream(name))
