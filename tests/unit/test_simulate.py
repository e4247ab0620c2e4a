"""What would be sent, without a network: by the decider itself."""

from __future__ import annotations

import pytest

from saga.core.simulate import Simulation, simulate
from saga.core.undo_plans import plan
from saga.errors import SagaError
from tests.driver import call, defined, step
from tests.sentences import DECLARED_NO, NO, given, yes

BOOKING = defined(
    step("flight", action=call(body={"of": "${input.who}"})),
    step("hotel", [], when="${input.hotel}"),
    step("charge", ["flight", "hotel"], pivot=True, action=call(path="/${steps.flight.output.id}")),
    step("ticket", no_undo=True),
    output={"number": "${steps.ticket.output.number}"},
)


def waves(simulation: Simulation) -> list[str]:
    """Return the waves as text."""
    return [" ".join(f"{sent.step}:{sent.phase}" for sent in wave) for wave in simulation.waves]


def test_everything_is_sent_when_nothing_fails() -> None:
    """Input and outputs are unknown, and no template minds."""
    simulation = simulate(BOOKING)

    assert waves(simulation) == ["flight:action hotel:action", "charge:action", "ticket:action"]
    assert simulation.status == "completed"


def test_a_refused_step_shows_what_is_compensated() -> None:
    """In waves."""
    simulation = simulate(BOOKING, "charge")

    assert waves(simulation)[2:] == ["flight:compensation hotel:compensation"]
    assert (simulation.status, simulation.reason) == ("compensated", "refused: a definite no")


def test_a_step_in_doubt_is_compensated_itself() -> None:
    """What may have happened is owed."""
    simulation = simulate(BOOKING, "charge", uncertain=True)

    assert waves(simulation)[2:] == ["charge:compensation", "flight:compensation hotel:compensation"]


@pytest.mark.parametrize("uncertain", [False, True])
def test_a_failure_past_the_pivot_parks(uncertain: bool) -> None:  # noqa: FBT001 - a parameter
    """It must be done in the end."""
    simulation = simulate(BOOKING, "ticket", uncertain=uncertain)

    assert waves(simulation)[2:] == ["ticket:action"]
    assert simulation.status == "parked"


def test_every_kind_of_step_can_be_simulated() -> None:
    """Waits pass, signals come, workers and children do their work; a ``fail`` step is passed by."""
    kinds = defined(
        step("w", wait="${input.until}"),
        step("s", signal={"name": "go"}),
        step("f", fail="no", when="${input.bad}"),
        step("q", worker={"queue": "q", "input": "${input.x}"}),
        step("c", saga={"name": "child", "input": "${input.x}"}),
        step("each", for_each="${input.list}"),
    )

    assert waves(simulate(kinds)) == ["q:action", "c:action", "each:action"]
    assert waves(simulate(kinds, "each")) == [
        "q:action", "c:action", "each:action", "c:compensation", "q:compensation"
    ]  # fmt: skip
    assert simulate(kinds, "s").reason.startswith("signal-timeout")
    assert simulate(kinds, "f").status == "compensated"
    assert simulate(kinds, "c", uncertain=True).status == "compensated"


def test_what_cannot_fail_is_said() -> None:
    """A wait, and a step that does not exist."""
    kinds = defined(step("w", wait="1s"), step("a"))
    with pytest.raises(SagaError, match="time passes"):
        simulate(kinds, "w")
    with pytest.raises(SagaError, match="there is no step 'x'; there are w, a"):
        simulate(kinds, "x")


# --------------------------------------------------------------------------- plan


def test_the_plan_shows_what_a_cancel_would_send() -> None:
    """With the addresses in use."""
    story = given(BOOKING, input={"hotel": 1, "who": "x"}).answered("flight", yes({"id": 1}))
    shown = plan(BOOKING, story.state, {"s": "http://booking:1/v2"})

    assert shown["waves"] == [
        [
            {
                "step": "flight",
                "phase": "compensation",
                "method": "POST",
                "url": "http://booking:1/v2/flight/undo",
            },
            {
                "step": "hotel",
                "phase": "compensation",
                "method": "POST",
                "url": "http://booking:1/v2/hotel/undo",
            },
        ]
    ]
    assert shown["omitted"] == [
        {"step": "charge", "why": "never invoked"},
        {"step": "ticket", "why": "never invoked"},
    ]


def test_the_plan_is_empty_while_the_pivot_is_invoked_past_it_and_after_the_end() -> None:
    """And says why, for each step."""
    story = given(BOOKING, input={"who": "x"}).answered("flight", yes({"id": 1}))
    for words in ("may be taking effect", "only goes forward", "has ended: it is completed"):
        shown = plan(BOOKING, story.state)
        assert shown["waves"] == []
        assert [each["step"] for each in shown["omitted"]] == ["flight", "hotel", "charge", "ticket"]
        assert all(words in each["why"] for each in shown["omitted"])
        story.world.go_on()


def test_the_plan_omits_what_is_parked_or_cannot_be_made() -> None:
    """With the reason."""
    three = defined(
        step("a", compensation=call("/undo", body={"id": "${steps.a.output.id}"})), step("b"), step("c")
    )
    story = given(three).when_refused("c").when_undo("b", DECLARED_NO).played()
    shown = plan(three, story.state)

    assert shown["waves"] == []
    assert {each["step"]: each["why"].partition(":")[0] for each in shown["omitted"]} == {
        "a": "it cannot be made and would be parked",
        "b": "failed",
        "c": "refused",
    }


def test_the_plan_names_queues_and_children() -> None:
    """Neither has an address."""
    kinds = defined(
        step("q", compensation={"worker": {"queue": "undo"}}), step("c", saga={"name": "child"}), step("x")
    )
    story = given(kinds).answered("q", yes())
    story.world.begin_child(story.wire("c"))
    story.world.end_child("c", "completed")
    shown = plan(kinds, story.answered("x", NO).state)

    assert shown["waves"] == [
        [{"step": "c", "phase": "compensation", "method": "saga", "url": "s1.c"}],
        [{"step": "q", "phase": "compensation", "method": "worker", "url": "undo"}],
    ]
