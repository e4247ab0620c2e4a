"""Run the campaign, hunt mutants, print the page; the exit code is 0 only when all is well."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.campaign import clock
from tests.campaign.mutants import Mutant, PatchRejected, chosen
from tests.campaign.report import Hunt, Page
from tests.campaign.rounds import Order, Round, run

#: Kills a mutant may survive, in rounds that grow: most fall in the first.
MUTANT_KILLS = 5_000
FIRST_ROUND, LARGEST_ROUND = 25, 800
#: Kills of one round of the campaign. Each has a store file of its own: a large one takes long to be checked at start.
ROUND = 300


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    add = parser.add_argument
    add("--kills", type=int, default=2000, help="kills of warm forks (%(default)s)")
    add("--cold", type=int, default=24, help="kills of processes started from nothing (%(default)s)")
    add(
        "--seed",
        type=int,
        help="repeat the draws of a run; the instants are in its kills.tsv (default: a new one)",
    )
    add("--minutes", type=float, help="kill for so long at most")
    add("--mutants", help="quick, all, or names with commas between: hunt these as well")
    add("--only-mutants", action="store_true", help="hunt the mutants, and nothing else")
    add("--data", type=Path, help="folder of stores, ledgers and findings (default: a new one)")
    add("--keep", action="store_true", help="keep the folder even if all is well")
    add("--json", action="store_true", help="print the page as JSON")
    add("--report", type=Path, help="write the page to this file as well, as markdown")
    return parser


def main() -> int:
    """Run what was asked for; return the exit code."""
    options = _parser().parse_args()
    mutants = chosen(options.mutants) if options.mutants else []
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    data = options.data or Path(tempfile.mkdtemp(prefix="campaign-"))
    if data.exists() and any(data.iterdir()):
        sys.exit(f"{data} is not empty: what is left there would be taken for this run's")
    try:
        copies = [mutant.make(data / f"mutant-{mutant.name}" / "copy") for mutant in mutants]
    except PatchRejected as error:
        sys.exit(str(error))
    page = Page(seed=seed)
    began = clock.now()
    if not options.only_mutants:
        _campaign(page, options, data)
    for mutant, copy in zip(mutants, copies, strict=True):
        hunt = _hunt(mutant, copy, seed)
        page.hunts.append(hunt)
        _say(
            f"mutant {mutant.name}: {'escaped' if hunt.kills is None else f'{hunt.kills} kills'} {hunt.finding}"
        )
    page.seconds = clock.now() - began
    _print(page, options)
    if page.well and not options.keep and options.data is None:
        shutil.rmtree(data)
    else:
        _say(f"stores, ledgers and findings are in {data}")
    return 0 if page.well else 1


def _campaign(page: Page, options: argparse.Namespace, data: Path) -> None:
    page.played = True
    enough = _time_is_up(options.minutes)
    left, cold, number = options.kills, options.cold, 0
    while (left or cold) and not enough():
        kills = min(left, ROUND)
        order = Order(seed=page.seed + number, kills=kills, cold=cold, data=data / f"round-{number}")
        found = asyncio.run(run(order, enough=enough))
        _add(page, found)
        left, cold, number = left - kills, 0, number + 1
        _say(
            f"round {number}: {len(found.kills)} kills in {found.seconds:.0f} s, {len(found.findings)} findings"
        )


def _add(page: Page, found: Round) -> None:
    page.tally.add(found)
    page.killing += found.killing_seconds
    page.warm += sum(not kill.cold for kill in found.kills)
    where = f"(seed {found.order.seed}, {found.order.data})"
    page.findings += [f"{finding} {where}" for finding in found.findings]
    page.troubles += [f"{trouble} {where}" for trouble in found.troubles]


def _time_is_up(minutes: float | None) -> Callable[[], bool]:
    until = float("inf") if minutes is None else clock.now() + 60 * minutes
    return lambda: clock.now() >= until


def _hunt(mutant: Mutant, copy: Path, seed: int) -> Hunt:
    """Play rounds with the mutant until the judge has caught it, or it has survived so many kills."""
    began, kills, size = clock.now(), 0, FIRST_ROUND
    first = ""
    while kills < MUTANT_KILLS and not first:
        size = min(size, MUTANT_KILLS - kills)
        order = Order(seed=seed + kills, kills=size, cold=0, data=copy.parent / f"after-{kills}", copy=copy)
        found = asyncio.run(run(order))
        kills, size = kills + len(found.kills), min(2 * size, LARGEST_ROUND)
        first = str(found.findings[0]) if found.findings else ""
        if found.troubles and not first:
            _say(f"mutant {mutant.name}: {found.troubles[0]}")
            break
    return Hunt(
        name=mutant.name,
        meaning=mutant.meaning,
        kills=kills if first else None,
        finding=first,
        seconds=clock.now() - began,
        tried=kills,
    )


def _print(page: Page, options: argparse.Namespace) -> None:
    print(json.dumps(page.document(), indent=1) if options.json else page.text())
    if options.report is not None:
        options.report.write_text(page.markdown())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
