"""Coordinators that are wrong on purpose, as patches: a checker that has never failed proves nothing.

A mutant is never a switch in the product. Its patch is applied to a copy of the packages, and the campaign runs
that copy until the judge finds the first inconsistency.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.coordinators import ROOT

FOLDER = Path(__file__).parent
PACKAGES = ("saga", "compensations")

#: For every change. All mutants fall within a hundred kills, in ten seconds or so each.
QUICK: tuple[str, ...] = (
    "unknown_is_failed",
    "call_before_intent",
    "last_answer_erases_doubt",
    "undo_in_forward_order",
    "command_erases_intent",
    "no_guard",
    "start_answered_early",
)
#: For a release: what they do wrong is near to one of those.
OTHERS: tuple[str, ...] = (
    "lost_call_never_happened",
    "undo_while_under_way",
    "key_per_attempt",
    "fence_stays",
    "ended_before_undone",
    "cancel_at_the_pivot",
)


class PatchRejected(Exception):
    """A patch does not apply to the packages as they are: make it anew."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One patch."""

    name: str

    @property
    def patch(self) -> Path:
        """Where it lies."""
        return FOLDER / f"{self.name}.patch"

    @property
    def meaning(self) -> str:
        """What is wrong with it, as its patch says on top."""
        return self.patch.read_text().partition("\n\n")[0].replace("\n", " ")

    @property
    def files(self) -> list[str]:
        """Return the files it changes."""
        lines = self.patch.read_text().splitlines()
        return [line.removeprefix("+++ b/") for line in lines if line.startswith("+++ b/")]

    def make(self, folder: Path) -> Path:
        """Copy the packages into the folder, apply the patch, and return the folder.

        Raises :class:`PatchRejected`.
        """
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, folder / package, dirs_exist_ok=True, ignore=ignored)
        command = ("patch", "-p1", "--forward", "--fuzz=2", "--no-backup-if-mismatch", "-i", str(self.patch))
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PatchRejected(f"{self.name}: {done.stdout}{done.stderr}")
        for name in self.files:
            compile((folder / name).read_text(), name, "exec")
        return folder


def chosen(wanted: str) -> list[Mutant]:
    """Return the mutants of a choice: ``quick``, ``all``, or names with commas between; exits on a wrong one."""
    names = {"quick": QUICK, "all": QUICK + OTHERS}.get(wanted, tuple(wanted.split(",")))
    if unknown := set(names) - {*QUICK, *OTHERS}:
        sys.exit(f"there is no mutant {', '.join(sorted(unknown))}; there are {', '.join(QUICK + OTHERS)}")
    return [Mutant(name=name) for name in names]
