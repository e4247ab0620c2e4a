"""Which actions are undone, in which order.

The order is the reverse of the dependency order of what ran: an action is undone once everything downstream of
it has settled and what was owed there is undone; independent branches are undone in parallel.
The functions work on plain values and know neither a definition nor a journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from compensations.policy import OVER, Effect, Undo, owed, why_not_owed


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What one action may have left behind."""

    #: Name of the action: of the step, or of one of its instances.
    name: str
    #: The step it belongs to.
    step: str
    #: Steps that had to be over before it.
    after: tuple[str, ...]
    effect: Effect
    undo: Undo = Undo.DUE
    #: False when the definition says that nothing is owed whether or not it happened.
    compensatable: bool = True

    @property
    def blocks(self) -> bool:
        """True while nothing upstream of it may be undone."""
        if self.effect is Effect.OPEN:
            return True
        return self.undo not in OVER and owed(self.effect, compensatable=self.compensatable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Omitted:
    """An action for which no compensation will be sent."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensationPlan:
    """The compensations still to be made, in order."""

    #: Names; those of one wave are independent, and a wave waits for the ones before it.
    waves: tuple[tuple[str, ...], ...]
    #: Of the first wave, those that nothing stands in the way of: none while an open action must settle first.
    next: tuple[str, ...]
    omitted: tuple[Omitted, ...]


def plan_compensation(footprints: Sequence[Footprint]) -> CompensationPlan:
    """Return in which waves the actions are undone, and why each of the others is not.

    An action whose compensation failed stays in its wave, so that it holds back those upstream of it and
    nothing else. Takes time in proportion to the actions and their dependencies.
    """
    heights = _heights(footprints)
    waves: dict[int, list[str]] = {}
    omitted: list[Omitted] = []
    for footprint in footprints:
        why = why_not_owed(footprint.effect, footprint.undo, compensatable=footprint.compensatable)
        if why is None:
            waves.setdefault(heights[footprint.step], []).append(footprint.name)
        else:
            omitted.append(Omitted(name=footprint.name, why=why))
    return CompensationPlan(
        waves=tuple(tuple(waves[height]) for height in sorted(waves)),
        # One blocking step on the way down is the action itself; more are steps that must settle first.
        next=tuple(waves.get(1, ())),
        omitted=tuple(omitted),
    )


def _heights(footprints: Iterable[Footprint]) -> Mapping[str, int]:
    """Return for each step how many blocking steps stand on the longest way down from it, itself included."""
    blocking: dict[str, bool] = {}
    after: dict[str, tuple[str, ...]] = {}
    for footprint in footprints:
        blocking[footprint.step] = blocking.get(footprint.step, False) or footprint.blocks
        after[footprint.step] = footprint.after
    dependents: dict[str, list[str]] = {step: [] for step in after}
    for step, before in after.items():
        for name in before:
            dependents.setdefault(name, []).append(step)
    heights: dict[str, int] = {}
    for step in _downstream_first(after, dependents):
        below = max((heights[name] for name in dependents[step]), default=0)
        heights[step] = below + (1 if blocking.get(step, False) else 0)
    return heights


def _downstream_first(
    after: Mapping[str, tuple[str, ...]], dependents: Mapping[str, Sequence[str]]
) -> Iterable[str]:
    """Yield the steps so that each comes after everything downstream of it (Kahn 1962, backwards)."""
    waiting = {step: len(names) for step, names in dependents.items()}
    free = [step for step, count in waiting.items() if count == 0]
    while free:
        step = free.pop()
        yield step
        for name in after.get(step, ()):
            waiting[name] -= 1
            if waiting[name] == 0:
                free.append(name)
