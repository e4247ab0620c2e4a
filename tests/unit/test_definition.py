"""What a definition is, how it is normalised, and that Python and text give the same."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from saga.definition import parse_definition
from saga.errors import DefinitionInvalid
from saga.language.documents import read_document
from saga.language.durations import format_duration, parse_duration, parse_time
from saga.language.model import (
    Action,
    CallDefaults,
    ChildSaga,
    Compensation,
    Defaults,
    Pending,
    Retry,
    SagaDefinition,
    Service,
    Signal,
    Step,
    Worker,
)

FLIGHT_BOOKING = """\
name: flight_booking
description: Reserve a seat and a room, charge the card, issue the ticket.
input:
  type: object
  required: [traveller, flight, card, amount]
  properties: {traveller: {type: object, required: [email]}}
sensitive: [/card]
services:
  flights:  {url: http://127.0.0.1:9101}
  hotels:   {url: http://127.0.0.1:9102}
  payments: {url: http://127.0.0.1:9103}
timeout: 10m
due: 5m
labels: {traveller: "${input.traveller.email}", amount: "${input.amount}"}
steps:
  - name: reserve_flight
    action:
      service: flights
      method: POST
      path: /reservations
      headers: {X-Channel: web}
      body: {id: "${key}", flight: "${input.flight}"}
      timeout: 5s
      retry: {attempts: 5, initial: 200ms, factor: 2, max: 10s, within: 1m}
    output: {id: "${response.body.id}", price: "${response.body.price}"}
    compensation:
      method: DELETE
      path: /reservations/${key}
      on_status: {404: succeeded}
  - name: reserve_hotel
    after: []
    when: "${input.hotel}"
    action: {service: hotels, path: /reservations, body: {id: "${key}", hotel: "${input.hotel}"}}
    compensation: {method: DELETE, path: "/reservations/${key}", on_status: {404: succeeded}}
  - name: charge_card
    after: [reserve_flight, reserve_hotel]
    pivot: true
    action:
      service: payments
      path: /charges
      body: {id: "${key}", amount: "${steps.reserve_flight.output.price}"}
      on_status: {402: refused}
      refused_when: "${response.body.status == 'DECLINED'}"
    compensation: {path: "/charges/${key}/refund"}
  - name: issue_ticket
    action: {service: flights, path: /tickets, body: {reservation: "${steps.reserve_flight.output.id}"}}
output: {ticket: "${steps.issue_ticket.output.number}"}
"""


def parsed(document: object) -> SagaDefinition:
    """Return the normalised definition of a document that is in order."""
    return parse_definition(document).definition


@pytest.fixture(scope="module")
def flight_booking() -> SagaDefinition:
    """Return the flight booking, read from its YAML."""
    document, lines = read_document(FLIGHT_BOOKING, yaml=True)
    result = parse_definition(document, lines=lines, services=frozenset())
    assert result.warnings == ()
    return result.definition


# --------------------------------------------------------------------------- reading


def test_the_flight_booking_is_in_order(flight_booking: SagaDefinition) -> None:
    """As it is written, and without a warning."""
    assert flight_booking.name == "flight_booking"
    assert [step.name for step in flight_booking.steps] == [
        "reserve_flight",
        "reserve_hotel",
        "charge_card",
        "issue_ticket",
    ]
    assert (flight_booking.timeout, flight_booking.due) == (600.0, 300.0)
    assert flight_booking.services["hotels"].url == "http://127.0.0.1:9102"


def test_positions_are_relative_to_the_pivot(flight_booking: SagaDefinition) -> None:
    """Before it a step can be undone, after it only retried."""
    assert flight_booking.pivot == "charge_card"
    positions = {step.name: flight_booking.position(step.name) for step in flight_booking.steps}
    assert positions == {
        "reserve_flight": "before",
        "reserve_hotel": "before",
        "charge_card": "pivot",
        "issue_ticket": "after",
    }


def test_a_step_waits_for_the_one_above_unless_it_says_otherwise(flight_booking: SagaDefinition) -> None:
    """What is not written is written out."""
    after = {step.name: step.after for step in flight_booking.steps}
    assert after == {
        "reserve_flight": (),
        "reserve_hotel": (),
        "charge_card": ("reserve_flight", "reserve_hotel"),
        "issue_ticket": ("charge_card",),
    }
    assert flight_booking.graph.upstream("issue_ticket") == {"reserve_flight", "reserve_hotel", "charge_card"}


def test_what_is_written_is_kept(flight_booking: SagaDefinition) -> None:
    """A partly written policy keeps what it says and takes the rest from the defaults."""
    action = flight_booking.step("reserve_flight").action
    assert action is not None
    assert action.timeout == 5.0
    assert action.retry == Retry(attempts=5, initial=0.2, factor=2, max=10.0, within=60.0)
    assert action.headers == {"X-Channel": "web"}
    assert action.pending == Pending(timeout=900.0, poll=10.0)


def test_a_compensation_goes_where_its_action_went(flight_booking: SagaDefinition) -> None:
    """Unless it says otherwise; a status may be written as a number."""
    compensation = flight_booking.step("reserve_hotel").compensation
    assert isinstance(compensation, Compensation)
    assert (compensation.service, compensation.method) == ("hotels", "DELETE")
    assert compensation.on_status == {"404": "succeeded"}
    elsewhere = parsed(_one(compensation={"url": "http://b", "path": "/x"})).steps[0].compensation
    assert isinstance(elsewhere, Compensation)
    assert (elsewhere.url, elsewhere.service) == ("http://b", None)


def test_default_policies_differ_before_and_after_the_pivot(flight_booking: SagaDefinition) -> None:
    """An action up to the pivot gives up soon; compensations and later steps go on for a day."""
    soon = Retry(attempts=4, initial=0.2, factor=2, max=10.0, within=None)
    long = Retry(attempts=12, initial=0.5, factor=2, max=300.0, within=86_400.0)
    pivot, after = flight_booking.step("charge_card"), flight_booking.step("issue_ticket")
    assert pivot.action is not None
    assert after.action is not None
    assert isinstance(pivot.compensation, Compensation)
    assert (pivot.action.retry, pivot.action.timeout) == (soon, 10.0)
    assert (after.action.retry, after.action.timeout) == (long, 10.0)
    assert (pivot.compensation.retry, pivot.compensation.timeout) == (long, 10.0)


def _one(**more: Any) -> dict[str, Any]:
    step = {"name": "a", "action": {"url": "http://a"}, "compensation": "none", **more}
    return {"name": "example", "steps": [step]}


def test_a_definition_may_have_defaults_of_its_own() -> None:
    """They too may be written in part, and hold for workers as well."""
    document = {
        "name": "example",
        "defaults": {
            "action": {"timeout": "1s", "retry": {"attempts": 2}},
            "compensation": {"timeout": "2s", "retry": {"initial": "1s"}},
        },
        "steps": [
            {"name": "a", "action": {"url": "http://a"}, "compensation": {"path": "/undo"}},
            {
                "name": "p",
                "worker": {"queue": "q"},
                "pivot": True,
                "compensation": {"worker": {"queue": "q"}},
            },
            {"name": "z", "worker": {"queue": "q", "retry": {"max": "1m"}}},
        ],
    }
    definition = parsed(document)
    a, p, z = definition.steps
    assert a.action is not None
    assert p.worker is not None
    assert z.worker is not None
    assert isinstance(a.compensation, Compensation)
    assert isinstance(p.compensation, Worker)
    assert (a.action.timeout, a.action.retry.attempts, a.action.retry.initial) == (1.0, 2, 0.2)
    assert (a.compensation.timeout, a.compensation.retry.attempts, a.compensation.retry.initial) == (
        2.0,
        12,
        1.0,
    )
    assert (p.worker.timeout, p.worker.retry.attempts) == (1.0, 2)
    assert (p.compensation.timeout, p.compensation.retry.initial) == (2.0, 1.0)
    assert (z.worker.timeout, z.worker.retry.attempts, z.worker.retry.max) == (1.0, 12, 60.0)
    assert definition.defaults.action.retry == Retry(attempts=2, initial=0.2, factor=2, max=10.0, within=None)


def test_a_body_of_null_is_a_body() -> None:
    """Absent, none is sent."""
    with_null, without = parsed(_one(action={"url": "http://a", "body": None})), parsed(_one())
    assert with_null.steps[0].action is not None
    assert without.steps[0].action is not None
    assert with_null.steps[0].action.has_body
    assert not without.steps[0].action.has_body
    assert with_null.document()["steps"][0]["action"]["body"] is None
    assert "body" not in without.document()["steps"][0]["action"]


def test_an_output_of_null_is_an_output() -> None:
    """Absent, the whole body is the output."""
    assert parsed(_one(output=None)).steps[0].has_output
    assert not parsed(_one()).steps[0].has_output
    assert parsed({**_one(), "output": None}).has_output
    assert not parsed(_one()).has_output


def test_null_elsewhere_is_as_good_as_nothing() -> None:
    """It is not kept in the normalised form."""
    assert parsed(_one(when=None, due=None)).document() == parsed(_one()).document()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("action", {"url": "http://a"}),
        ("wait", "30m"),
        ("signal", {"name": "approval", "timeout": "24h"}),
        ("saga", {"name": "child", "version": 3, "input": {"a": "${input.a}"}}),
        ("worker", {"queue": "q", "input": None}),
        ("fail", "sold out"),
    ],
)
def test_every_kind_of_step_is_known(kind: str, value: object) -> None:
    """Exactly one of them makes a step what it is."""
    step = {"name": "a", kind: value, "compensation": "none"}
    definition = parsed({"name": "example", "steps": [step]})
    assert definition.steps[0].kind == kind
    assert definition.steps[0].kinds == (kind,)
    assert parsed(definition.document()) == definition


# --------------------------------------------------------------------------- normalising


def test_the_normalised_document_writes_every_default_out(flight_booking: SagaDefinition) -> None:
    """So that a later release's defaults change nothing that is stored."""
    document = flight_booking.document()
    assert document["steps"][3] == {
        "name": "issue_ticket",
        "after": ["charge_card"],
        "action": {
            "service": "flights",
            "method": "POST",
            "path": "/tickets",
            "body": {"reservation": "${steps.reserve_flight.output.id}"},
            "timeout": "10s",
            "retry": {"attempts": 12, "initial": "500ms", "factor": 2, "max": "5m", "within": "24h"},
            "accept": "json",
            "pending": {"timeout": "15m", "poll": "10s"},
        },
        "on_refused": "compensate",
    }
    assert document["defaults"]["action"]["retry"]["within"] == "unlimited"
    assert document["timeout"] == "10m"


def test_normalising_twice_changes_nothing(flight_booking: SagaDefinition) -> None:
    """Neither the definition nor its document, down to the order of members."""
    again = parsed(flight_booking.document())
    assert again == flight_booking
    assert json.dumps(again.document()) == json.dumps(flight_booking.document())
    assert again.normalised() == again


def test_the_order_in_which_fields_are_written_makes_no_difference() -> None:
    """Equal definitions have equal documents, byte for byte."""
    written = _one(due="5m")
    turned = {name: written[name] for name in reversed(written)}
    turned["steps"] = [dict(reversed(list(written["steps"][0].items())))]
    assert json.dumps(parsed(turned).document()) == json.dumps(parsed(written).document())


def test_reading_leaves_the_document_as_it_was() -> None:
    """Also one that has to be mended to be checked."""
    broken = {"name": 5, "steps": [{"name": "a", "action": {"url": "http://a", "colour": 1}}, None]}
    before = copy.deepcopy(broken)
    with pytest.raises(DefinitionInvalid):
        parse_definition(broken)
    assert before == broken


def test_large_integers_are_kept_exactly() -> None:
    """An account number of twenty-two digits among them."""
    number = 1234567890123456789012
    document, _lines = read_document(
        json.dumps(_one(action={"url": "http://a", "body": [number]})), yaml=False
    )
    assert parsed(document).document()["steps"][0]["action"]["body"] == [number]


# --------------------------------------------------------------------------- from Python


def test_python_and_text_give_the_same(flight_booking: SagaDefinition) -> None:
    """The same models, the same document."""
    made = SagaDefinition(
        name="flight_booking",
        description="Reserve a seat and a room, charge the card, issue the ticket.",
        input={
            "type": "object",
            "required": ["traveller", "flight", "card", "amount"],
            "properties": {"traveller": {"type": "object", "required": ["email"]}},
        },
        sensitive=("/card",),
        services={
            "flights": Service(url="http://127.0.0.1:9101"),
            "hotels": Service(url="http://127.0.0.1:9102"),
            "payments": Service(url="http://127.0.0.1:9103"),
        },
        timeout=timedelta(minutes=10),
        due="5m",
        labels={"traveller": "${input.traveller.email}", "amount": "${input.amount}"},
        steps=(
            Step(
                name="reserve_flight",
                action=Action(
                    service="flights",
                    path="/reservations",
                    headers={"X-Channel": "web"},
                    body={"id": "${key}", "flight": "${input.flight}"},
                    timeout=5,
                    retry=Retry(attempts=5, initial=0.2, factor=2, max=10, within=60),
                ),
                output={"id": "${response.body.id}", "price": "${response.body.price}"},
                compensation=Compensation(
                    method="DELETE", path="/reservations/${key}", on_status={"404": "succeeded"}
                ),
            ),
            Step(
                name="reserve_hotel",
                after=(),
                when="${input.hotel}",
                action=Action(
                    service="hotels", path="/reservations", body={"id": "${key}", "hotel": "${input.hotel}"}
                ),
                compensation=Compensation(
                    method="DELETE", path="/reservations/${key}", on_status={"404": "succeeded"}
                ),
            ),
            Step(
                name="charge_card",
                after=("reserve_flight", "reserve_hotel"),
                pivot=True,
                action=Action(
                    service="payments",
                    path="/charges",
                    body={"id": "${key}", "amount": "${steps.reserve_flight.output.price}"},
                    on_status={"402": "refused"},
                    refused_when="${response.body.status == 'DECLINED'}",
                ),
                compensation=Compensation(path="/charges/${key}/refund"),
            ),
            Step(
                name="issue_ticket",
                action=Action(
                    service="flights",
                    path="/tickets",
                    body={"reservation": "${steps.reserve_flight.output.id}"},
                ),
            ),
        ),
        output={"ticket": "${steps.issue_ticket.output.number}"},
    )
    assert made.document() == flight_booking.document()
    assert parsed(made) == flight_booking


def test_python_definitions_are_checked_like_any_other() -> None:
    """Their parts alone cannot tell whether they fit."""
    with pytest.raises(DefinitionInvalid, match="how it is undone"):
        parse_definition(SagaDefinition(name="x", steps=(Step(name="a", action=Action(url="http://a")),)))


def test_every_part_can_be_made_in_python() -> None:
    """Workers as compensations, and values that never end, included."""
    made = SagaDefinition(
        name="x",
        defaults=Defaults(compensation=CallDefaults(timeout="3s")),
        steps=(
            Step(name="s", signal=Signal(name="approval", timeout=60)),
            Step(name="c", saga=ChildSaga(name="child")),
            Step(
                name="w",
                worker=Worker(queue="q", retry=Retry(attempts=None)),
                compensation=Worker(queue="q", retry=Retry(attempts="unlimited", within="unlimited")),
            ),
        ),
    )
    w = made.document()["steps"][2]
    assert w["worker"]["retry"]["attempts"] == "unlimited"
    assert w["compensation"]["worker"]["timeout"] == "3s"
    assert w["compensation"]["worker"]["retry"]["within"] == "unlimited"
    assert parsed(made).document() == made.document()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Step(name="Not A Name"),
        lambda: Action.model_validate({"url": "http://a", "colour": 1}),
        lambda: Retry(attempts=0),
        lambda: Retry(attempts=True),
        lambda: Action(timeout="soon"),
        lambda: Action(timeout=-1),
        lambda: Action(timeout=float("nan")),
        lambda: Action(timeout=True),
        lambda: Step(name="a", compensation={"worker": {}}),
    ],
)
def test_a_part_of_the_wrong_shape_cannot_be_made(make: Any) -> None:
    """Pydantic tells at once."""
    with pytest.raises(ValidationError):
        make()


def test_definitions_are_frozen(flight_booking: SagaDefinition) -> None:
    """A running saga's definition never changes under it."""
    with pytest.raises(ValidationError, match="frozen"):
        flight_booking.steps[0].name = "other"  # type: ignore[misc]


def test_a_step_that_does_not_exist_is_not_found(flight_booking: SagaDefinition) -> None:
    """Like any key."""
    with pytest.raises(KeyError):
        flight_booking.step("nobody")


# --------------------------------------------------------------------------- lines, durations


def test_a_problem_has_the_line_of_what_it_is_about() -> None:
    """Or of what is around it, when it is about something that is not there."""
    text = "name: example\nsteps:\n  - name: a\n    action:\n      url: http://a\n      path: a?b\n  - wait: 5s\n"
    document, lines = read_document(text, yaml=True)
    with pytest.raises(DefinitionInvalid) as caught:
        parse_definition(document, lines=lines)
    assert [(each.line, each.pointer) for each in caught.value.problems] == [
        (3, "/steps/0"),
        (6, "/steps/0/action/path"),
        (6, "/steps/0/action/path"),
        (7, "/steps/1"),
    ]


def test_lines_are_found_in_json_too() -> None:
    """A problem there is no harder to find."""
    document, lines = read_document(
        '{"name": "example",\n "steps": [\n  {"name": "a",\n   "wait": 5}]}', yaml=False
    )
    with pytest.raises(DefinitionInvalid, match="line 4: /steps/0/wait"):
        parse_definition(document, lines=lines)


@pytest.mark.parametrize(
    ("text", "seconds", "canonical"),
    [
        ("250ms", 0.25, "250ms"),
        ("5s", 5.0, "5s"),
        ("10m", 600.0, "10m"),
        ("24h", 86_400.0, "24h"),
        ("7d", 604_800.0, "7d"),
        ("1d", 86_400.0, "24h"),
        ("90s", 90.0, "90s"),
        ("60s", 60.0, "1m"),
        ("1.5h", 5_400.0, "90m"),
        ("0.001s", 0.001, "1ms"),
        ("0ms", 0.0, "0s"),
        ("1500ms", 1.5, "1500ms"),
        ("3650d", 315_360_000.0, "3650d"),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float, canonical: str) -> None:
    """It is written back in the longest unit that fits."""
    assert seconds == parse_duration(text)
    assert canonical == format_duration(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "-5s", "1h30m", "5sec", "0.0001s", "3651d", "1e3s", "\u0665s", "inf"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    """And the error says what one looks like, or where the bounds are."""
    with pytest.raises(ValueError, match=r"is not a duration|between 0s and 3650d|finer than"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-03-01T09:30:00.250Z", 1_772_357_400.25),
        ("2026-03-01t10:30:00+01:00", 1_772_357_400.0),
    ],
)
def test_a_time_has_an_offset(text: str, seconds: float) -> None:
    """RFC 3339, in any zone."""
    assert seconds == parse_time(text)


@pytest.mark.parametrize(
    "text", ["2026-03-01T09:30:00", "2026-02-30T00:00:00Z", "tomorrow", "2026-03-01", "20260301T093000Z"]
)
def test_anything_else_is_no_time(text: str) -> None:
    """Days that do not exist included."""
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


def test_the_core_loads_neither_yaml_nor_schemas_nor_the_network() -> None:
    """Whoever only makes definitions in Python pays for nothing else."""
    code = (
        "import sys, saga.definition, saga.language.expressions; "
        "print([name for name in ('aiohttp', 'asyncio', 'ruamel.yaml', 'jsonschema_rs') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
