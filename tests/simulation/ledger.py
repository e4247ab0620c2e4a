"""What participants remember and what they have done, in memory: the books a world is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from compensations.delivery import Answer, Delivery, Phase
from compensations.ledger import Remembered, Stored


@dataclass(frozen=True, slots=True)
class Effect:
    """One change at a participant."""

    at: float
    saga: str
    step: str
    phase: Phase
    key: str
    attempt: int
    fence: int


@dataclass(slots=True)
class MemoryLedger:
    """A :class:`~compensations.ledger.Ledger` of all participants of a world, and their business."""

    answers: dict[tuple[str, Phase], Stored] = field(default_factory=dict)
    #: Highest fence seen, by the action's key: each step has a participant of its own.
    fences: dict[str, int] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    _mark: int = 0
    _at: str = ""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold nothing: nobody else is there."""
        yield

    def recall(self, action_key: str, saga_id: str | None) -> Remembered:
        self._at = action_key
        return Remembered(
            action=self.answers.get((action_key, "action")),
            compensation=self.answers.get((action_key, "compensation")),
            fence=self.fences.get(action_key),
        )

    def remember(self, delivery: Delivery, answer: Answer) -> None:
        self.answers[delivery.action_key, delivery.phase] = Stored(digest=delivery.digest, answer=answer)

    def forget(self, delivery: Delivery) -> None:
        self.answers.pop((delivery.action_key, delivery.phase), None)

    def raise_fence(self, saga_id: str, fence: int) -> None:
        self.fences[self._at] = fence

    def mark(self) -> None:
        self._mark = len(self.effects)

    def rewind(self) -> None:
        del self.effects[self._mark :]

    def release(self) -> None:
        """Drop the mark."""

    def stands(self, saga: str, step: str) -> bool:
        """Return whether the effect of the step's action is there, and not undone."""
        found = [effect.phase for effect in self.effects if (effect.saga, effect.step) == (saga, step)]
        return found.count("action") > found.count("compensation")
