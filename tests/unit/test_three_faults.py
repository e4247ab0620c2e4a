"""All sequences of up to three faults, in sagas with a diamond and a pivot: each ends as promised.

Every event of a world goes as it should, or one of the faults of :mod:`tests.faults` happens instead. The worlds
form a tree: what was recorded and sent so far is shared by all that differ later. Two worlds with the same future
are followed only once, and counted as often as they were reached.
A world is judged by what took effect at the participants, not by the coordinator's own words.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import pytest

from saga.language.model import SagaDefinition
from tests.driver import Hangs, World, defined, step
from tests.faults import faults, future

_RETRY = {"attempts": 2, "initial": "100ms", "max": "1s"}
DEFAULTS = {
    "action": {"timeout": "5s", "retry": _RETRY},
    "compensation": {"timeout": "5s", "retry": {**_RETRY, "within": "10s"}},
}


def diamond(**pivot: Any) -> SagaDefinition:
    """Return four steps: one, two beside each other, and the pivot behind them."""
    return defined(
        step("a"),
        step("b", ["a"]),
        step("c", ["a"]),
        step("d", ["b", "c"], pivot=True, **pivot),
        timeout="1m",
        defaults=DEFAULTS,
    )


def past_the_pivot() -> SagaDefinition:
    """Return two steps beside each other, the pivot, and one that must be done after it."""
    return defined(
        step("a"),
        step("b", []),
        step("p", ["a", "b"], pivot=True, compensation="none"),
        step("e", no_undo=True),
        timeout="1m",
        defaults=DEFAULTS,
    )


def tolerant() -> SagaDefinition:
    """Return a diamond without a pivot, one side of which may be refused and one of which is not undone."""
    return defined(
        step("a"),
        step("b", ["a"], on_refused="continue"),
        step("c", ["a"], compensation="none"),
        step("d", ["b", "c"]),
        timeout="1m",
        defaults=DEFAULTS,
    )


@dataclass(slots=True)
class Explorer:
    """Follows every world up to a number of faults."""

    #: Worlds that end from here, by future and faults left.
    known: dict[Any, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)

    def worlds(self, world: World, left: int, path: tuple[str, ...] = ()) -> int:
        """Judge every world that begins like this one and has up to so many faults more; return how many."""
        total, passed = 0, []
        while True:
            key = (future(world), left)
            if key in self.known:
                total += self.known[key]
                break
            passed.append((key, total))
            if left:
                total += self._branches(world, left, path)
            if not self._goes_on(world, path):
                total += 1
                break
        for key, before in passed:
            self.known[key] = total - before
        return total

    def _branches(self, world: World, left: int, path: tuple[str, ...]) -> int:
        total = 0
        for name, fault in faults(world):
            branch, at = world.copy(), (*path, f"{name} (event {len(world.journal)})")
            _told(at, lambda branch=branch, fault=fault: fault(branch))
            total += self.worlds(branch, left - 1, at)
        return total

    def _goes_on(self, world: World, path: tuple[str, ...]) -> bool:
        if len(world.journal) > 300:
            raise Hangs(f"{path}: no end in sight")
        if _told(path, world.go_on):
            return True
        _told(path, world.judge)
        self.ends[world.state.status] = self.ends.get(world.state.status, 0) + 1
        return False


def _told(path: tuple[str, ...], do: Callable[[], Any]) -> Any:
    """Do something, and name the faults that led there when it fails."""
    try:
        return do()
    except Exception as error:
        error.add_note("faults: " + "; ".join(path))
        raise


def explore(definition: SagaDefinition, up_to: int) -> tuple[Explorer, str]:
    """Follow all worlds of a definition; return who did, and a line about it."""
    world = World.start(definition)
    world.turn()
    explorer, begun = Explorer(), process_time()
    worlds = explorer.worlds(world, up_to)
    seconds = process_time() - begun
    told = f"{worlds} worlds of up to {up_to} faults in {seconds:.1f} s: {worlds / seconds:.0f} worlds/s"
    return explorer, f"{told}, {len(explorer.known)} different states"


SHAPES = [diamond(), diamond(compensation="none"), past_the_pivot(), tolerant()]
NAMES = ["diamond", "pivot that owes nothing", "past the pivot", "tolerant"]


@pytest.mark.slow
@pytest.mark.parametrize("definition", SHAPES, ids=NAMES)
def test_every_world_of_up_to_two_faults_ends_as_promised(definition: SagaDefinition) -> None:
    """Whatever one or two faults befall a saga, whenever they do, nothing is left half done."""
    explorer, told = explore(definition, up_to=2)
    print(told)

    assert {"completed", "compensated"} <= explorer.ends.keys()


@pytest.mark.campaign
@pytest.mark.parametrize("definition", SHAPES, ids=NAMES)
def test_every_world_of_up_to_three_faults_ends_as_promised(definition: SagaDefinition) -> None:
    """Whatever three faults befall a saga, whenever they do, nothing is left half done."""
    explorer, told = explore(definition, up_to=3)
    print(told)

    assert {"completed", "compensated", "parked"} <= explorer.ends.keys()


@pytest.mark.slow
def test_worlds_of_many_faults_end_as_promised() -> None:
    """Three to eight faults, at moments drawn by a seed that is fixed: a sample of what is not enumerated."""
    for seed in range(400):
        rng = random.Random(seed)
        world = World.start(SHAPES[seed % len(SHAPES)])
        world.turn()
        path: tuple[str, ...] = (f"seed {seed}",)
        left = rng.randint(3, 8)
        for _ in range(200):
            choices = list(faults(world)) if left and rng.random() < 0.4 else []
            if choices:
                name, fault = rng.choice(choices)
                path, left = (*path, name), left - 1
                _told(path, lambda world=world, fault=fault: fault(world))
            elif not _told(path, world.go_on):
                break
        _told(path, world.judge)
