"""Finding journals for every point: worlds are led on at random from wherever something new was seen."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from functools import partial

from saga.core.conclusions import OUTPUT_LIMIT
from saga.core.outcomes import Succeeded
from saga.core.state import step_name
from saga.core.statuses import Status, UndoStatus
from saga.language.fields import Phase
from saga.language.model import SagaDefinition
from tests.driver import Wire, World
from tests.events import Event, events
from tests.journals.points import Point, points
from tests.journals.shapes import INPUT

#: Entries of a journal that is led on at most.
LONGEST = 40


def search(definitions: Iterable[SagaDefinition], tries: int, seed: int = 1) -> list[World]:
    """Return worlds that each show some point as none before did, or in a shorter journal."""
    dice = random.Random(seed)
    found: list[World] = []
    shortest: dict[Point, int] = {}
    for definition in definitions:
        begun = World.start(definition, input=INPUT)
        begun.turn()
        own = [begun]
        found += [World.start(definition, input=INPUT), begun]
        for _ in range(tries):
            world = dice.choice(own).copy()
            for _ in range(dice.randint(1, 3)):
                dice.choice(_events(world))[1](world)
            if len(world.journal) > LONGEST:
                continue
            new, shorter = _shows(world, shortest)
            if new:
                own.append(world)
            if new or shorter:
                found.append(world)
    return found


def _shows(world: World, shortest: dict[Point, int]) -> tuple[bool, bool]:
    """Return whether the world shows a point first, or one in a shorter journal; note what it shows."""
    length, before = len(world.journal), len(shortest)
    shorter = {point: length for point in points(world.journal) if length < shortest.get(point, LONGEST + 1)}
    shortest.update(shorter)
    return len(shortest) > before, bool(shorter)


def _events(world: World) -> list[Event]:
    found = [*events(world), *_late_answers(world)]
    if not world.state.ended:
        found.append(("abandoned", lambda world: world.command("abandon")))
    if world.state.status is Status.COMPENSATING:
        found.append(("paused", lambda world: world.command("pause")))
    for wire in world.wires:
        if wire.via == "http":
            found.append(("answers too much", lambda world, wire=wire: _too_much(world, wire)))
        elif wire.via == "child" and wire.phase == "action":
            found.append(
                ("child abandoned at once", lambda world, wire=wire: _abandoned_at_once(world, wire))
            )
    return found


def _late_answers(world: World) -> Iterator[Event]:
    """Yield that participants have done after all what was given up."""
    for unit in world.state.steps.values():
        called = world.definition.step(step_name(unit.name)).kind == "action" and unit.action.attempts > 0
        if unit.parked and called:
            yield "done after all", partial(_after_all, unit=unit.name, phase="action")
        if unit.undo_status is UndoStatus.FAILED and unit.undo.attempts:
            yield "undone after all", partial(_after_all, unit=unit.name, phase="compensation")


def _after_all(world: World, unit: str, phase: Phase) -> None:
    world.callback(unit, phase, "succeeded", effect=True)


def _too_much(world: World, wire: Wire) -> None:
    if not world.keeps_to_its_no(wire.unit, wire.phase):
        world.answer(wire, Succeeded(body="x" * (OUTPUT_LIMIT + 1), status=200), effect=True)


def _abandoned_at_once(world: World, wire: Wire) -> None:
    world.end_child(wire.unit, "abandoned")
    world.begin_child(wire)
