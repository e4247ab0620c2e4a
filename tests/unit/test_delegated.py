"""Child sagas and workers: what others do for a saga."""

from __future__ import annotations

from typing import Any

import pytest

from saga.core import entries as e
from saga.language.model import SagaDefinition
from tests.driver import START, defined, step
from tests.events import finish_task, task
from tests.sentences import (
    DECLARED_NO,
    NO,
    UNREACHABLE,
    Story,
    given,
    invoked,
    journal,
    succeeded,
    yes,
)

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
