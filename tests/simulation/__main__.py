"""Run worlds, print the page; the exit code is 0 only when all is well."""

from __future__ import annotations

import argparse
import gc
import sys

from tests.simulation.replay import replayed
from tests.simulation.runs import Tally, play


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    add = parser.add_argument
    add("--worlds", type=int, default=1000, help="worlds to run (%(default)s)")
    add("--seed", type=int, default=0, help="seed of the first world; the next ones follow (%(default)s)")
    add("--coordinators", type=int, choices=(1, 2, 3), help="coordinators of each world (default: drawn)")
    add("--replay", type=int, metavar="SEED", help="run this one world again, and tell all of it")
    return parser


def main() -> int:
    """Run what was asked for; return the exit code."""
    options = _parser().parse_args()
    if options.replay is not None:
        return replayed(options.replay, options.coordinators)
    # What is loaded stays: only what a world leaves behind is to be collected.
    gc.collect()
    gc.freeze()
    tally = Tally()
    for seed in range(options.seed, options.seed + options.worlds):
        _, ended = play(seed, coordinators=options.coordinators)
        tally.add(ended)
    print(tally.page())
    return 1 if tally.failed or tally.silent else 0


if __name__ == "__main__":
    sys.exit(main())
