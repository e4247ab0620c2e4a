"""The three-step saga written by hand on DBOS Transact: a web service that starts one for each request.

``python dbos_booking.py FOLDER ADDRESS ADDRESS ADDRESS``; prints ``{"port": …}`` when it is ready.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from dbos import DBOS, DBOSConfig

FOLDER, ADDRESSES = Path(sys.argv[1]), sys.argv[2:]
session: aiohttp.ClientSession


class RefusedError(Exception):
    """A participant said no."""


@DBOS.step()
async def act(number: int, key: str, given: Any) -> Any:
    """Call a participant."""
    return await _call("POST", f"{ADDRESSES[number]}/do", {"id": key, "of": given})


@DBOS.step()
async def undo(number: int, key: str) -> Any:
    """Make amends."""
    return await _call("POST", f"{ADDRESSES[number]}/undo/{key}", None)


async def _call(method: str, url: str, body: Any) -> Any:
    async with session.request(method, url, json=body) as answer:
        if answer.status >= 500:
            answer.raise_for_status()
        if answer.status >= 400:
            raise RefusedError(answer.status)
        return await answer.json()


@DBOS.workflow()
async def book(given: Any) -> str:
    """Make the steps; when one is refused, undo those before it in reverse."""
    begun: list[int] = []
    for number in range(len(ADDRESSES)):
        key = f"{DBOS.workflow_id}:step_{number}"
        try:
            begun.append(number)
            await act(number, key, given)
        except RefusedError:
            for each in reversed(begun[:-1]):
                await undo(each, f"{DBOS.workflow_id}:step_{each}")
            return "compensated"
    return "completed"


async def start(request: web.Request) -> web.Response:
    """Start a saga and answer when it has ended."""
    handle = await DBOS.start_workflow_async(book, (await request.json())["input"])
    return web.json_response({"status": await handle.get_result()})


async def main() -> None:
    """Serve until standard input ends."""
    global session
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        config: DBOSConfig = {
            "name": "booking",
            "system_database_url": f"sqlite:///{FOLDER}/dbos.sqlite",
            "log_level": "WARNING",
        }
        DBOS(config=config)
        DBOS.launch()
        app = web.Application()
        app.router.add_post("/{rest:.*}", start)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await runner.cleanup()
        DBOS.destroy()


asyncio.run(main())
