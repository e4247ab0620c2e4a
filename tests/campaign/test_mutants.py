"""Every mutant can still be made of the packages as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.coordinators import ROOT
from tests.campaign.mutants import FOLDER, OTHERS, QUICK, Mutant, chosen


@pytest.mark.parametrize("name", QUICK + OTHERS)
def test_a_patch_applies_and_what_it_changes_compiles(name: str, tmp_path: Path) -> None:
    """A patch that no longer fits the packages has to be made anew."""
    mutant = Mutant(name=name)
    copy = mutant.make(tmp_path)

    assert mutant.files
    assert mutant.meaning
    for file in mutant.files:
        assert (copy / file).read_text() != (ROOT / file).read_text()


def test_every_patch_is_hunted() -> None:
    """None lies there unused."""
    assert sorted(path.stem for path in FOLDER.glob("*.patch")) == sorted(QUICK + OTHERS)


def test_mutants_are_chosen_by_speed_or_by_name() -> None:
    """A name that no mutant has is an error, not an empty hunt."""
    assert [mutant.name for mutant in chosen("no_guard")] == ["no_guard"]
    assert len(chosen("all")) == len(QUICK + OTHERS)
    with pytest.raises(SystemExit, match="there is no mutant nobody"):
        chosen("nobody")
