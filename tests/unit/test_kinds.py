"""Waits, signals, instances, child sagas, workers and a business no: journals that hold them are decided."""

from __future__ import annotations

from typing import Any

import pytest

from saga import entries as e
from saga.model import SagaDefinition
from tests.driver import START, World, call, defined, step
from tests.events import carry_on, finish_task, task
from tests.sentences import (
    DECLARED_NO,
    DOUBT,
    NO,
    UNREACHABLE,
    Story,
    given,
    invoked,
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

    assert story.step("issue").output == [None, {}, None] or story.step("issue").output == [None, None, None]


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


# --------------------------------------------------------------------------- child sagas


def child(**members: Any) -> SagaDefinition:
    """Return a definition whose second step is a child saga."""
    return defined(
        step("a"),
        step("c", saga={"name": "child", "version": 3, "input": {"of": "${key}"}}, **members),
        step("b"),
    )


def parent(**members: Any) -> Story:
    """Begin a story whose child saga runs."""
    story = given(child(**members)).answered("a", yes())
    story.world.begin_child(story.wire("c"))
    return story


def test_a_child_saga_is_started_with_its_input() -> None:
    """Under an id of its own; its end is awaited without a wake time."""
    moment = journal(child()).has(invoked("a"), succeeded("a")).when(1).then_invokes("c:action")

    assert moment.decided.invocations[0].payload == {"of": "s1:c"}
    assert (moment.decided.invocations[0].intent.via, moment.decided.invocations[0].request) == (
        "child",
        None,
    )
    assert parent().world.wake_at is None


def test_a_child_that_completed_gives_its_output() -> None:
    """Shaped by the step's template, where there is one."""
    story = parent(output={"o": "${response.body.of}"})
    story.world.end_child("c", "completed")

    assert story.step("c").output == {"o": "c"}
    story.then_ends("completed")


def test_a_child_that_was_compensated_refuses_its_step() -> None:
    """Kind ``child``, nothing owed."""
    story = parent()
    story.world.end_child("c", "compensated")
    story.then_compensates("a").then_step("c", "refused", kind="child").then_ends("compensated")


def test_a_child_that_was_abandoned_parks_its_parent_and_cannot_be_tried_again() -> None:
    """A person decides."""
    story = parent()
    story.world.end_child("c", "abandoned")
    story.then_parks("c", "child").when_commanded("retry", "c").then_is("parked")

    assert isinstance(story.world.journal[-1], e.CommandRefused)
    story.when_commanded("resolve", "c", "succeeded").answered("b", yes())
    story.then_is("completed")


def test_a_running_child_is_not_awaited_when_the_parent_goes_backward() -> None:
    """The step is uncertain, and compensating it cancels the child."""
    story = parent().when_commanded("cancel").then_is("compensating")
    assert story.step("c").status == "uncertain"
    story.world.begin_child(story.wire("c", "compensation"))
    story.world.end_child("c", "compensated")
    story.then_compensates("c", "a").then_ends("compensated")


def test_a_child_abandoned_meanwhile_cannot_be_undone() -> None:
    """That compensation is parked, and is not tried again."""
    story = parent().when_commanded("cancel")
    story.world.begin_child(story.wire("c", "compensation"))
    story.world.end_child("c", "abandoned")
    story.then_parks("c", "child").when_commanded("retry")
    assert isinstance(story.world.journal[-1], e.CommandRefused)
    story.when_commanded("resolve", "c", "undone").then_ends("compensated")


@pytest.mark.parametrize("phase", ["action", "compensation"])
def test_the_end_of_a_child_heard_of_before_its_beginning_was_recorded_counts(phase: Any) -> None:
    """Otherwise its parent would wait for ever."""
    story = given(child()).answered("a", yes())
    if phase == "compensation":
        story.world.begin_child(story.wire("c"))
        story.when_commanded("cancel")
    wire = story.wire("c", phase)
    story.world.end_child("c", "completed" if phase == "action" else "compensated")
    story.world.begin_child(wire)

    assert (story.step("c").status, story.step("c").undo_status) == (
        ("succeeded", "pending") if phase == "action" else ("uncertain", "undone")
    )


def test_an_id_that_is_another_sagas_refuses_the_step() -> None:
    """Kind ``child``; after the pivot it is parked at once."""
    story = given(child()).answered("a", yes())
    story.answered("c", _other()).then_step("c", "refused", kind="child").then_compensates("a")
    behind = defined(step("p", pivot=True), step("c", saga={"name": "child"}))
    given(behind).answered("p", yes()).answered("c", _other()).then_parks("c", "child")


def _other() -> Any:
    return DECLARED_NO.__class__(
        detail="that id is another saga's", declared=False, status=None, cause="child"
    )


def test_a_child_whose_start_was_lost_is_started_again_under_its_id() -> None:
    """A second start is the same child."""
    story = given(child()).answered("a", yes())
    story.world.take_over()

    assert [(wire.unit, wire.attempt) for wire in story.world.wires] == [("c", 2)]


def test_a_child_that_owes_nothing_is_left() -> None:
    """``compensation: none``."""
    parent(compensation="none").when_commanded("cancel").then_compensates("a").then_ends("compensated")


def test_a_child_that_completed_is_reopened_by_its_parent_only() -> None:
    """The one case in which an ended saga goes on: backward."""
    story = given(defined(step("a"), step("b"))).then_ends("completed")
    story.world.apply(e.SagaReopened(at=story.world.now, by="parent"))
    story.world.turn()
    story.then_compensates("b", "a").then_ends("compensated")


# --------------------------------------------------------------------------- workers

WORKED = defined(
    step("a"),
    step(
        "w",
        worker={"queue": "q", "input": {"of": "${key}"}, "timeout": "30s"},
        compensation={"worker": {"queue": "u"}},
    ),
)


def offered() -> Story:
    """Begin a story whose worker's task is on offer."""
    return given(WORKED).answered("a", yes())


def test_a_task_is_offered_taken_and_done() -> None:
    """It waits as long as nobody takes it."""
    story = offered()
    wire = story.wire("w")
    assert (wire.via, story.world.wake_at) == ("worker", None)
    task(story.world, wire, "take", until=START + 30)
    assert story.world.wake_at == START + 30
    task(story.world, wire, "extend", until=START + 60)
    assert story.world.wake_at == START + 60
    finish_task(story.world, wire, done=True)
    story.then_ends("completed")

    assert story.step("w").output == {"of": "w"}


def test_a_task_is_taken_by_one_worker_only_and_by_none_while_paused() -> None:
    """The second finds nothing."""
    story = offered().when_commanded("pause")
    wire = story.wire("w")
    assert task(story.world, wire, "take") == ()
    story.when_commanded("resume")
    assert len(task(story.world, wire, "take")) == 1
    assert task(story.world, wire, "take") == ()


def test_a_lease_that_runs_out_is_an_uncertain_attempt() -> None:
    """What the worker says after that is recorded, and changes nothing."""
    story = offered()
    wire = story.wire("w")
    task(story.world, wire, "take", until=START + 30)
    story.world.now = START + 30
    late = task(story.world, wire, "complete", output=1)

    assert isinstance(late[0], e.LateAnswer)
    assert story.step("w").action.doubt
    assert story.step("w").status == "waiting"


def test_a_worker_may_refuse() -> None:
    """For certain, when nothing is in doubt."""
    story = offered()
    task(story.world, story.wire("w"), "take")
    finish_task(story.world, story.wire("w"), done=False)
    story.then_compensates("a").then_step("w", "refused")


def test_a_task_nobody_has_taken_is_withdrawn_when_the_saga_goes_backward_and_a_taken_one_awaited() -> None:
    """Like a call on the wire."""
    offered().when_commanded("cancel").then_step("w", "refused").then_compensates("a")
    story = offered()
    wire = story.wire("w")
    task(story.world, wire, "take", until=START + 30)
    story.when_commanded("cancel").then_is("compensating")
    assert story.step("w").status == "invoking"
    story.world.wires.clear()
    story.world.advance(START + 30)

    assert story.step("w").status == "uncertain"
    assert [(each.unit, each.phase) for each in story.world.wires] == [("w", "compensation")]


def test_a_task_is_not_lost_with_its_coordinator() -> None:
    """The worker has it, or it is still on offer."""
    story = offered()
    story.world.take_over()

    assert story.step("w").action.doubt is False
    assert [wire.attempt for wire in story.world.wires] == [1]


def test_a_task_that_was_never_taken_cannot_be_completed() -> None:
    """Nobody has it."""
    story = offered()
    assert isinstance(task(story.world, story.wire("w"), "complete")[0], e.LateAnswer)
    assert story.step("w").status == "invoking"


def test_a_worker_undoes() -> None:
    """Its lease on a compensation may run out as well."""
    story = offered()
    task(story.world, story.wire("w"), "take")
    finish_task(story.world, story.wire("w"), done=True)
    assert story.state.status == "completed"
    chain = given(defined(*[dict(each) for each in WORKED.document()["steps"]], step("z", ["w"]))).answered(
        "a", yes()
    )
    task(chain.world, chain.wire("w"), "take")
    finish_task(chain.world, chain.wire("w"), done=True)
    chain.answered("z", NO)
    wire = chain.wire("w", "compensation")
    task(chain.world, wire, "take", until=START + 5)
    chain.world.wires.clear()
    chain.world.advance(START + 5)
    assert (chain.step("w").undo_status, chain.step("w").undo.doubt) == ("waiting", True)
    chain.world.advance(chain.world.wake_at or 0.0)
    task(chain.world, chain.wire("w", "compensation"), "take")
    finish_task(chain.world, chain.wire("w", "compensation"), done=True)
    chain.then_ends("compensated")


def test_not_executed_is_retried_by_the_workers_policy() -> None:
    """A task that could not be put up."""
    story = offered().answered("w", UNREACHABLE)
    assert story.step("w").action.next_at is not None
