"""Whatever a definition looks like and whatever happens, the invariants of :mod:`tests.invariants` hold at every state.

Generated are the definition, and what happens: answers of every kind, early, late and duplicate callbacks, polls,
workers, children, signals, commands at any moment, coordinators that die, and time that passes.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from saga.core.statuses import Status
from saga.language.model import SagaDefinition
from tests.driver import World
from tests.events import carry_on, events, finish
from tests.properties.strategies import INPUT, definitions

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=200, deadline=None, suppress_health_check=_SLOW)
@given(definitions(), st.lists(st.integers(0, 997), max_size=40))
def test_no_history_breaks_an_invariant_and_every_saga_ends_or_is_parked(
    definition: SagaDefinition, draws: list[int]
) -> None:
    """Invariants hold at every state; with participants that answer in the end, every saga ends or is parked."""
    world = World.start(definition, input=INPUT)
    world.turn()
    for draw in draws:
        choices = events(world)
        name, happen = choices[draw % len(choices)]
        note(f"{world.now - 1_700_000_000.0:.2f} {world.state.status}: {name}")
        happen(world)
    finish(world)
    note(str(world.state.status))


@settings(max_examples=60, deadline=None, suppress_health_check=_SLOW)
@given(definitions())
def test_a_saga_that_nothing_befalls_completes_or_says_why_not(definition: SagaDefinition) -> None:
    """When every participant does as asked, only what the definition itself says stops a saga."""
    world = World.start(definition, input=INPUT)
    world.turn()
    while carry_on(world):
        pass
    world.judge()

    assert world.state.status is Status.COMPLETED or (world.state.failure or world.state.parking) is not None
