"""The stores: one module for each technology, which alone names its driver."""

from __future__ import annotations


def fresh_places(handed_out: int, limit: int) -> int:
    """Return how many of the next ``limit`` places of a claim are kept for sagas nobody has run yet.

    Every fourth place is, counted from the first one ever handed out: so claims of any size are fair.
    """
    return (handed_out + limit) // 4 - handed_out // 4
