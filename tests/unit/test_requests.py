"""The request an invocation stands for: a pure function of what no longer changes."""

from __future__ import annotations

from typing import Any

import pytest

from saga.core import entries as e
from saga.core.decider import decide
from saga.core.requests import (
    REQUEST_LIMIT,
    Request,
    RequestTooLarge,
    address,
    render,
    scope,
)
from saga.core.state import SagaState
from saga.core.times import timestamp
from saga.errors import RequestChanged
from saga.language.expressions import NothingFound, SecretRef
from saga.language.model import SagaDefinition
from tests.driver import START, World, call, defined, step
from tests.sentences import invoked, journal


def rendered(action: dict[str, Any], value: Any = None, phase: Any = "action") -> Request:
    """Return the request of a lone step with that action."""
    definition = defined(step("a", action=action, compensation=action))
    return render(definition, World.start(definition, input=value).state, "a", phase)


def test_a_request_is_method_target_headers_and_body() -> None:
    """Filled in from the saga."""
    action = call(
        "/seats/${input.seat}/of/${key}",
        method="PUT",
        query={"n": "${input.n}", "word": "a b&c"},
        headers={"X-Who": "${input.who}", "X-Token": "Bearer ${secret.api}"},
        body={"id": "${key}", "at": "${saga.started_at}", "saga": "${saga.id}"},
    )
    request = rendered(action, {"seat": "12/A", "n": 2, "who": "ann"})

    assert (request.method, request.service, request.url) == ("PUT", "s", None)
    assert request.target == "/seats/12%2FA/of/s1%3Aa?n=2&word=a%20b%26c"
    assert request.body == b'{"id":"s1:a","at":"2023-11-14T22:13:20.000Z","saga":"s1"}'
    assert dict(request.headers) == {"X-Who": ("ann",), "X-Token": ("Bearer ", SecretRef("api"))}


def test_the_key_is_the_same_in_action_and_compensation() -> None:
    """So that the one can be found by the other."""
    action = call("/x/${key}")

    assert rendered(action).target == rendered(action, phase="compensation").target


def test_without_a_body_none_is_sent_and_null_is_one() -> None:
    """JSON null."""
    bare = {"service": "s", "path": "/x"}

    assert rendered(bare).body is None
    assert rendered({**bare, "body": None}).body == b"null"
    assert rendered(bare).digest != rendered({**bare, "body": None}).digest


@pytest.mark.parametrize(
    "action",
    [call(body="${input.absent}"), call("/x/${input.none}"), call("/x/${input.dots}"), call(query={"q": "${input.none}"}),
     call(query={"q": "${input.list}"}), call(headers={"X-A": "${input.breaks}"})],
)  # fmt: skip
def test_where_nothing_is_found_there_is_no_request(action: dict[str, Any]) -> None:
    """Nor where a value cannot stand."""
    with pytest.raises(NothingFound):
        rendered(action, {"none": None, "dots": "..", "list": [1], "breaks": "a\r\nb"})


def test_a_body_over_the_limit_is_no_request() -> None:
    """1 MB."""
    assert rendered(call(body="${input}"), "x" * (REQUEST_LIMIT - 2)).body is not None
    with pytest.raises(RequestTooLarge):
        rendered(call(body="${input}"), "x" * (REQUEST_LIMIT - 1))


def test_an_output_is_seen_by_later_steps_and_what_it_lacks_is_not_there() -> None:
    """A missing member is *nothing* to them, not null."""
    state = World.start(defined(step("a"))).state
    definition = defined(
        step("a", output={"id": "${response.body.id}", "n": "${response.body.n}"}), step("b")
    )
    world = World.start(definition)
    world.apply(
        invoked("a"), e.StepSucceeded(at=START, step="a", output={"id": None, "n": 1}, missing=("/id",))
    )

    assert scope(definition, world.state)["steps"] == {"a": {"output": {"n": 1}}}
    assert scope(definition, state)["steps"] == {}


@pytest.mark.parametrize("members", [{"oversized": True}, {"missing": ("",)}])
def test_an_output_that_is_not_there_is_not_seen(members: dict[str, Any]) -> None:
    """Too large, or nothing at all."""
    definition = defined(step("a"), step("b"))
    moment = journal(definition).has(invoked("a"), e.StepSucceeded(at=START, step="a", **members))

    assert scope(definition, moment.state)["steps"] == {"a": {}}


def test_an_instance_sees_its_item_and_its_place() -> None:
    """And its own key."""
    definition = defined(step("a", for_each="${input}", action=call(body="${item}")))
    state = World.start(definition, input=["x", "y"]).state
    roots = scope(definition, state, "a[1]")

    assert (roots["item"], roots["index"], roots["key"]) == ("y", 1, "s1:a[1]")


def test_the_base_address_is_put_in_front_when_it_is_sent() -> None:
    """It may change between two attempts; the bytes of the request do not."""
    request = rendered(call("/x"))

    assert address(request, "http://one:1/v1/") == "http://one:1/v1/x"
    assert address(request, None) is None
    absolute = rendered({"url": "http://two:2/hook", "body": 1})
    assert address(absolute, None) == "http://two:2/hook"


def test_times_are_written_one_way() -> None:
    """UTC with milliseconds, the nearest."""
    assert timestamp(0.0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1_767_225_600.9999) == "2026-01-01T00:00:01.000Z"
    assert timestamp(-0.25) == "1969-12-31T23:59:59.750Z"


def test_an_attempt_that_would_not_repeat_its_bytes_is_not_made() -> None:
    """A release that renders differently must not send."""
    definition = defined(step("a"))
    moment = journal(definition).has(
        invoked("a", digest="of another release"),
        e.AttemptUncertain(at=START, step="a", phase="action", attempt=1, next_at=START),
    )
    with pytest.raises(RequestChanged):
        moment.when(1)


def test_a_decision_holds_the_request_of_each_invocation() -> None:
    """And the digest goes down with the first intent only."""
    definition = defined(step("a"))
    state: SagaState = World.start(definition).state
    invoke = decide(definition, state, START).invocations[0]

    assert invoke.request == render(definition, state, "a", "action")
    assert invoke.intent.digest == invoke.request.digest


def test_only_a_call_has_a_request() -> None:
    """A worker's task has an input."""
    definition: SagaDefinition = defined(step("a", worker={"queue": "q"}))
    with pytest.raises(TypeError):
        render(definition, World.start(definition).state, "a", "action")
