"""One participant as a web service: its routes under the guard, its knobs, and its books for everybody to read.

Everything between a request and its answer happens in :meth:`Participant.execute`: note the arrival, meet the faults
that were ordered, ask the guard. The database is used straight from the event loop: a transaction takes a fraction
of a millisecond, and one connection that serves one request at a time needs no locks. A service with slower
transactions runs ``guard.run`` in a thread, with a connection per thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from aiohttp import web

from compensations.barrier import LATE, Guard, Turn, Verdict, Work
from compensations.barriers.sqlite import SqliteLedger
from compensations.delivery import Answer, BadDelivery, receive

from .knobs import BadKnobs, Knobs, Rule
from .ledger import SECTIONS, Ledger
from .pending import Pending
from .services import SERVICES, Call, Operation

#: Seconds a ``hang`` lasts when it does not say.
FOREVER = 3600.0
_ECHOED = ("idempotency-key", "saga-")


class NoAnswer(Exception):
    """The connection is to be closed without an answer."""


class Participant:
    """One of the five services."""

    def __init__(self, name: str, connection: sqlite3.Connection, knobs: Knobs) -> None:
        self.name = name
        self.knobs = knobs
        self.ledger = Ledger(connection)
        self._answers = SqliteLedger(connection)
        self._guard = Guard(self._answers)
        self._operations = {operation.name: operation for operation in SERVICES[name]}
        self._pending = Pending(self.ledger, self._settle)

    def app(self) -> web.Application:
        """Return the web application."""
        app = web.Application()
        for operation in self._operations.values():
            app.router.add_route(operation.method, operation.path, self._handler(operation))
        app.router.add_get("/operations/{action_key}/{phase}", self._poll)
        app.router.add_get("/ledger", self._show_ledger)
        app.router.add_get("/knobs", self._show_knobs)
        app.router.add_put("/knobs", self._turn_knobs)
        app.router.add_get("/healthz", self._health)
        app.cleanup_ctx.append(self._background)
        return app

    async def _background(self, app: web.Application) -> Any:
        task = asyncio.create_task(self._pending.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    # the guarded routes

    def _handler(self, operation: Operation) -> Any:
        async def handle(request: web.Request) -> web.Response:
            try:
                return await self.execute(operation, request)
            except NoAnswer:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()

        return handle

    async def execute(self, operation: Operation, request: web.Request) -> web.Response:
        """Answer a request to a guarded route; the one place where effects come from."""
        body = await request.read()
        try:
            delivery = receive(
                operation.phase, request.method, request.raw_path, _plain(request.headers), body
            )
        except BadDelivery as error:
            return _response(error.answer)
        seq, arrival = self.ledger.arrived(operation.name, delivery)
        names = (operation.name, operation.phase, delivery.step or "*")
        rules = self.knobs.draw(names, delivery.key, arrival)
        if rules:
            self.ledger.faulted(seq, [rule.fault for rule in rules])
        early = await _before(rules)
        if early is not None:
            return _response(early)
        with self._noting_errors(seq):
            verdict = self._guard.run(delivery, self._ordered(operation, request, body, rules))
        self.ledger.answered(seq, verdict.judgement, verdict.answer.status)
        self._pending.noted()
        return _response(await _after(rules) or verdict.answer, verdict)

    @contextmanager
    def _noting_errors(self, seq: int) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.ledger.answered(seq, "error", 500)
            raise

    def _ordered(
        self, operation: Operation, request: web.Request, body: bytes, rules: Sequence[Rule]
    ) -> Work:
        """Return what the guard shall run: the business, or what a knob wants in its place."""
        for rule in rules:
            if rule.fault == "refuse":
                no = Answer.json(rule.status or 422, {"error": "refused by a knob"})
                return lambda turn: no
            if rule.fault == "accept":
                return lambda turn, rule=rule: self._accept(operation, request, body, rule, turn)  # type: ignore[misc]
        return self._work(operation, body, request.query, request.match_info.get("id", ""))

    def _work(self, operation: Operation, body: bytes, query: Mapping[str, str], item: str) -> Work:
        def work(turn: Turn) -> Answer:
            try:
                document = json.loads(body or b"{}")
            except ValueError:
                return Answer.json(400, {"error": "the body is not JSON"})
            call = Call(
                operation=operation.name,
                body=document if isinstance(document, dict) else {},
                query=query,
                item=item,
                ledger=self.ledger,
                turn=turn,
            )
            return operation.business(call)

        return work

    # work that is done later

    def _accept(
        self, operation: Operation, request: web.Request, body: bytes, rule: Rule, turn: Turn
    ) -> Answer:
        delivery = turn.delivery
        noted = {
            "method": request.method,
            "target": request.raw_path,
            "headers": {k: v for k, v in _plain(request.headers).items() if k.startswith(_ECHOED)},
            "query": dict(request.query),
            "item": request.match_info.get("id", ""),
        }
        poll = rule.by == "poll"
        callback = None if poll else request.headers.get("Saga-Callback")
        due = time.time() + (1.0 if rule.seconds is None else rule.seconds)
        self.ledger.accept(operation.name, delivery, noted, body, due, callback)
        where = f"/operations/{quote(delivery.action_key, safe='')}/{delivery.phase}"
        return Answer.json(202, {"status": "accepted"}, {"location": where} if poll else None)

    def _settle(self, row: sqlite3.Row) -> Verdict:
        operation, noted = self._operations[row["operation"]], json.loads(row["request"])
        delivery = receive(operation.phase, noted["method"], noted["target"], noted["headers"], row["body"])
        return self._guard.settle(delivery, self._work(operation, row["body"], noted["query"], noted["item"]))

    async def _poll(self, request: web.Request) -> web.Response:
        known = self._answers.recall(request.match_info["action_key"], None)
        if request.match_info["phase"] == "action" and known.compensation is not None:
            return _response(LATE)
        stored = known.compensation if request.match_info["phase"] == "compensation" else known.action
        return _response(stored.answer if stored else Answer.json(404, {"error": "no such operation"}))

    # for people, tests and the demo

    async def _show_ledger(self, request: web.Request) -> web.Response:
        only = [name for name in request.query.get("only", ",".join(SECTIONS)).split(",") if name in SECTIONS]
        return web.json_response(self.ledger.report(self.name, request.query.get("saga"), only))

    async def _show_knobs(self, request: web.Request) -> web.Response:
        return web.json_response(self.knobs.document())

    async def _turn_knobs(self, request: web.Request) -> web.Response:
        try:
            self.knobs = Knobs.parse(await request.json())
        except ValueError as error:
            kind = "bad knobs" if isinstance(error, BadKnobs) else "not JSON"
            return web.json_response({"error": f"{kind}: {error}"}, status=422)
        return await self._show_knobs(request)

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "service": self.name})


async def _before(rules: Sequence[Rule]) -> Answer | None:
    """Meet the faults that come before acting; an answer here means that nothing was done."""
    for rule in rules:
        if rule.fault == "too_early":
            return Answer.json(425, {"error": "too early, by a knob"}, {"retry-after": "1"})
        if rule.at == "before" and (answer := await _fault(rule)) is not None:
            return answer
    return None


async def _after(rules: Sequence[Rule]) -> Answer | None:
    """Meet the faults that come when everything is committed; an answer here takes the true one's place."""
    for rule in rules:
        if rule.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if rule.fault == "lose_answer":
            raise NoAnswer
        if rule.at == "after" and (answer := await _fault(rule)) is not None:
            return answer
    return None


async def _fault(rule: Rule) -> Answer | None:
    match rule.fault:
        case "slow":
            await asyncio.sleep(1.0 if rule.seconds is None else rule.seconds)
        case "hang":
            await asyncio.sleep(FOREVER if rule.seconds is None else rule.seconds)
            raise NoAnswer
        case "fail":
            return Answer.json(rule.status or 503, {"error": "failed by a knob"})
    return None


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _response(answer: Answer, verdict: Verdict | None = None) -> web.Response:
    headers = dict(answer.headers)
    if verdict is not None and verdict.judgement == "replay":
        # Beside the answer, not in it: the answer itself is the same, byte for byte.
        headers["idempotent-replayed"] = "true"
    return web.Response(status=answer.status, body=answer.body, headers=headers)
