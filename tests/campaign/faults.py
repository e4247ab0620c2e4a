"""Which fault a request meets: a hash of seed, key and arrival, so that a run can be studied again.

Whether a participant says no for good hangs on the key alone, as it would in business: asking again changes nothing.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How often each fault fires, 0 to 1."""

    #: A definite no to an action; the same no for ever.
    refuse: float = 0.10
    #: The same to a step after the pivot, which parks its saga.
    refuse_after_pivot: float = 0.02
    #: A no to the undoing of a stubborn trip's car, for ever: parks its saga.
    stubborn: float = 0.30
    #: A 503 without acting.
    fail: float = 0.04
    #: Acts, and the answer is lost.
    lose: float = 0.05
    #: Acts late: up to :data:`SLOWEST` seconds, a third of them after acting.
    slow: float = 0.03
    #: Turned away (403) before anybody looked at the key.
    turn_away: float = 0.03
    #: 429 without acting.
    throttle: float = 0.01
    #: 202 at once; acts up to :data:`SLOWEST` seconds later, and then tells the callback until it is heard.
    accept: float = 0.06

    def document(self) -> dict[str, float]:
        """Return them as JSON."""
        return asdict(self)


#: What participants of a campaign do.
NORMAL = Shares()

#: Seconds a slow request takes at most.
SLOWEST = 0.4


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What happens to one arrival of one request."""

    #: Seconds before acting, and after it.
    before: float = 0.0
    after: float = 0.0
    #: Status answered without acting, None when it gets through.
    instead: int | None = None
    lost: bool = False
    #: Seconds after which it acts, if it accepts first; None: it does not.
    accepted: float | None = None
    names: tuple[str, ...] = ()


class Faults:
    """Draws fates; healed, every request gets through at once."""

    def __init__(self, seed: int, shares: Shares) -> None:
        self._seed, self._shares = seed, shares
        self.healed = False

    def fate(self, key: str, arrival: int) -> Fate:
        """Return what happens to the arrival (from 1) of a key."""
        if self.healed:
            return Fate()
        dice = self._dice(f"{key}|{arrival}", 9)
        for name, status in (("fail", 503), ("turn_away", 403), ("throttle", 429)):
            if next(dice) < getattr(self._shares, name):
                return Fate(instead=status, names=(name,))
        lost = next(dice) < self._shares.lose
        slow = next(dice) < self._shares.slow
        seconds = next(dice) * SLOWEST if slow else 0.0
        late = next(dice) < 0.35
        accepted = next(dice) * SLOWEST if next(dice) < self._shares.accept else None
        names = tuple(name for name, fired in (("lose", lost), ("slow", slow)) if fired)
        return Fate(
            before=0.0 if late else seconds,
            after=seconds if late else 0.0,
            lost=lost,
            accepted=accepted,
            names=names,
        )

    def refuses(self, key: str, *, after_pivot: bool) -> bool:
        """Return whether the participant will not do this action, whenever it is asked."""
        share = self._shares.refuse_after_pivot if after_pivot else self._shares.refuse
        return next(self._dice(f"refuse|{key}", 1)) < share

    def is_stubborn(self, definition: str, step: str, action_key: str) -> bool:
        """Return whether the participant will not undo this action, whenever it is asked."""
        if (definition, step) != ("stubborn_trip", "rent_car"):
            return False
        return next(self._dice(f"stubborn|{action_key}", 1)) < self._shares.stubborn

    def _dice(self, what: str, count: int) -> Iterator[float]:
        digest = hashlib.blake2b(f"{self._seed}|{what}".encode(), digest_size=4 * count).digest()
        return (number / 2**32 for number in struct.unpack(f">{count}I", digest))
