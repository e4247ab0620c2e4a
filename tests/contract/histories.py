"""Eight clients that use a store at the same time, are killed in the middle and lose answers; what each was told.

Each is a node of its own. It claims, takes, appends, releases and evaluates what it holds, delivers to what others
hold, and looks; it keeps leases that it should not use any more, and uses them.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from itertools import count
from math import inf
from typing import Any

from saga.errors import SagaError, StoreUnavailable, StoreUnknown
from saga.ports.store import Store
from saga.ports.stored import Claimed, Lease
from tests.contract.linearizable import Call
from tests.contract.values import KNOWN, batch, message, new_saga, one_turn, summary
from tests.doubles_store import FaultyStore, seeded

CLIENTS, CALLS = 8, 20
SAGAS = ("s1", "s2", "s3", "s4")
#: Share of calls in which the client is killed, and of those that fail in the store.
KILLED, FAILED = 0.05, 0.08
VERBS = [
    "start",
    "claim",
    "claim",
    "take",
    "append",
    "append",
    "append",
    "append",
    "append",
    "stale",
    "deliver",
    "deliver",
    "load",
    "load",
    "messages",
    "evaluate",
    "release_dead",
    "bury",
    "leave",
]


class History:
    """What all clients of one run were told."""

    def __init__(self, store: Store, seed: int) -> None:
        self.calls: list[Call] = []
        self.killed = self.lost = 0
        self._store = FaultyStore(store, seeded(seed, FAILED), delay=0.0)
        self._store._sleep = self._later
        self._dice = random.Random(seed)
        self._clock = count(1)

    async def record(self) -> None:
        """Let all clients do their calls."""
        await asyncio.gather(*(Client(self, number, self._dice.random()).run() for number in range(CLIENTS)))

    async def ask(self, client: int, verb: str, *args: Any, turns: int | None = None) -> Any:
        """Make a call, and note what came of it; None when that is nothing. Killed after so many turns of the loop."""
        made = next(self._clock)
        task = asyncio.ensure_future(getattr(self._store, verb)(*args))
        if turns is not None:
            await self._kill(task, turns)
        try:
            answer = await task
        except StoreUnavailable:
            return None  # it was not done
        except (StoreUnknown, asyncio.CancelledError) as lost:
            self.lost += isinstance(lost, StoreUnknown)
            self.killed += isinstance(lost, asyncio.CancelledError)
            self.calls.append(Call(client, verb, args, made, inf))
            if verb in ("claim", "take") and isinstance(lost, asyncio.CancelledError):
                self.calls.append(Call(client, "put_back", (args[verb == "take"],), made, inf))
            return None
        except SagaError as refusal:
            answer = type(refusal)
        answered = next(self._clock)
        self.calls.append(Call(client, verb, args, made, answered, answer))
        if verb in ("claim", "take", "release_dead") and self._store.shared:
            # They go from saga to saga: what a dead node takes meanwhile may be released once more, and taken again.
            self.calls.append(Call(client, verb, args, made, answered, perhaps=True))
        return answer

    async def _kill(self, task: asyncio.Future[Any], turns: int) -> None:
        for _ in range(turns):
            await one_turn()
        task.cancel()

    async def _later(self, _: float) -> None:
        for _ in range(self._dice.randrange(1, 6)):
            await one_turn()


class Client:
    """One node, and what it believes to hold."""

    def __init__(self, history: History, number: int, seed: float) -> None:
        self._history, self._number, self._dice = history, number, random.Random(seed)
        self._names, self._entries = 0, 0
        self._held: dict[str, Lease] = {}
        self._old: list[Lease] = []
        self._waiting: dict[str, list[str]] = {}

    @property
    def _node(self) -> str:
        return f"n{self._number}.{self._names}"

    async def run(self) -> None:
        """Join and do all calls."""
        await self._ask("join", self._node, sure=True)
        for _ in range(CALLS):
            await getattr(self, f"_{self._dice.choice(VERBS)}")()
            await one_turn()

    async def _ask(self, verb: str, *args: Any, sure: bool = False) -> Any:
        turns = self._dice.randrange(4) if not sure and self._dice.random() < KILLED else None
        return await self._history.ask(self._number, verb, *args, turns=turns)

    def _saga(self) -> str:
        return self._dice.choice(SAGAS)

    def _entry(self) -> bytes:
        self._entries += 1
        return f"{self._number}.{self._entries}".encode()

    # what it does

    async def _start(self) -> None:
        saga, entry = self._saga(), self._entry()
        owner = self._node if self._dice.random() < 0.5 else None
        new = new_saga(saga, owner=owner, entries=[entry], of=summary(body=entry), fingerprint=entry.decode())
        if await self._ask("start", new) is None and owner is not None:
            # Perhaps: the answer may have been lost as well, or it was killed.
            self._held[saga] = Lease(saga_id=saga, node=owner, fence=1, seq=1)

    async def _claim(self) -> None:
        now = self._dice.choice([10.0, 1000.0, 1000.0])
        for claimed in await self._ask("claim", self._node, self._dice.randrange(1, 4), now, KNOWN) or []:
            self._hold(claimed)

    async def _take(self) -> None:
        claimed = await self._ask("take", self._saga(), self._node, KNOWN)
        if isinstance(claimed, Claimed):
            self._hold(claimed)

    def _hold(self, claimed: Claimed) -> None:
        saga = claimed.lease.saga_id
        self._held[saga] = claimed.lease
        self._waiting[saga] = [each.id for each in claimed.record.messages]

    async def _append(self) -> None:
        if not self._held:
            return await self._claim()
        saga = self._dice.choice(sorted(self._held))
        lease, entries = self._held[saga], [self._entry() for _ in range(self._dice.randrange(1, 3))]
        added = batch(
            *entries,
            of=summary(body=entries[-1]),
            wake_at=self._dice.choice([None, 100.0]),
            folded=self._waiting.get(saga, []) if self._dice.random() < 0.8 else [],
            release=self._dice.random() < 0.3,
            settles=self._dice.choice([[], ["pay:action"]]),
            raise_fence=self._dice.random() < 0.1,
        )
        after = await self._ask("append", lease, added)
        self._old.append(lease)
        if isinstance(after, Lease) and not added.release:
            self._held[saga] = after
        else:
            del self._held[saga]
        return None

    async def _stale(self) -> None:
        """Use a lease that others, or it itself, have gone on from."""
        if self._old:
            lease, entry = self._dice.choice(self._old), self._entry()
            await self._ask("append", lease, batch(entry, of=summary(body=entry)))

    async def _deliver(self) -> None:
        about = self._dice.choice([None, "pay:action"])
        sent = message(f"m{self._dice.randrange(6)}", about=about, by=f"{self._number}")
        await self._ask("deliver", self._saga(), replace(sent, body=self._entry()))

    async def _load(self) -> None:
        saga = self._saga()
        record = await self._ask("load", saga)
        # What a lost answer has left here is found, as the worker finds it.
        if record is not None and record.owner == self._node:
            self._held[saga] = Lease(
                saga_id=saga, node=self._node, fence=record.fence, seq=len(record.entries)
            )
            self._waiting[saga] = [each.id for each in record.messages]

    async def _messages(self) -> None:
        await self._ask("messages", self._saga())

    async def _evaluate(self) -> None:
        held = sorted(self._held)
        await self._ask("evaluate", self._node, self._dice.sample(held, min(len(held), 1)))

    async def _release_dead(self) -> None:
        await self._ask("release_dead")

    async def _bury(self) -> None:
        other = self._dice.randrange(CLIENTS)
        await self._ask("bury", f"n{other}.0", 0)

    async def _leave(self) -> None:
        if self._dice.random() < 0.3:
            await self._ask("leave", self._node)
            self._names += 1
            self._held.clear()
            await self._ask("join", self._node, sure=True)
