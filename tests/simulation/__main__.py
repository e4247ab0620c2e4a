"""Run worlds, print the page; the exit code is 0 only when all is well."""

from __future__ import annotations

import argparse
import gc
import json
import sys

from tests.simulation.hunting import chosen, hunt
from tests.simulation.replay import replayed
from tests.simulation.runs import Tally, play


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    add = parser.add_argument
    add("--worlds", type=int, default=1000, help="worlds to run (%(default)s)")
    add("--seed", type=int, default=0, help="seed of the first world; the next ones follow (%(default)s)")
    add("--coordinators", type=int, choices=(1, 2, 3), help="coordinators of each world (default: drawn)")
    add("--replay", type=int, metavar="SEED", help="run this one world again, and tell all of it")
    add("--mutants", metavar="NAMES", help="all, or names with commas between: hunt these instead")
    add("--first", action="store_true", help="end at the first world that fails, and say so as JSON")
    return parser


def main() -> int:
    """Run what was asked for; return the exit code."""
    options = _parser().parse_args()
    if options.replay is not None:
        return replayed(options.replay, options.coordinators)
    if options.mutants is not None:
        return _hunted(options)
    # What is loaded stays: only what a world leaves behind is to be collected.
    gc.collect()
    gc.freeze()
    tally = Tally()
    for seed in range(options.seed, options.seed + options.worlds):
        _, ended = play(seed, coordinators=options.coordinators)
        tally.add(ended)
        if options.first and tally.failed:
            break
    if options.first:
        return _told_first(tally)
    print(tally.page())
    return 1 if tally.failed or tally.silent else 0


def _told_first(tally: Tally) -> int:
    finding = f"seed {tally.failed[0].seed}: {tally.failed[0].findings[0]}" if tally.failed else ""
    print(json.dumps({"worlds": tally.worlds if tally.failed else None, "finding": finding}))
    return 1 if tally.failed else 0


def _hunted(options: argparse.Namespace) -> int:
    escaped = 0
    for mutant in chosen(options.mutants):
        found = hunt(mutant, seed=options.seed)
        print(found, flush=True)
        escaped += found.worlds is None
    print(f"{escaped} escaped")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
