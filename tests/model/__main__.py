"""Finds paths to transitions that no kept path takes, and keeps them; needless ones are left out.

``python -m tests.model --seconds 300``
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from time import monotonic

from tests.model import paths
from tests.model.paths import PathOf
from tests.model.story import Story
from tests.visits import Transition

HEAD = "Paths to transitions; found by: python -m tests.model"


def main() -> int:
    """Search for a while."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found: dict[PathOf, set[Transition]] = {}
    story = Story()
    for path in paths.kept():
        found[path] = paths.tell(story, path)
    dice, until = random.Random(asked.seed), monotonic() + asked.seconds
    try:
        while monotonic() < until:
            path, taken = paths.search(story, dice, found)
            if new := taken - set().union(*found.values()):
                path = shortened(story, path, new)
                found[path] = paths.tell(story, path)
    except Exception as error:
        error.add_note(", ".join(story.log))
        raise
    finally:
        chosen = needed(found)
        paths.write(sorted(chosen, key=str), HEAD)
        print(f"{len(chosen)} paths take {len(set().union(*found.values()))} transitions")
    story.close()
    return 0


def shortened(story: Story, path: PathOf, wanted: set[Transition]) -> PathOf:
    """Leave out whatever these transitions do not need."""
    for place in reversed(range(len(path.actions))):
        shorter = path._replace(actions=path.actions[:place] + path.actions[place + 1 :])
        if wanted <= paths.tell(story, shorter):
            path = shorter
    return path


def needed(found: dict[PathOf, set[Transition]]) -> list[PathOf]:
    """Return as few paths as take every transition, more or less."""
    left, chosen = set().union(*found.values()), list[PathOf]()
    while left:
        best = max(found, key=lambda path: len(found[path] & left) / (2 + len(path.actions)))
        chosen.append(best)
        left -= found[best]
    return chosen


if __name__ == "__main__":
    sys.exit(main())
