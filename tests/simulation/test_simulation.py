"""Worlds of a few hundred seeds end as promised, and every world is the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.coordinators import ROOT
from tests.simulation.hunting import all_mutants, chosen
from tests.simulation.runs import Tally, play

#: Seeds whose worlds show mutants for what they are: a coordinator without the cure fails in them.
KEPT: tuple[int, ...] = (0, 2, 32, 61, 610)


@pytest.mark.slow
@pytest.mark.parametrize("coordinators", [1, 2, 3])
def test_every_world_ends_as_promised(coordinators: int) -> None:
    """Whatever befalls them, sagas end completed, compensated, abandoned, or parked with a reason."""
    tally = Tally()
    for seed in range(1000 * coordinators, 1000 * coordinators + 80):
        tally.add(play(seed, coordinators=coordinators)[1])

    assert not tally.failed, tally.page()
    assert {"completed", "compensated"} <= tally.ends.keys()


@pytest.mark.slow
def test_a_world_is_the_same_each_time() -> None:
    """The seed is all there is to know of it: journals are equal to the byte, and so is what was counted."""
    for seed in range(30):
        (_, first), (_, second) = play(seed), play(seed)

        assert (first.digest, first.fired, first.ends) == (second.digest, second.fired, second.ends)


@pytest.mark.parametrize("seed", KEPT)
def test_what_once_failed_holds(seed: int) -> None:
    """A world in which a coordinator that is wrong on purpose fails."""
    assert play(seed)[1].findings == []


@pytest.mark.parametrize("name", [mutant.name for mutant in all_mutants()])
def test_a_patch_applies_and_what_it_changes_compiles(name: str, tmp_path: Path) -> None:
    """A patch that no longer fits the packages has to be made anew."""
    (mutant,) = chosen(name)
    copy = mutant.make(tmp_path)

    assert mutant.meaning
    assert all((copy / file).read_text() != (ROOT / file).read_text() for file in mutant.files)
