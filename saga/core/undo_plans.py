"""What would be undone if a saga were cancelled now: asked of the decider, and nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compensations.policy import Undo
from saga.core import entries as e
from saga.core.backward import footprints, undo_plan
from saga.core.case import executor
from saga.core.decider import decide
from saga.core.journal import evolve
from saga.core.requests import RequestTooLarge, address, render
from saga.core.state import SagaState, step_name
from saga.core.timers import pivot_invoked, pivot_passed
from saga.language.expressions import NothingFound
from saga.language.model import SagaDefinition, Worker


def plan(
    definition: SagaDefinition, state: SagaState, services: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what would be sent, in which waves, if the saga were cancelled now, and what would not and why.

    ``services`` are the base addresses in use; the definition's own when absent. The ``method`` of a worker's
    task is ``worker`` and its ``url`` the queue, those of a child saga are ``saga`` and its id.
    """
    if (stands := _why_not(definition, state)) is not None:
        units = [each.name for each in footprints(definition, state)]
        return {"waves": [], "omitted": [{"step": name, "why": stands} for name in units]}
    backward = _cancelled(definition, state)
    found = undo_plan(definition, backward)
    bases = (
        services if services is not None else {name: each.url for name, each in definition.services.items()}
    )
    unsent = {
        name: why for wave in found.waves for name in wave if (why := _unsendable(definition, backward, name))
    }
    waves = [
        [_shown(definition, backward, name, bases) for name in wave if name not in unsent]
        for wave in found.waves
    ]
    omitted = {each.name: each.why for each in found.omitted} | unsent
    return {
        "waves": [wave for wave in waves if wave],
        "omitted": [{"step": name, "why": why} for name, why in omitted.items()],
    }


def _why_not(definition: SagaDefinition, state: SagaState) -> str | None:
    """Return why nothing at all would be sent."""
    if state.ended:
        return f"the saga has ended: it is {state.status}"
    if state.direction == "backward":
        return None
    if pivot_passed(definition, state):
        return f"the pivot {definition.pivot} is done: the saga only goes forward"
    if pivot_invoked(definition, state):
        return f"the pivot {definition.pivot} may be taking effect: the saga cannot be cancelled now"
    return None


def _cancelled(definition: SagaDefinition, state: SagaState) -> SagaState:
    if state.direction == "backward":
        return state
    at = state.updated_at
    return decide(definition, evolve(state, e.SagaCancelled(at=at)), at).state


def _unsendable(definition: SagaDefinition, state: SagaState, name: str) -> str | None:
    """Return why a compensation that is owed would not be sent."""
    unit = state.step(name)
    failed = next(each.undo for each in footprints(definition, state) if each.name == name) is Undo.FAILED
    if failed:
        return "failed: a person has to decide"
    runs = executor(definition.step(step_name(name)), "compensation")
    if runs is None or isinstance(runs, Worker) or not unit.settled:
        # What an action under way will leave for its compensation is not known yet.
        return None
    try:
        render(definition, state, name, "compensation")
    except NothingFound as nothing:
        return f"it cannot be made and would be parked: nothing was found for {nothing.expression}"
    except RequestTooLarge:
        return "it cannot be made and would be parked: its request is over the limit"
    return None


def _shown(
    definition: SagaDefinition, state: SagaState, name: str, bases: Mapping[str, str]
) -> dict[str, Any]:
    runs = executor(definition.step(step_name(name)), "compensation")
    named: dict[str, Any] = {"step": name, "phase": "compensation"}
    if runs is None:
        return named | {"method": "saga", "url": f"{state.id}.{name}"}
    if isinstance(runs, Worker):
        return named | {"method": "worker", "url": runs.queue}
    try:
        request = render(definition, state, name, "compensation")
        url = address(request, bases.get(request.service or ""))
    except (NothingFound, RequestTooLarge):
        url = None
    return named | {"method": runs.method, "url": url}
