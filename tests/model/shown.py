"""What the API tells of a saga, read back: its journal as entries, and whether they lead to what it shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic_core import to_json

from saga.core import entries as e
from saga.core import views
from saga.core.encoding import decode
from saga.core.entries import Entry
from saga.core.journal import evolve
from saga.core.state import SagaState
from saga.language.durations import parse_time
from saga.language.model import SagaDefinition
from tests.invariants import check_entry
from tests.visits import Transition, transitions


def entries_of(items: Iterable[dict[str, Any]]) -> list[Entry]:
    """Return the entries that a journal shows; times are shown in milliseconds."""
    return [decode(to_json(dict(_stored(item)))) for item in items]


def _stored(item: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in item.items():
        if name in views.TIMES and value is not None:
            yield name, parse_time(value)
        elif name != "seq":
            yield name, value


def replayed(definition: SagaDefinition, saga: Any, items: list[dict[str, Any]]) -> set[Transition]:
    """Assert that the saga is what its journal leads to, by steps that are allowed; return these."""
    assert [item["seq"] for item in items] == list(range(1, len(items) + 1))
    state: SagaState | None = None
    taken: set[Transition] = set()
    for entry in entries_of(items):
        before, state = state, evolve(state, entry)
        if before is not None:
            check_entry(definition, before, entry, state)
            _check_quiet(before, entry)
            taken.update(transitions(before, entry, state))
    assert state is not None
    told = views.saga(definition, state, owner=saga["owner"], fence=saga["fence"])
    assert json.loads(to_json(told)) == saga, f"6: the replayed state is not the live one: {told}"
    return taken


def _check_quiet(before: SagaState, entry: Entry) -> None:
    """Assert that nothing is undone while a call of a dead coordinator may still be on its way."""
    if isinstance(entry, e.Invoked) and entry.phase == "compensation":
        quiet_at = before.step(entry.step).action.quiet_at
        assert quiet_at is None or entry.at >= quiet_at - 0.001, f"2: {entry.step} is undone too soon"


def invoked(items: Iterable[dict[str, Any]]) -> set[tuple[str, str, int]]:
    """Return step, phase and attempt of every intent."""
    kind = e.Invoked.kind
    return {(item["step"], item["phase"], item["attempt"]) for item in items if item["kind"] == kind}
