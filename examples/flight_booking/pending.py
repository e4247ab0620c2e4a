"""Work that was accepted with a 202: done when it is due, and told to whoever waits for it.

The request is noted in the transaction that remembers the 202, so a participant that dies goes on where it was.
The coordinator is told after the commit, again and again until it has answered.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable

import aiohttp

from compensations.barrier import ASK_AGAIN, Verdict

from .ledger import Ledger

#: Seconds one telling may take, and the pause before the next.
TELL_TIMEOUT = 5.0
PAUSE = 1.0
#: Answers to a callback after which it is not sent again: taken, settled otherwise, gone, unknown.
_HEARD = frozenset({404, 409, 410})


class Pending:
    """Goes through what was accepted, first due first."""

    def __init__(self, ledger: Ledger, settle: Callable[[sqlite3.Row], Verdict]) -> None:
        self._ledger = ledger
        self._settle = settle
        self._noted = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def noted(self) -> None:
        """Say that there is something new to look at."""
        self._noted.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TELL_TIMEOUT)) as session:
            while True:
                row = self._ledger.next_accepted()
                wait = None if row is None else row["due"] - time.time()
                if row is None or (wait is not None and wait > 0):
                    await self._sleep(wait)
                else:
                    self._start(session, row)

    async def _sleep(self, seconds: float | None) -> None:
        try:
            await asyncio.wait_for(self._noted.wait(), seconds)
        except TimeoutError:
            return
        self._noted.clear()

    def _start(self, session: aiohttp.ClientSession, row: sqlite3.Row) -> None:
        # Out of the way while it is being told; if this process dies meanwhile, the next one picks it up then.
        self._ledger.put_off(row["key"], time.time() + TELL_TIMEOUT + PAUSE, row["outcome"])
        task = asyncio.create_task(self._advance(session, row))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _advance(self, session: aiohttp.ClientSession, row: sqlite3.Row) -> None:
        outcome = row["outcome"] or _outcome(self._settle(row))
        if outcome is None:
            self._put_off(row, None)
        elif row["callback"] is None or await _tell(session, row["callback"], outcome):
            self._ledger.drop_accepted(row["key"])
        else:
            self._put_off(row, outcome)

    def _put_off(self, row: sqlite3.Row, outcome: str | None) -> None:
        self._ledger.put_off(row["key"], time.time() + PAUSE, outcome)
        self.noted()


def _outcome(verdict: Verdict) -> str | None:
    """Return what to tell, or None when it has to be tried again."""
    answer = verdict.answer
    if answer.status >= 500 or answer.status in ASK_AGAIN:
        return None
    if answer.succeeded:
        return json.dumps({"outcome": "succeeded", "output": json.loads(answer.body or b"null")})
    return json.dumps({"outcome": "refused", "error": answer.body.decode() or f"status {answer.status}"})


async def _tell(session: aiohttp.ClientSession, callback: str, outcome: str) -> bool:
    """Send the outcome; whether it was heard."""
    try:
        headers = {"content-type": "application/json"}
        async with session.post(callback, data=outcome, headers=headers, allow_redirects=False) as answer:
            return 200 <= answer.status < 300 or answer.status in _HEARD
    except (aiohttp.ClientError, TimeoutError):
        return False
