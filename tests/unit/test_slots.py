"""A free place is never lost while somebody waits for one."""

from __future__ import annotations

from dataclasses import dataclass

from saga.slots import Slots


@dataclass(eq=False)
class Waiting:
    """A saga in memory, as far as places are concerned."""

    name: str
    gone: bool = False


class Place:
    """One place, that is taken."""

    def __init__(self, *names: str) -> None:
        self.woken: list[str] = []
        self.slots = Slots(1, lambda run: self.woken.append(run.name))
        self.slots.take(1)
        self.runs = [Waiting(name) for name in names]
        for run in self.runs:
            self.slots.queue(run)


def test_those_who_wait_are_woken_one_for_each_place() -> None:
    """First come, first served."""
    place = Place("first", "second")
    place.slots.give_back(1)

    assert place.woken == ["first"]


def test_a_saga_that_was_dropped_while_it_waited_leaves_its_place_to_the_next() -> None:
    """Nobody would wake the next one otherwise, however long the place is free."""
    place = Place("dropped", "next")
    place.runs[0].gone = True
    place.slots.give_back(1)

    assert place.woken == ["next"]
