"""Mutants: coordinators that are wrong on purpose. A checker that has never failed proves nothing.

The campaign's patches, and those of this folder's ``mutants``, which only several coordinators on one store or a store
that fails can bring to light. Each is applied to a copy of the packages, and worlds are run with that copy until
the judge has caught it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.coordinators import ROOT
from tests.campaign.mutants import FOLDER as CAMPAIGN
from tests.campaign.mutants import Mutant

FOLDER = Path(__file__).parent / "mutants"
#: Worlds a mutant may survive.
MOST = 3000
#: Of the campaign: what it changes is not here. The store is in memory, and participants have the guard.
ELSEWHERE = frozenset({"fence_stays"})


@dataclass(frozen=True, kw_only=True)
class Own(Mutant):
    """A patch of this folder."""

    @property
    def patch(self) -> Path:
        """Where it lies."""
        return FOLDER / f"{self.name}.patch"


@dataclass(frozen=True, kw_only=True)
class Hunt:
    """What came of one mutant."""

    name: str
    meaning: str
    #: Worlds until it was caught; None: it was not.
    worlds: int | None
    finding: str

    def __str__(self) -> str:
        caught = "escaped" if self.worlds is None else f"world {self.worlds}"
        return f"{self.name:<30} {caught:<12} {self.finding[:150]}"


def all_mutants() -> list[Mutant]:
    """Return every mutant that can show itself here."""
    theirs = sorted(path.stem for path in CAMPAIGN.glob("*.patch"))
    own = sorted(path.stem for path in FOLDER.glob("*.patch"))
    return [Mutant(name=name) for name in theirs if name not in ELSEWHERE] + [Own(name=name) for name in own]


def chosen(wanted: str) -> list[Mutant]:
    """Return the mutants of a choice: ``all``, or names with commas between; exits on a wrong one."""
    known = {mutant.name: mutant for mutant in all_mutants()}
    names = list(known) if wanted == "all" else wanted.split(",")
    if unknown := set(names) - known.keys():
        sys.exit(f"there is no mutant {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [known[name] for name in names]


def hunt(mutant: Mutant, *, seed: int, most: int = MOST) -> Hunt:
    """Run worlds with a copy of the packages that the mutant has changed, until one of them fails."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = mutant.make(Path(folder))
        command = [sys.executable, "-P", "-m", "tests.simulation", "--worlds", str(most), "--seed", str(seed)]
        path = os.pathsep.join((str(copy), str(ROOT)))
        done = subprocess.run(
            [*command, "--first"], env=os.environ | {"PYTHONPATH": path}, cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutant.name}: {done.stderr}")
    found = json.loads(done.stdout)
    return Hunt(name=mutant.name, meaning=mutant.meaning, worlds=found["worlds"], finding=found["finding"])
