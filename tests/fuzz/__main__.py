"""Fuzz the API of a coordinator, print the page; the exit code is 0 only when nothing was violated."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.calls import Tally, fuzz, operations
from tests.fuzz.world import world

#: Violations that are shown.
SHOWN = 20


def main() -> int:
    """Make the calls; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--calls", type=int, default=5000, help="calls to make at least (%(default)s)")
    parser.add_argument("--seed", type=int, help="repeat the calls of a run (default: new ones)")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, world(Path(folder)) as made:
        resident, cpu = made.resident, made.cpu
        tally = fuzz(made, Path(folder), calls=options.calls, seed=seed)
        troubles = list(made.troubles())
        if not troubles:
            cost = (made.cpu - cpu) / max(tally.calls, 1)
            held = made.resident
            troubles = list(made.stop())
            print("\n".join(page(tally)))
            print(f"{tally.calls} calls in {time.monotonic() - began:.0f} s, seed {seed}")
            print(
                f"CPU {1000 * cost:.2f} ms for each call; memory {resident:.0f} MB before, {held:.0f} MB after"
            )
    violations = [*tally.violations, *troubles]
    for each in violations[:SHOWN]:
        print(f"VIOLATION {each}")
    print(f"{len(violations)} violations")
    return 1 if violations or tally.calls < options.calls else 0


def page(tally: Tally) -> Iterator[str]:
    """Yield a line for each operation: how often it was answered with which status."""
    statuses = sorted({status for each in tally.statuses.values() for status in each})
    yield f"{'':45}" + "".join(f"{status:>6}" for status in statuses)
    for name in [*operations(), *sorted(set(tally.statuses) - set(operations()))]:
        found = tally.statuses.get(name, {})
        yield f"{name:45}" + "".join(f"{found.get(status, 0) or '':>6}" for status in statuses)


if __name__ == "__main__":
    sys.exit(main())
