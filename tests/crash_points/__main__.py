"""Arm every point in turn, print what came of it; the exit code is 0 only when all is well."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.campaign import clock
from tests.campaign.coordinators import ROOT
from tests.campaign.mutants import chosen
from tests.crash_points import making
from tests.crash_points.points import every
from tests.crash_points.stage import Cell, Met, Outcome, Stage, Surrounding
from tests.crash_points.table import Page
from tests.crash_points.world import HELD, World

#: Stages of each direction, side by side: most of a life is waiting.
STAGES = 2
#: Lives in which a point may be missed that hangs on which writes meet in one batch.
TRIES = 4
#: Modules whose statements only read or only open: a second visit is another first one.
_ONCE = ("sql sqlite_reads.", "sql sqlite_file.")
#: From the plainest: a point is armed in the first surrounding that comes to it.
SURROUNDINGS = (Surrounding(), Surrounding(together=True), Surrounding(noted=True), Surrounding(shared=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash_points", description=__doc__)
    parser.add_argument("--only", default="", help="points whose names hold this text")
    parser.add_argument(
        "--mutant", help="a mutant of the campaign to play instead; then something has to be wrong"
    )
    parser.add_argument("--keep", action="store_true", help="keep stores and logs even if all is well")
    return parser


async def run(data: Path, only: str, paths: tuple[Path, ...]) -> Page:
    """Play everything, with the packages that are imported from these folders."""
    began = clock.now()
    async with World(data).open() as world:
        stages = {
            direction: [
                Stage(world, direction, data / f"{direction}-{n}", number=n, paths=paths)
                for n in range(STAGES)
            ]
            for direction in HELD
        }
        parts = [_direction(name, own, only) for name, own in stages.items()]
        played = await asyncio.gather(making.play(world, data, only, paths), *parts)
    outcomes = [outcome for part in played for outcome in part]
    return Page(
        outcomes=outcomes, points=[name for name in every() if only in name], seconds=clock.now() - began
    )


async def _direction(direction: str, stages: list[Stage], only: str) -> list[Outcome]:
    await asyncio.gather(*(stage.open() for stage in stages))
    cells = [cell for cell in await _cells(direction, stages[0]) if only in cell.point]
    cells.reverse()
    outcomes: list[Outcome] = []

    async def work(stage: Stage) -> None:
        while cells:
            outcomes.append(await _tried(stage, cells.pop()))
        await stage.judge()
        await stage.close()

    await asyncio.gather(*map(work, stages))
    return outcomes


async def _tried(stage: Stage, cell: Cell) -> Outcome:
    """Play the cell until it is reached: which writes meet in one batch is not the same in every life."""
    outcome = await stage.play(cell)
    for _ in range(TRIES - 1):
        if outcome.reached == cell.lives or outcome.troubles:
            break
        if cell.visit == 2:  # it was come to twice in the rehearsal, by chance
            cell = replace(cell, visit=1, lives=2)
        outcome = await stage.play(cell)
    return outcome


async def _cells(direction: str, stage: Stage) -> list[Cell]:
    """Rehearse each surrounding, and return what is to be armed in it."""
    cells: list[Cell] = []
    seen: set[tuple[str, Met]] = set()
    for surrounding in SURROUNDINGS:
        for met, counts in (await stage.rehearse(surrounding)).items():
            for point in every():
                if counts[point] and (point, met) not in seen and not _is_over(point, surrounding, seen):
                    seen.add((point, met))
                    cells += _visits(point, direction, met, counts, surrounding)
    return cells


def _is_over(point: str, surrounding: Surrounding, seen: set[tuple[str, Met]]) -> bool:
    """Return whether a plainer surrounding has come to the point, be it otherwise."""
    return surrounding != SURROUNDINGS[0] and any((point, met) in seen for met in ("recovered", "fresh"))


def _visits(
    point: str, direction: str, met: Met, counts: Counter[str], surrounding: Surrounding
) -> Iterator[Cell]:
    first = Cell(point=point, direction=direction, met=met, visit=1, surrounding=surrounding)
    yield first
    if point.startswith(_ONCE):
        return
    twice = counts[point] >= 2
    yield Cell(
        point=point,
        direction=direction,
        met=met,
        visit=2 if twice else 1,
        lives=1 if twice else 2,
        surrounding=surrounding,
    )


def main() -> int:
    """Run everything; return the exit code."""
    options = _parser().parse_args()
    data = Path(tempfile.mkdtemp(prefix="crash-points-"))
    paths = (ROOT,)
    if options.mutant:
        (mutant,) = chosen(options.mutant)
        paths = (mutant.make(data / "copy"), ROOT)
    page = asyncio.run(run(data, options.only, paths))
    print(page.text())
    if page.well and not options.keep:
        shutil.rmtree(data)
    else:
        print(f"stores and logs are in {data}", file=sys.stderr)
    return 0 if page.well else 1


if __name__ == "__main__":
    sys.exit(main())
