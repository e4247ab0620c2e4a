"""Adds a journal for every point that has none; what is there stays as it is.

``python -m tests.journals`` takes a minute. Run it when an entry, a status or a transition was added.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from pydantic_core import from_json

from saga.catalogue import stored_form
from saga.core.encoding import encode
from saga.core.entries import FORMAT
from tests.driver import World
from tests.journals import kept
from tests.journals.points import Point, points
from tests.journals.search import search
from tests.journals.shapes import shapes


def covered() -> set[Point]:
    """Return the points of which the journals of this format are examples."""
    found: set[Point] = set()
    for path in kept.paths():
        one = kept.load(path)
        if one.format == FORMAT:
            found |= points(one.entries)
    return found


def chosen(found: Sequence[World], missing: set[Point]) -> dict[Point, World]:
    """Return small worlds that show every missing point, each under the rarest point it is there for."""
    shown = [(world, points(world.journal) & missing, _size(world)) for world in found]
    rarity = Counter(point for _, shows, _ in shown for point in shows)
    picked: dict[Point, World] = {}
    left = set(missing)
    while left:
        world, shows, _ = max(shown, key=lambda each: len(each[1] & left) / each[2])
        picked[min(shows & left, key=lambda point: (rarity[point], point))] = world
        left -= shows
    return _without_needless(picked, missing)


def _without_needless(picked: dict[Point, World], missing: set[Point]) -> dict[Point, World]:
    """Leave out what was picked early and is shown, all of it, by what was picked later."""
    for point in tuple(picked):
        others = {name: world for name, world in picked.items() if name != point}
        if missing <= set().union(*(points(world.journal) for world in others.values())):
            picked = others
    return picked


def _size(world: World) -> int:
    return len(stored_form(world.definition)) + sum(len(encode(entry)) for entry in world.journal)


def main() -> int:
    """Add what is missing; return 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.journals", description=__doc__)
    parser.add_argument("--tries", type=int, default=6000, help="worlds that are tried of each definition")
    tries = parser.parse_args().tries
    found = search(shapes().values(), tries)
    seen = set().union(*(points(world.journal) for world in found))
    picked = chosen(found, seen - covered())
    for point, world in picked.items():
        document = from_json(stored_form(world.definition))
        kept.add(f"{FORMAT}/{point}", FORMAT, document, [encode(entry) for entry in world.journal])
    size = sum(path.stat().st_size for path in kept.paths())
    print(f"{len(seen)} points, {len(picked)} journals added; {len(kept.paths())} are kept, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
