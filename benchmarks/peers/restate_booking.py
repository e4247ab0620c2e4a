"""The three-step saga written by hand on Restate: the service its server calls.

``python restate_booking.py PORT ADDRESS ADDRESS ADDRESS``; ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config
from restate.exceptions import TerminalError

PORT, ADDRESSES = int(sys.argv[1]), sys.argv[2:]
booking = restate.Service("bench")
session: aiohttp.ClientSession


async def _call(method: str, url: str, body: Any) -> Any:
    async with session.request(method, url, json=body) as answer:
        if answer.status >= 500:
            answer.raise_for_status()
        if answer.status >= 400:
            raise TerminalError(f"refused: {answer.status}")
        return await answer.json()


@booking.handler()
async def book(ctx: restate.Context, given: dict[str, Any]) -> str:
    """Make the steps; when one is refused, undo those before it in reverse."""
    begun: list[tuple[str, str]] = []
    for number, address in enumerate(ADDRESSES):
        key = f"{ctx.request().id}:step_{number}"
        try:
            await ctx.run_typed(
                f"act {number}",
                _call,
                method="POST",
                url=f"{address}/do",
                body={"id": key, "of": given["input"]},
            )
        except TerminalError:
            for undone, undo_key in reversed(begun):
                await ctx.run_typed("undo", _call, method="POST", url=f"{undone}/undo/{undo_key}", body=None)
            return "compensated"
        begun.append((address, key))
    return "completed"


async def main() -> None:
    """Serve until standard input ends."""
    global session
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        config = Config()
        config.bind = [f"127.0.0.1:{PORT}"]
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: over.set())
        await serve(restate.app([booking]), config, shutdown_trigger=over.wait)


asyncio.run(main())
