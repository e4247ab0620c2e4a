"""Commands, callbacks, answers, time, restarts and crashes in any order: what a client relies on holds after each."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model import paths
from tests.model.machine import Control
from tests.model.story import Story
from tests.model.unreached import UNREACHED
from tests.visits import Transition, all_transitions

#: How many stories are told by chance, and how long each is: the same in each run. ``SAGA_MODEL=400x60`` tells
#: others, and more of them.
STORIES, STEPS = (int(part) for part in os.environ.get("SAGA_MODEL", "60x30").split("x"))

PROFILE = settings(
    max_examples=STORIES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="SAGA_MODEL" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def named(transitions: set[Transition]) -> list[str]:
    """Return transitions as a person reads them."""
    return sorted(f"{table}: {was} -{kind.kind}-> {now}" for table, was, kind, now in transitions)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_a_client_relies_on_holds_whatever_is_done_in_whatever_order() -> None:
    """The live state is the replayed one, answers are those of the contract, and no start is lost."""
    run_state_machine_as_test(Control, settings=PROFILE)


def told(kept: list[paths.PathOf]) -> set[Transition]:
    """Tell paths, and return the transitions they took."""
    story, taken = Story(), set[Transition]()
    try:
        for path in kept:
            taken |= paths.tell(story, path)
    except Exception as error:
        error.add_note(f"path: {path}; so far: {', '.join(story.log)}")
        raise
    finally:
        story.close()
    return taken


def test_the_rules_of_the_contract_hold() -> None:
    """Each brought to bear by a path of its own; stories by chance seldom get there."""
    told(paths.rules())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_transition_that_can_be_brought_about_over_http_is_taken() -> None:
    """By the paths that are kept; ``python -m tests.model`` finds more of them."""
    taken = told(paths.kept())
    assert named(all_transitions() - taken - set(UNREACHED)) == []
    assert named(Story.visited & set(UNREACHED)) == [], "these are reached, and their reasons are none"
