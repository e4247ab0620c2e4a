"""Diagrams: of definitions, and of the state machine as its tables have it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from saga.core import graphs
from saga.core.statuses import Status
from saga.definition import parse_definition
from saga.language.documents import read_document
from saga.language.model import SagaDefinition
from tests.state_diagrams import saga_diagram

BOOKING = Path(__file__).parents[2] / "examples" / "flight_booking" / "flight_booking.yaml"


def booking() -> SagaDefinition:
    """Return the example's definition."""
    value, _ = read_document(BOOKING.read_bytes(), yaml=True)
    return parse_definition(value).definition


def one_step(**members: Any) -> str:
    """Return the lines of a definition with one step of that kind."""
    return graphs.flowchart(parse_definition({"name": "d", "steps": [{"name": "end", **members}]}).definition)


def test_a_definition_is_drawn_with_its_order_its_pivot_and_what_undoes_each_step() -> None:
    """The arrows are those of ``after``; dotted ones lead to compensations; the pivot is a hexagon."""
    drawn = graphs.flowchart(booking()).splitlines()

    arrows = [line.strip() for line in drawn if "-->" in line or "-.->" in line]
    assert arrows == [
        "step_reserve_flight -.-> undo_reserve_flight",
        "step_reserve_hotel -.-> undo_reserve_hotel",
        "step_reserve_flight --> step_charge_card",
        "step_reserve_hotel --> step_charge_card",
        "step_charge_card -.-> undo_charge_card",
        "step_charge_card --> step_issue_ticket",
    ]
    assert '  step_charge_card{{"charge_card (pivot)<br/>POST payments/charges"}}:::pivot' in drawn
    assert (
        '  undo_reserve_flight(["undo reserve_flight<br/>DELETE flights/reservations/${key}"]):::undo'
        in drawn
    )
    assert '  step_issue_ticket["issue_ticket<br/>POST flights/tickets"]:::retriable' in drawn


def test_a_condition_is_shown() -> None:
    """A step that may be skipped says when it is not."""
    assert "<br/>when ${input.hotel}" in graphs.flowchart(booking())


@pytest.mark.parametrize(
    ("members", "label"),
    [
        ({"wait": "30m"}, "wait 30m"),
        ({"signal": {"name": "approval"}}, "signal approval"),
        ({"fail": "no seats"}, "fail: no seats"),
        ({"saga": {"name": "child"}}, "saga child"),
        ({"worker": {"queue": "print"}, "compensation": "none"}, "worker on print"),
        ({"action": {"url": "http://a/b"}, "compensation": "none"}, "POST http://a/b"),
    ],
)
def test_every_kind_of_step_says_what_it_does(members: dict[str, Any], label: str) -> None:
    """Also a step named like a word of mermaid, which its prefix keeps apart."""
    assert f'step_end["end<br/>{label}"]' in one_step(**members)


def test_a_step_for_each_item_has_a_shape_of_its_own() -> None:
    """It stands for many."""
    drawn = one_step(
        action={"url": "http://a/b"},
        compensation={"worker": {"queue": "undo"}},
        for_each="${input.passengers}",
    )

    assert 'step_end[["end<br/>POST http://a/b<br/>for each of ${input.passengers}"]]' in drawn
    assert 'undo_end(["undo end<br/>worker on undo"]):::undo' in drawn


def test_no_text_of_a_definition_ends_its_label() -> None:
    """Quotes, angle brackets and line breaks would draw something else."""
    drawn = one_step(fail='a "quoted"\n<b>#1</b> & `more`')

    label = "fail: a #quot;quoted#quot; #lt;b#gt;#35;1#lt;/b#gt; #amp; #96;more#96;"
    assert f'step_end["end<br/>{label}"]' in drawn


def test_a_long_reason_is_cut() -> None:
    """A diagram is read at a glance."""
    assert f'"end<br/>fail: {"x" * 59}…"' in one_step(fail="x" * 200)


# the state machine


def edges(diagram: str) -> dict[tuple[str, str], str]:
    """Return the arrows of a state diagram with their labels."""
    found = re.findall(r"^  (\S+) --> (\S+?)(?:: (.*))?$", diagram, re.MULTILINE)
    return {(start, end): label for start, end, label in found}


def test_the_saga_diagram_has_every_status_and_only_real_moves() -> None:
    """It begins running, has three ends, and shows nothing that leads nowhere."""
    drawn = edges(saga_diagram())

    assert {name for edge in drawn for name in edge} == {"[*]", *Status}
    assert [start for start, end in drawn if end == "[*]"] == ["completed", "abandoned", "compensated"]
    assert drawn["[*]", "running"] == "saga started"
    assert all(start != end for start, end in drawn)


def test_the_saga_diagram_names_what_a_person_did() -> None:
    """What sets a parked saga going by itself is told as one thing, commands by name."""
    drawn = edges(saga_diagram())

    assert drawn["parked", "running"].split("<br/>") == [
        "an answer or a late fact",
        "retry commanded",
        "skip commanded",
        "resolve commanded",
    ]
    assert drawn["completed", "compensating"] == "saga reopened"
