"""Which step waits for which: the dependency graph of a definition, over the names of its steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property


class Graph:
    """The steps in the order of the definition, and what each of them waits for.

    Total over any document: of a name that is given twice the first counts, and a step that is waited for
    but does not exist is left out. When there is a cycle, :attr:`cycle` names it and what is upstream of
    a step on or below it is incomplete; such a definition is never executed.
    """

    def __init__(self, after: Mapping[str, Iterable[str]]) -> None:
        #: Names in the order of the definition.
        self.order: tuple[str, ...] = tuple(after)
        self._after = {
            name: tuple(dict.fromkeys(each for each in waits if each in after))
            for name, waits in after.items()
        }
        self._dependents: dict[str, list[str]] = {name: [] for name in self.order}
        for name, waits in self._after.items():
            for each in waits:
                self._dependents[each].append(name)

    @classmethod
    def of(cls, steps: Sequence[tuple[str, Sequence[str] | None]]) -> Graph:
        """Build the graph of named steps; one whose ``after`` is None waits for the step above it."""
        after: dict[str, tuple[str, ...]] = {}
        above: tuple[str, ...] = ()
        for name, waits in steps:
            after.setdefault(name, above if waits is None else tuple(waits))
            above = (name,)
        return cls(after)

    def __contains__(self, name: object) -> bool:
        """Return whether there is a step of that name."""
        return name in self._after

    def after(self, name: str) -> tuple[str, ...]:
        """Return the steps this one waits for, as written."""
        return self._after[name]

    def dependents(self, name: str) -> tuple[str, ...]:
        """Return the steps that wait for this one, in the order of the definition."""
        return tuple(self._dependents[name])

    def upstream(self, name: str) -> frozenset[str]:
        """Return every step that has settled before this one starts."""
        return self._upstream[name]

    def downstream(self, name: str) -> frozenset[str]:
        """Return every step that starts only when this one has settled."""
        return self._downstream[name]

    @cached_property
    def topological(self) -> tuple[str, ...]:
        """The steps so that each stands behind all it waits for; those on or below a cycle are missing."""
        waiting = {name: len(waits) for name, waits in self._after.items()}
        ready = deque(name for name in self.order if waiting[name] == 0)
        sorted_names: list[str] = []
        while ready:
            name = ready.popleft()
            sorted_names.append(name)
            for dependent in self._dependents[name]:
                waiting[dependent] -= 1
                if waiting[dependent] == 0:
                    ready.append(dependent)
        return tuple(sorted_names)

    @cached_property
    def cycle(self) -> tuple[str, ...] | None:
        """One cycle, each step waiting for the next and the last for the first; None when there is none."""
        stuck = set(self.order) - set(self.topological)
        if not stuck:
            return None
        # A stuck step waits for a stuck step, so walking on must come back to one that was seen.
        walked: dict[str, int] = {}
        name = next(each for each in self.order if each in stuck)
        while name not in walked:
            walked[name] = len(walked)
            name = next(each for each in self._after[name] if each in stuck)
        return tuple(walked)[walked[name] :]

    @cached_property
    def _upstream(self) -> dict[str, frozenset[str]]:
        return self._closure(self.topological, self._after)

    @cached_property
    def _downstream(self) -> dict[str, frozenset[str]]:
        return self._closure(tuple(reversed(self.topological)), self._dependents)

    def _closure(self, order: Iterable[str], near: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
        """Return all that can be reached over ``near``; bits of an integer, so 200 steps cost nothing."""
        bit = {name: 1 << at for at, name in enumerate(self.order)}
        reached = dict.fromkeys(self.order, 0)
        for name in order:
            for each in near[name]:
                reached[name] |= bit[each] | reached[each]
        return {
            name: frozenset(each for each in self.order if bits & bit[each]) for name, bits in reached.items()
        }
