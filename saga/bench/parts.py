"""The benchmark's processes: ``python -m saga.bench.parts participant|collector|yardstick|load …``.

Each prints one line of JSON when it is ready (its port) or done (its figures), and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from saga.bench.wire import Caller, Served, answer
from saga.loops import loop_factory


def _say(**said: Any) -> None:
    print(json.dumps(said), flush=True)


async def _serve(handle: Callable[[bytes, bytes], bytes]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Served, handle), "127.0.0.1", 0)
    _say(port=server.sockets[0].getsockname()[1])
    await _until_told()


async def _until_told() -> None:
    """Return when standard input ends: the process that started this one is done, or dead."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    await ended.wait()


async def participant() -> None:
    """Say yes to everything, with an id."""
    numbers = itertools.count(1)
    await _serve(lambda _head, _body: answer(b'{"id":"r-%d"}' % next(numbers)))


async def collector() -> None:
    """Take OTLP/HTTP as it comes; count the spans at the end, when nothing is measured any more."""
    bodies: list[tuple[bytes, bytes]] = []

    def keep(head: bytes, body: bytes) -> bytes:
        bodies.append((head, body))
        return answer(b"{}")

    await _serve(keep)
    _say(spans=sum(_spans(head, body) for head, body in bodies))


def _spans(head: bytes, body: bytes) -> int:
    import gzip  # noqa: PLC0415 - after the measurement

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceRequest,
    )

    request = ExportTraceServiceRequest()
    request.ParseFromString(gzip.decompress(body) if b"content-encoding: gzip" in head.lower() else body)
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


async def yardstick(*addresses: str) -> None:
    """Take the same start request and make the same calls, bare: nothing durable, nothing traced, no retries."""
    import aiohttp  # noqa: PLC0415 - only this part needs it
    from aiohttp import web  # noqa: PLC0415
    from pydantic_core import from_json, to_json  # noqa: PLC0415

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def start(request: web.Request) -> web.Response:
            asked = from_json(await request.read())
            outputs = []
            for address in addresses:
                body = to_json({"id": "x", "of": asked["input"]})
                async with session.post(
                    address, data=body, headers={"Content-Type": "application/json"}
                ) as done:
                    outputs.append(from_json(await done.read()))
            return web.Response(body=to_json({"outputs": outputs}), content_type="application/json")

        app = web.Application()
        app.router.add_post("/v1/sagas", start)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _say(port=runner.addresses[0][1])
        await _until_told()
        await runner.cleanup()


async def load(port: str, at_once: str, seconds: str, most: str, path: str) -> None:
    """Post starts to a path that answers at their end, so many at once, for so long or so many; say how it went."""
    until = time.monotonic() + float(seconds)
    left = itertools.count(int(most), -1) if int(most) else itertools.repeat(1)
    taken: list[float] = []
    wrong: dict[int, int] = {}
    began = time.monotonic()

    async def client(number: int) -> None:
        caller = Caller("127.0.0.1", int(port))
        while time.monotonic() < until and next(left) > 0:
            body = b'{"definition":"bench","input":{"client":%d,"n":%d}}' % (number, len(taken))
            start = time.monotonic()
            reply = await caller.call("POST", path, body)
            taken.append(time.monotonic() - start)
            if reply.status != 200:
                wrong[reply.status] = wrong.get(reply.status, 0) + 1
        caller.close()

    await asyncio.gather(*(client(number) for number in range(int(at_once))))
    taken.sort()
    _say(
        count=len(taken),
        seconds=time.monotonic() - began,
        p50=taken[len(taken) // 2],
        p99=taken[min(len(taken) - 1, len(taken) * 99 // 100)],
        wrong=wrong,
    )


PARTS = {part.__name__: part for part in (participant, collector, yardstick, load)}

if __name__ == "__main__":
    # All of them on the loop that the coordinator has: what is compared differs in nothing else.
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(PARTS[sys.argv[1]](*sys.argv[2:]))
