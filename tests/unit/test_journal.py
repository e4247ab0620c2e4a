"""Entries as they are written and read, and the fold of a journal into a state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.core import entries as e
from saga.core.encoding import as_dict, decode, encode
from saga.core.entries import KINDS, Entry
from saga.core.journal import ENTRY_ALLOWANCE, evolve, replay
from saga.core.state import SagaState, changed
from saga.core.statuses import Status
from saga.errors import IllegalEntry, UnreadableJournal
from tests.driver import START, World, defined, step
from tests.sentences import given as saga_of
from tests.sentences import invoked, succeeded

STARTED = e.SagaStarted(at=START, saga="s1", definition="booking", version=1)

# --------------------------------------------------------------------------- written and read

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_VALUES: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
    "str": st.text,
    "Cause": lambda: st.sampled_from(["refused", "key-expired"]),
    "Phase": lambda: st.sampled_from(["action", "compensation"]),
    "Via": lambda: st.sampled_from(["http", "worker", "child"]),
    "int": lambda: st.integers(0, 2**53),
    "float": lambda: st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans,
    "Any": lambda: _JSON,
    "tuple[str, ...]": lambda: st.lists(st.text(), max_size=3).map(tuple),
    "dict[str, str | float | int | bool]": lambda: st.dictionaries(
        st.text(), st.text() | st.integers() | st.booleans()
    ),
    "Literal['refused', 'uncertain', 'succeeded']": lambda: st.sampled_from(
        ["refused", "uncertain", "succeeded"]
    ),
    "Literal['succeeded', 'refused', 'undone']": lambda: st.sampled_from(["succeeded", "refused", "undone"]),
}


def _value(kind: str) -> st.SearchStrategy[Any]:
    kind = kind.replace('"', "'")
    if kind.endswith(" | None"):
        return st.none() | _value(kind.removesuffix(" | None"))
    return _VALUES[kind]()


def _any(kind: type[Entry]) -> st.SearchStrategy[Entry]:
    return st.builds(kind, **{each.name: _value(str(each.type)) for each in fields(kind)})


@given(st.sampled_from(list(KINDS.values())).flatmap(_any))
def test_every_entry_is_read_as_it_was_written(entry: Entry) -> None:
    """Whatever its members hold."""
    assert decode(encode(entry)) == entry


@given(st.sampled_from(list(KINDS.values())).flatmap(_any))
def test_members_a_later_release_adds_are_left_out(entry: Entry) -> None:
    """A schema only grows."""
    grown = encode(entry)[:-1] + b',"member_of_tomorrow":{"x":1}}'

    assert decode(grown) == entry


def test_only_what_differs_from_its_default_is_written() -> None:
    """Zero is not false."""
    entry = e.StepSucceeded(at=1.0, step="a", output=0)

    assert as_dict(entry) == {"kind": "step_succeeded", "at": 1.0, "step": "a", "output": 0}
    assert decode(encode(replace(entry, output=False))).output is False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'{"kind":"telegram","at":1}', b'{"kind":"invoked"}', b"\xff"]
)
def test_what_is_no_entry_of_this_release_is_unreadable(body: bytes) -> None:
    """Nothing else is raised."""
    with pytest.raises(UnreadableJournal):
        decode(body)


def _below(entry: type[Entry]) -> Iterator[type[Entry]]:
    # A slotted dataclass is made from a first class without slots, which may still be listed.
    for kind in entry.__subclasses__():
        if "__slots__" in vars(kind):
            yield from (kind, *_below(kind))


def test_kinds_are_named_once_and_have_all_their_members() -> None:
    """The names are in journals for ever."""
    assert set(KINDS.values()) == {kind for kind in _below(Entry) if "kind" in vars(kind)}
    assert all(name == kind.kind for name, kind in KINDS.items())


# --------------------------------------------------------------------------- the fold


def test_a_journal_begins_with_its_start_and_has_only_one() -> None:
    """Anything else is no journal."""
    with pytest.raises(IllegalEntry):
        evolve(None, e.SagaPaused(at=START))
    with pytest.raises(IllegalEntry):
        evolve(evolve(None, STARTED), STARTED)
    with pytest.raises(UnreadableJournal, match="empty"):
        replay([])
    with pytest.raises(UnreadableJournal, match="entry 1: saga_paused"):
        replay([e.SagaPaused(at=START)])
    with pytest.raises(UnreadableJournal, match="entry 2: saga_started"):
        replay([STARTED, STARTED])


def test_a_state_cannot_be_changed_in_place() -> None:
    """Whoever holds one may keep it."""
    with pytest.raises(FrozenInstanceError):
        evolve(None, STARTED).status = Status.PARKED  # type: ignore[misc]


def test_every_prefix_of_a_journal_is_a_state() -> None:
    """And the last one is the live one."""
    world = saga_of(defined(step("a"), step("b"))).when_refused("b").played().world
    states = [replay(world.journal[:length]) for length in range(1, len(world.journal) + 1)]

    assert states[-1] == world.state
    assert [state.seq for state in states] == list(range(1, len(world.journal) + 1))


def test_a_start_tells_who_what_and_when() -> None:
    """Trace, parent and labels stay with the saga."""
    started = replace(
        STARTED,
        trace_id="t",
        span_id="s",
        sampled=True,
        parent="p",
        parent_step="c",
        labels={"amount": 3},
        rerun_of="r",
    )
    state = evolve(None, started)

    assert state.trace is not None
    assert (state.trace.trace_id, state.trace.sampled, state.parent, state.parent_step) == (
        "t",
        True,
        "p",
        "c",
    )
    assert (state.labels, state.rerun_of, state.status, state.direction) == (
        {"amount": 3},
        "r",
        "running",
        "forward",
    )
    assert evolve(None, STARTED).trace is None


def test_a_journals_size_counts_its_payloads() -> None:
    """And an allowance for each entry."""
    state = evolve(evolve(None, replace(STARTED, size=100)), invoked("a"))

    assert state.size == 100 + 2 * ENTRY_ALLOWANCE
    assert evolve(state, replace(succeeded("a"), size=5000)).size == state.size + ENTRY_ALLOWANCE + 5000


def test_an_attempt_opens_and_closes() -> None:
    """Its intent, and its outcome."""
    opened = evolve(evolve(None, STARTED), invoked("a", timeout=7.0))
    assert [(unit.name, phase) for unit, phase in opened.open_invocations()] == [("a", "action")]
    assert opened.step("a").action.first_at == START

    closed = evolve(opened, succeeded("a"))
    assert list(closed.open_invocations()) == []


def test_the_first_digest_stays() -> None:
    """Later attempts are compared with it."""
    state = evolve(evolve(None, STARTED), invoked("a", digest="d1"))
    state = evolve(state, e.AttemptUncertain(at=START, step="a", phase="action", attempt=1, next_at=START))
    state = evolve(state, invoked("a", 2))

    assert (state.step("a").action.digest, state.step("a").action.attempts) == ("d1", 2)


def test_changed_is_replace() -> None:
    """A copy, and the original as it was."""
    state = evolve(None, STARTED)

    assert changed(state, late=True) == replace(state, late=True)
    assert not state.late
    assert isinstance(changed(state), SagaState)


def test_units_are_a_step_or_its_instances() -> None:
    """Once ``for_each`` was evaluated."""
    state = evolve(evolve(None, STARTED), e.StepExpanded(at=START, step="x", count=2))

    assert [unit.name for unit in state.units("x")] == ["x[0]", "x[1]"]
    assert [unit.name for unit in state.units("y")] == ["y"]


def test_an_entry_of_a_world_survives_the_store() -> None:
    """Every one of a saga that saw much."""
    world = World.start(defined(step("a"), step("b", wait="1s"), step("c", signal={"name": "go"})))
    world.turn()
    world.command("pause")
    world.command("resume")
    world.signal("go", {"x": [1, None]})
    world.run()

    assert [decode(encode(entry)) for entry in world.journal] == world.journal
