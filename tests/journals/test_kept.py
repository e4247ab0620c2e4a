"""Whatever a journal was written by and wherever it stopped, this release reads it, shows it and finishes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saga.core import views
from saga.core.encoding import decode, encode, read
from saga.core.entries import FORMAT, KINDS
from saga.core.journal import evolve, replay
from saga.core.spans import all_spans
from saga.core.statuses import Status, StepStatus, UndoStatus
from saga.errors import IllegalEntry, NewerJournal
from saga.language.checks import not_yet_executed
from tests.events import finish
from tests.journals import kept
from tests.journals.points import points
from tests.journals.resumed import decided, kept_alive, resumed
from tests.journals.search import search
from tests.journals.shapes import shapes
from tests.visits import all_transitions

PATHS = kept.paths()
ALL = {kept.name_of(path): kept.load(path) for path in PATHS}
EXECUTED = [name for name, one in ALL.items() if not not_yet_executed(one.definition)]

#: Transitions that the tables allow and nothing takes: what could be the first entry to say so never is.
NEVER = {
    # Of an attempt that was open when its saga was parked, attempt_uncertain is recorded first, and sets it going.
    "saga-parked-step_uncertain-running",
    "saga-parked-step_uncertain-compensating",
}


# --------------------------------------------------------------------------- the files


def test_no_file_has_changed_since_it_was_added() -> None:
    """A journal that somebody's store holds does not change because a release finds it inconvenient."""
    changed = kept.hashes(PATHS).items() ^ kept.manifest().items()
    assert not changed, (
        f"these are not as they were when they were added: {sorted(name for name, _ in changed)}"
    )


def test_every_kind_of_entry_and_every_transition_has_a_journal() -> None:
    """``python -m tests.journals`` adds what is missing."""
    assert {entry.kind for one in ALL.values() for entry in one.entries} == set(KINDS)
    taken = {f"{table}-{was}-{kind.kind}-{now}" for table, was, kind, now in all_transitions()}
    found = set().union(*(points(one.entries) for one in ALL.values()))
    assert taken - found == NEVER


def test_every_status_of_sagas_steps_and_compensations_has_a_journal_that_ends_in_it() -> None:
    """Whatever of them go together, as far as a search finds them."""
    ends = [replay(one.entries) for one in ALL.values()]
    assert {state.status for state in ends} == set(Status)
    assert {unit.status for state in ends for unit in state.steps.values()} == set(StepStatus) - {
        StepStatus.PENDING
    }
    assert {unit.undo_status for state in ends for unit in state.steps.values()} == set(UndoStatus)


@pytest.mark.slow
def test_every_point_that_is_found_has_a_journal() -> None:
    """``python -m tests.journals`` adds what is missing."""
    covered = set().union(*(points(one.entries) for one in ALL.values() if one.format == FORMAT))
    found = set().union(*(points(world.journal) for world in search(shapes().values(), 150)))
    assert found <= covered


def test_a_file_that_is_there_is_never_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a name that is new becomes a file, and the manifest keeps what it had."""
    monkeypatch.setattr(kept, "FOLDER", tmp_path)
    monkeypatch.setattr(kept, "MANIFEST", tmp_path / "manifest.json")
    kept.add("1/begun", 1, {"name": "x", "steps": []}, [b'{"kind":"saga_started"}'])
    before = (tmp_path / "1" / "begun.json").read_bytes()
    with pytest.raises(FileExistsError):
        kept.add("1/begun", 1, {"name": "x", "steps": []}, [b'{"kind":"other"}'])
    assert (tmp_path / "1" / "begun.json").read_bytes() == before
    assert kept.load(tmp_path / "1" / "begun.json").bodies == (b'{"kind":"saga_started"}',)
    assert list(kept.manifest()) == ["1/begun"]


# --------------------------------------------------------------------------- what becomes of them


@pytest.mark.parametrize("name", ALL)
def test_an_old_journal_is_read_shown_and_written_as_it_stands(name: str) -> None:
    """Each entry with the members it was stored with; every prefix is a state that can be shown and traced."""
    one = ALL[name]
    for body in one.bodies:
        assert json.loads(encode(decode(body))) == json.loads(body)
    state = None
    for seq, entry in enumerate(one.entries, start=1):
        state = evolve(state, entry)
        assert views.saga(one.definition, state, owner=None, fence=seq)["id"] == "s1"
        views.summary(one.definition, state)
    assert state is not None
    assert state == replay(one.entries)
    assert len(views.journal(one.definition, state, one.entries)) == len(one.entries)
    all_spans(one.entries)
    with pytest.raises(IllegalEntry):
        evolve(state, one.entries[0])


def test_a_journal_of_a_newer_format_is_not_read_at_all() -> None:
    """Not even if every entry of it could be: what is not known of it might be what matters."""
    one = next(iter(ALL.values()))
    with pytest.raises(NewerJournal, match=f"has format {FORMAT + 1} and this release knows up to {FORMAT}"):
        read(FORMAT + 1, one.bodies)


@pytest.mark.parametrize("name", ALL)
def test_an_old_journal_is_finished_by_the_core(name: str) -> None:
    """Its requests repeat their bytes, and it ends, or is parked until a person has decided."""
    world = resumed(ALL[name])
    finish(world)
    decided(world)


@pytest.mark.parametrize("name", EXECUTED)
async def test_an_old_journal_is_finished_by_a_coordinator(name: str) -> None:
    """From a store it was kept in, as any saga that an earlier release has left."""
    await kept_alive(ALL[name])
