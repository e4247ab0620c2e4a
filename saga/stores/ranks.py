"""Whose writes go first, and how many may wait: the same in every store that queues them."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal, TypeAlias

#: Writes and payload bytes that go into one transaction, or one command to a server, at most.
BATCH_WRITES: Final = 512
BATCH_BYTES: Final = 8_000_000
#: Queued writes above which the queue is full.
QUEUE_WRITES: Final = 10_000

#: Which counter a write adds to.
Counted: TypeAlias = Literal["appends", "starts"]


class Rank(IntEnum):
    """Whose writes go first."""

    #: Appends, and what a node needs to keep its sagas.
    RESULT = 0
    INBOX = 1
    START = 2
