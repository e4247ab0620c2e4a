"""What the guard remembers of each action, and what a place to keep it has to do."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from compensations.delivery import Answer, BarrierError, Delivery, Phase


class LedgerBusy(BarrierError):
    """The ledger's lock was not to be had in time; nothing was done."""


class TransactionBroken(BarrierError):
    """The business function ended the guard's transaction; its change is not protected. Mend the function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A remembered answer, and the hash of the request it was given to."""

    digest: str
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """All that a ledger knows about one action key, and the highest fence seen of its saga."""

    action: Stored | None = None
    compensation: Stored | None = None
    fence: int | None = None

    def of(self, phase: Phase) -> Stored | None:
        """Return what is remembered of that phase."""
        return self.action if phase == "action" else self.compensation


class Ledger(Protocol):
    """What the guard remembers; kept in the database that holds the business data, on the same connection."""

    def transaction(self) -> AbstractContextManager[None]:
        """Hold the one writing transaction: committed on return, rolled back when anything is raised.

        Raises:
            LedgerBusy: the lock was not to be had in time, on entry or at the commit; nothing was changed.
        """

    def recall(self, action_key: str, saga_id: str | None) -> Remembered:
        """Return what is known about an action, and the fence of that saga."""

    def remember(self, delivery: Delivery, answer: Answer) -> None:
        """Keep the answer for (action key, phase), in place of one that is there."""

    def forget(self, delivery: Delivery) -> None:
        """Drop the answer for (action key, phase), if there is one."""

    def raise_fence(self, saga_id: str, fence: int) -> None:
        """Keep the highest fence seen of a saga."""

    def mark(self) -> None:
        """Mark where the business change begins."""

    def rewind(self) -> None:
        """Take back everything since :meth:`mark`."""

    def release(self) -> None:
        """Drop the mark.

        Raises:
            TransactionBroken: the mark is gone, because something ended the transaction.
        """
