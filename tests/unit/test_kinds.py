"""Waits, signals, instances and a business no: journals that hold them are decided."""

from __future__ import annotations

from typing import Any

import pytest

from saga.core import entries as e
from tests.driver import START, World, call, defined, step
from tests.events import carry_on
from tests.sentences import (
    DECLARED_NO,
    DOUBT,
    NO,
    given,
    journal,
    succeeded,
    yes,
)

# --------------------------------------------------------------------------- wait, fail


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [("30m", 1800), ("${input.days}", 172_800), ("2023-11-14T22:14:20Z", 60), ("${input.at}", 60)],
)
def test_a_wait_ends_by_time_alone(wait: str, seconds: float) -> None:
    """After a duration, or at an RFC 3339 time."""
    waiting = defined(step("w", wait=wait), step("a"))
    values = {"days": "2d", "at": "2023-11-14T22:14:20Z"}
    moment = journal(waiting, input=values).when(0).then_records(e.WaitBegan).then_wakes_after(seconds)
    moment.when(seconds - 1).then_records().then_invokes()
    moment.when(seconds).then_records(e.StepSucceeded).then_invokes("a:action")


@pytest.mark.parametrize("wait", ["${input.absent}", "${input.days}", "${input.word}"])
def test_a_wait_that_is_neither_a_duration_nor_a_time_is_refused(wait: str) -> None:
    """Kind ``template``."""
    waiting = defined(step("a"), step("w", wait=wait))
    story = given(waiting, input={"days": 2, "word": "2023-11-14T22:14:20"}).then_compensates("a")
    story.then_step("w", "refused", kind="template")


def test_a_business_no_refuses_its_step() -> None:
    """``fail``, mostly behind a condition."""
    checked = defined(step("a"), step("no", fail="too young", when="${input.young}"), step("b"))
    given(checked).then_sends("a", "b").then_ends("completed")
    story = given(checked, input={"young": True}).then_compensates("a").then_fails_with("no", "refused")

    assert story.state.failure is not None
    assert story.state.failure.detail == "too young"


# --------------------------------------------------------------------------- signals

SIGNAL = {"name": "approval", "timeout": "24h"}
APPROVED = defined(step("a"), step("s", signal=SIGNAL, output={"by": "${response.body.by}"}), step("b"))


def test_a_signal_lets_its_step_go_on_and_its_payload_is_the_body() -> None:
    """A message from outside."""
    story = given(APPROVED).answered("a", yes())
    assert story.world.wake_at == START + 86_400
    story.world.signal("approval", {"by": "kim"})

    assert story.step("s").output == {"by": "kim"}
    story.then_ends("completed")


def test_an_early_signal_is_kept() -> None:
    """Until its step waits for it."""
    story = given(APPROVED)
    story.world.signal("approval", {"by": "kim"})
    story.then_ends("completed").then_step("s", "succeeded")

    assert story.state.signals == {"approval": ()}


def test_signals_of_one_name_are_taken_in_order_one_by_each_waiting_step() -> None:
    """First in, first out."""
    two = defined(step("s", [], signal={"name": "go"}), step("t", [], signal={"name": "go"}))
    story = given(two)
    story.world.signal("go", 1)
    story.then_step("s", "succeeded").then_step("t", "waiting")
    story.world.signal("go", 2)

    assert [story.step(name).output for name in "st"] == [1, 2]


def test_two_signals_that_wait_already_are_not_taken_by_one_step() -> None:
    """Nor one signal by two steps."""
    two = defined(step("s", [], signal={"name": "go"}), step("t", [], signal={"name": "go"}))
    story = given(two, start_at=START + 10)
    story.world.signal("go", 1)
    story.when_passes(10).then_step("s", "succeeded").then_step("t", "waiting")


def test_a_signal_that_does_not_come_in_time_refuses_its_step() -> None:
    """``signal-timeout``."""
    given(APPROVED).then_compensates("a").then_step("s", "refused", kind="signal-timeout")


def test_a_signal_may_say_no() -> None:
    """``refused_when`` applies to it as to a poll."""
    asked = defined(step("a"), step("s", signal={"name": "go", "refused_when": "${response.body == 'no'}"}))
    story = given(asked).answered("a", yes())
    story.world.signal("go", "no")
    story.then_step("s", "refused", kind="refused").then_compensates("a")


def test_at_most_a_hundred_signals_of_a_name_wait_and_unknown_ones_are_not_kept() -> None:
    """The rest was refused where it arrived."""
    world = World.start(APPROVED)
    for _ in range(101):
        world.signal("approval")
    assert world.signal("other") == ()

    assert len(world.state.signals["approval"]) == 100


# --------------------------------------------------------------------------- for_each

EACH = step(
    "issue", for_each="${input.people}", max_parallel=2, action=call(body={"who": "${item}", "n": "${index}"})
)
PEOPLE = {"people": ["ann", "bob", "cy"]}


def test_instances_follow_their_step_a_few_at_once() -> None:
    """Each with its own key; the output is an array in the order of the items."""
    moment = journal(defined(EACH), input=PEOPLE).when(0).then_records(e.StepExpanded)
    moment.then_invokes("issue[0]:action", "issue[1]:action")
    moment.has(succeeded("issue[1]", output="B")).when(1).then_invokes("issue[2]:action")
    moment.has(succeeded("issue[0]", output="A"), succeeded("issue[2]", output="C")).when(2)
    moment.then_records(e.StepSucceeded, e.SagaCompleted)

    assert moment.state.step("issue").output == ["A", "B", "C"]


def test_each_instance_sees_its_item() -> None:
    """And its place."""
    story = given(defined(EACH), input=PEOPLE).then_sends("issue[0]", "issue[1]", "issue[2]")

    assert story.world.bytes_of["issue[2]", "action"][1] == b'{"who":"cy","n":2}'


def test_an_instance_that_is_refused_stops_new_ones_and_those_that_happened_are_undone() -> None:
    """Each instance by itself."""
    story = given(defined(step("a"), EACH), input=PEOPLE).answered("a", yes())
    story.answered("issue[0]", yes()).answered("issue[1]", NO).then_compensates("issue[0]", "issue[2]", "a")
    story = given(defined(step("a"), EACH), input=PEOPLE).answered("a", yes()).answered("issue[1]", NO)
    story.then_sends("a", "issue[0]", "issue[1]").then_compensates("issue[0]", "a").then_ends("compensated")


def test_where_refusals_are_tolerated_null_stands_in_their_place() -> None:
    """``on_refused: continue``."""
    tolerant = defined({**EACH, "on_refused": "continue"})
    story = given(tolerant, input=PEOPLE).when("issue[1]", DECLARED_NO).then_ends("completed")

    assert story.step("issue").output == [{"of": "issue[0]"}, None, {"of": "issue[2]"}]


def test_instances_are_undone_a_few_at_once() -> None:
    """At most ``max_parallel``."""
    story = given(defined(EACH, step("b")), input=PEOPLE)
    while not any(unit == "b" for unit, _ in story.world.sent):
        story._goes_on()
    story.answered("b", NO)
    assert [wire.unit for wire in story.world.wires] == ["issue[0]", "issue[1]"]
    story.then_compensates("issue[0]", "issue[1]", "issue[2]").then_ends("compensated")


def test_an_empty_array_is_done_at_once_and_owes_nothing() -> None:
    """Its output is ``[]``."""
    story = given(defined(EACH, step("b")), input={"people": []}).when_refused("b").then_compensates()
    story.then_ends("compensated").then_step("issue", "succeeded")

    assert story.step("issue").output == []


@pytest.mark.parametrize(
    ("people", "kind"), [("ann", "template"), (None, "template"), (["x"] * 1001, "size"), ({}, "template")]
)
def test_what_is_no_array_or_too_long_is_refused(people: Any, kind: str) -> None:
    """Nothing was sent."""
    story = given(defined(step("a"), EACH), input={"people": people}).then_sends("a").then_compensates("a")
    story.then_step("issue", "refused", kind=kind)


def test_a_condition_comes_before_the_items() -> None:
    """Skipped, whatever they are."""
    chosen = defined({**EACH, "when": "${input.no}"})
    given(chosen).then_sends().then_step("issue", "skipped").then_ends("completed")


def test_an_instance_parked_past_the_pivot_stops_new_ones_until_a_person_has_decided() -> None:
    """The saga is parked meanwhile; an instance is skipped by its name."""
    each = {name: value for name, value in EACH.items() if name != "compensation"}
    story = given(defined(step("p", pivot=True), each), input=PEOPLE).answered("p", yes())
    story.answered("issue[0]", DECLARED_NO).answered("issue[1]", yes()).then_parks("issue[0]", "refused")
    story.then_sends("p", "issue[0]", "issue[1]")
    story.when_commanded("skip", "issue[2]").then_is("parked")
    story.when_commanded("skip", "issue[0]").then_ends("completed")

    assert story.step("issue").output == [None, None, None]


def test_a_parked_instance_does_not_hold_up_going_backward() -> None:
    """Its key may be forgotten; what may have happened is undone all the same."""
    service = {"s": {"url": "http://127.0.0.1:1", "key_lifetime": "1h"}}
    story = given(defined(EACH, services=service), input=PEOPLE).answered("issue[0]", DOUBT)
    story.answered("issue[1]", yes()).when_commanded("pause").when_passes(3601).when_commanded("resume")
    story.then_parks("issue[0]", "key-expired").when_commanded("cancel")
    story.then_compensates("issue[0]", "issue[1]", "issue[2]").then_step("issue", "uncertain")


def test_waits_signals_and_refusals_can_have_instances_too() -> None:
    """One for each item, a few at once."""
    many = {"for_each": "${input.people}", "max_parallel": 2}
    kinds = defined(
        step("w", [], wait="${item.wait}", **many), step("s", [], signal={"name": "approval"}, **many)
    )
    world = World.start(kinds, input={"people": [{"wait": "1s"}, {"wait": "2s"}, {"wait": "3s"}]})
    world.turn()
    while carry_on(world):
        pass

    assert world.state.status == "completed"
    no = defined(step("a"), step("no", fail="no", **many))
    given(no, input=PEOPLE).then_compensates("a").then_ends("compensated")
