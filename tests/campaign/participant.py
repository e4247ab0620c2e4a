"""One participant: a small HTTP server with the guard, an order to misbehave, and a ledger in memory.

It is a process of its own and is never killed, so its ledger may live in memory until it is asked to write it down.
Every arrival and every effect carries a reading of the machine's monotonic clock, taken before the participant
answers; so what one participant did because another had answered is always later in the ledgers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from compensations.barrier import Guard, Turn
from compensations.barriers.sqlite import SqliteLedger
from compensations.delivery import Answer, BadDelivery, Delivery, Phase, receive
from tests.campaign.clock import sleep, ticks
from tests.campaign.faults import Fate, Faults, Shares

#: Services that may accept a request now and call back when it is done.
CALL_BACK = ("hotels", "tickets")


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    #: When it had arrived, ticks.
    at: int

    @property
    def phase(self) -> Phase:
        """Which phase the route executes."""
        return "compensation" if self.method == "DELETE" or self.target.endswith("/refund") else "action"


class Participant:
    """The business, the guard and the books of one service."""

    def __init__(self, service: str, faults: Faults, data: Path) -> None:
        self._service, self._faults, self._data = service, faults, data
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.execute("CREATE TABLE item (id TEXT PRIMARY KEY, standing INTEGER NOT NULL) WITHOUT ROWID")
        self._db.execute("CREATE TABLE effect (row TEXT NOT NULL)")
        self._guard = Guard(SqliteLedger(self._db))
        self._deliveries: list[dict[str, Any]] = []
        self._arrivals: Counter[str] = Counter()
        self._calling: set[asyncio.Task[None]] = set()

    def arrived(self, request: Request, send: Callable[[Answer | None, float], None]) -> None:
        """Note a guarded request and let it meet its fate; ``send`` takes the answer (None: lost) and a delay."""
        try:
            delivery = receive(request.phase, request.method, request.target, request.headers, request.body)
        except BadDelivery as error:
            send(error.answer, 0.0)
            return
        self._arrivals[delivery.key] += 1
        fate = self._faults.fate(delivery.key, self._arrivals[delivery.key])
        row = self._note(request, delivery, fate)
        if fate.instead is not None:
            row |= {"verdict": "not asked", "status": fate.instead}
            send(Answer.json(fate.instead, {"error": fate.names[0]}), 0.0)
            return
        answer = self._answering(request, delivery, fate, row, send)
        if fate.before:
            asyncio.get_running_loop().call_later(fate.before, answer)
        else:
            answer()

    def _answering(
        self, request: Request, delivery: Delivery, fate: Fate, row: dict[str, Any], send: Callable[..., None]
    ) -> Callable[[], None]:
        def answer() -> None:
            verdict = self._guard.run(delivery, lambda turn: self._asked(request, turn, row, fate))
            row.update(verdict=verdict.judgement, status=verdict.answer.status, decided=ticks())
            send(None if fate.lost else verdict.answer, fate.after)

        return answer

    def _note(self, request: Request, delivery: Delivery, fate: Fate) -> dict[str, Any]:
        row = {
            "service": self._service,
            "at": request.at,
            "saga": delivery.saga_id,
            "definition": request.headers.get("saga-definition"),
            "step": delivery.step,
            "phase": delivery.phase,
            "key": delivery.key,
            "action_key": delivery.action_key,
            "digest": delivery.digest,
            "fence": delivery.fence,
            "attempt": delivery.attempt,
            "faults": list(fate.names),
            "verdict": "slow",
            "status": None,
            "decided": None,
            #: What was called back after a 202, the last answer to that, and how often nobody was there.
            "said": None,
            "heard": None,
            "unheard": 0,
        }
        self._deliveries.append(row)
        return row

    # work that is accepted now and done later

    def _asked(self, request: Request, turn: Turn, row: dict[str, Any], fate: Fate) -> Answer:
        if fate.accepted is None or request.phase == "compensation" or self._service not in CALL_BACK:
            return self._business(request, turn, row)
        row["faults"] = [*row["faults"], "accept"]
        loop = asyncio.get_running_loop()
        loop.call_later(fate.accepted, self._settle, request, turn.delivery, row)
        return Answer.json(202, {"status": "ACCEPTED"})

    def _settle(self, request: Request, delivery: Delivery, row: dict[str, Any]) -> None:
        """Do what was accepted, unless it was undone meanwhile, and tell the coordinator."""
        answer = self._guard.settle(delivery, lambda turn: self._business(request, turn, row)).answer
        if answer.succeeded:
            said = {"outcome": "succeeded", "output": json.loads(answer.body)}
        else:
            said = {"outcome": "refused", "error": f"answered {answer.status}"}
        row["said"] = said["output"]["status"] if answer.succeeded else "refused"
        task = asyncio.ensure_future(self._call_back(request.headers["saga-callback"], said, row))
        self._calling.add(task)
        task.add_done_callback(self._calling.discard)

    async def _call_back(self, url: str, said: dict[str, Any], row: dict[str, Any]) -> None:
        """Tell it until it is heard: whoever is told may be down, or die over it."""
        for _ in range(2_000):
            with suppress(OSError, asyncio.IncompleteReadError, ValueError):
                row["heard"] = await _posted(url, json.dumps(said).encode())
                if row["heard"] not in (429, 503):
                    return
            row["unheard"] += 1
            await sleep(0.03)

    # the business: inside the guard's transaction

    def _business(self, request: Request, turn: Turn, row: dict[str, Any]) -> Answer:
        item = turn.delivery.action_key.removesuffix(":action")
        if turn.delivery.phase == "compensation":
            return self._undo(item, request, turn, row)
        if self._faults.refuses(turn.delivery.key, after_pivot=self._service == "tickets"):
            row["faults"] = [*row["faults"], "refuse"]
            return self._refusal(item)
        self._db.execute("INSERT OR REPLACE INTO item VALUES (?, 1)", (item,))
        self._effect(turn.delivery)
        return Answer.json(201, {"id": item, "status": "DONE"})

    def _refusal(self, item: str) -> Answer:
        """Return this service's way of saying no."""
        if self._service == "hotels":
            return Answer.json(200, {"id": item, "status": "DECLINED"})
        return Answer.json(402 if self._service == "payments" else 422, {"error": "no"})

    def _undo(self, item: str, request: Request, turn: Turn, row: dict[str, Any]) -> Answer:
        delivery = turn.delivery
        if turn.undoes is not None and turn.undoes.status == 202:
            return Answer.json(200, {"id": item, "status": "WITHDRAWN"})
        definition = request.headers.get("saga-definition", "")
        if self._faults.is_stubborn(definition, delivery.step or "", delivery.action_key):
            row["faults"] = [*row["faults"], "stubborn"]
            return Answer.json(409, {"error": "it stays as it is"})
        undone = self._db.execute("UPDATE item SET standing = 0 WHERE id = ? AND standing = 1", (item,))
        if not undone.rowcount:
            # Declined in the body of a 200, so there is nothing to undo.
            return Answer.json(404, {"error": "there is nothing"})
        self._effect(delivery)
        return Answer.json(200, {"id": item, "status": "UNDONE"})

    def _effect(self, delivery: Delivery) -> None:
        row = {
            "service": self._service,
            "at": ticks(),
            "saga": delivery.saga_id,
            "step": delivery.step,
            "phase": delivery.phase,
            "key": delivery.key,
            "attempt": delivery.attempt,
            "fence": delivery.fence,
        }
        self._db.execute("INSERT INTO effect VALUES (?)", (json.dumps(row),))

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    # for the harness

    def control(self, request: Request) -> Answer:
        """Answer the harness: heal, or write the books down."""
        if request.target == "/campaign/heal":
            self._faults.healed = True
        elif request.target == "/campaign/ledger":
            self._write_down()
        return Answer(204)

    def books(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return every delivery and every effect, in order."""
        effects = self._db.execute("SELECT row FROM effect ORDER BY rowid")
        return self._deliveries, [json.loads(row) for (row,) in effects]

    def _write_down(self) -> None:
        for name, rows in zip(("deliveries", "effects"), self.books(), strict=True):
            with (self._data / f"{name}-{self._service}.jsonl").open("w") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)


async def _posted(url: str, body: bytes) -> int:
    """Send one POST on a connection of its own, and return the status of the answer."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        return int((await reader.readuntil(b"\r\n")).split()[1])
    finally:
        writer.close()


class Wire(asyncio.Protocol):
    """HTTP/1.1 with Content-Length, one request at a time: all that the coordinator's client sends."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once the request is whole."""
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, target, _ = first.split(" ")
        request = Request(method=method, target=target, headers=headers, body=rest[:length], at=ticks())
        if target.startswith("/campaign/"):
            self._send(self._participant.control(request))
        else:
            self._participant.arrived(request, self._send_later)

    def _send_later(self, answer: Answer | None, delay: float) -> None:
        if delay:
            asyncio.get_running_loop().call_later(delay, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: Answer | None) -> None:
        assert self._transport is not None
        if answer is None:
            self._transport.abort()
            return
        headers = {"content-length": str(len(answer.body)), **answer.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(f"HTTP/1.1 {answer.status} Said\r\n{head}\r\n".encode() + answer.body)


async def serve(participant: Participant) -> None:
    """Serve until the parent closes standard input, or a signal comes; print the address when ready."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(lambda: Wire(participant), "127.0.0.1", 0, backlog=512)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    ended = asyncio.ensure_future(reader.read())
    await asyncio.wait({ended, asyncio.ensure_future(stopped.wait())}, return_when=asyncio.FIRST_COMPLETED)
    server.close()


def main() -> None:
    """Run one participant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--shares", type=json.loads, default={})
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    faults = Faults(options.seed, Shares(**options.shares))
    asyncio.run(serve(Participant(options.service, faults, options.data)))


if __name__ == "__main__":
    main()
