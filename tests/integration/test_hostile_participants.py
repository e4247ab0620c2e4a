"""What a coordinator makes of participants that do what they must not: one row for each, from socket to saga.

A row says how the participant behaves, and what follows by the meaning of answers: how each attempt ends, what the
step and the saga come to, how often the participant was asked and how often it was told to undo. The wire itself is
the subject of ``test_invoker``, names and certificates included; late, forged and repeated callbacks of
``test_api_callbacks``; participants that meet an undo before its action, or both at once, of ``test_barrier``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from saga.invoker import HttpInvoker
from tests.hostile_process import HostileProcess
from tests.served import Said, Served

RETRY = {"attempts": 2, "initial": "1ms", "max": "2ms"}
#: Of what is not refused, a compensation is tried for so long.
BRIEFLY = RETRY | {"within": "60ms"}
QUICK = {"timeout": "200ms"}
PROMISE = {"pending": {"timeout": "60ms", "poll": "10ms"}}


@dataclass(frozen=True)
class Row:
    """One behaviour, and what comes of it."""

    name: str
    #: Path of the hostile participant; or a whole address with {port} or {name of a port} in it.
    path: str
    #: How attempts end, each by its entry's last word; "s" for one that succeeds.
    attempts: tuple[str, ...]
    step: str
    saga: str
    asked: int
    undone: int
    query: dict[str, str] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def status(code: str, **query: str) -> dict[str, Any]:
    """Return the path and query of an answer."""
    return {"path": "/answer", "query": {"status": code, "body": "{}"} | query}


IN_DOUBT: dict[str, Any] = {
    "attempts": ("uncertain", "uncertain"),
    "step": "uncertain",
    "saga": "compensated",
    "asked": 2,
    "undone": 1,
}
REFUSED: dict[str, Any] = {
    "attempts": ("refused",),
    "step": "refused",
    "saga": "compensated",
    "asked": 1,
    "undone": 0,
}
UNREACHED: dict[str, Any] = {
    "attempts": ("not_executed", "not_executed"),
    "step": "refused",
    "saga": "compensated",
    "asked": 0,
    "undone": 0,
}
BUSY = UNREACHED | {"asked": 2}
DONE: dict[str, Any] = {"attempts": (), "step": "succeeded", "saga": "completed", "asked": 1, "undone": 0}
UNFINISHED: dict[str, Any] = {
    "attempts": ("pending", "uncertain"),
    "step": "uncertain",
    "saga": "compensated",
    "asked": 1,
    "undone": 1,
}

ACTIONS = [
    # no answer, or not all of it
    Row("closes without an answer, the effect may be there", "/close", **IN_DOUBT),
    Row("resets the connection", "/reset", **IN_DOUBT),
    Row("closes in the middle of the body", "/cut", **IN_DOUBT),
    Row("closes its side in the middle of the body", "/half-close", **IN_DOUBT),
    Row("cuts a chunk", "/cut-chunk", **IN_DOUBT),
    Row("says two lengths", "/two-lengths", **IN_DOUBT),
    Row("speaks no HTTP", "/not-http", **IN_DOUBT),
    Row("sends a header of 100 KB", "/huge-header", **IN_DOUBT),
    Row("never answers", "/silent", **IN_DOUBT, call=QUICK),
    Row("sends a header byte by byte", "/drip-headers", **IN_DOUBT, call=QUICK),
    Row("sends a body byte by byte", "/drip-body", **IN_DOUBT, call=QUICK),
    Row("says 100 Continue for ever", "/continue-for-ever", **IN_DOUBT, call=QUICK),
    Row("reads nothing", "{accept-and-wait}", **IN_DOUBT | {"asked": 0}, call=QUICK | {"body": "x" * 900_000}),
    # a body nobody can use
    Row("answers with a page", "/html", **IN_DOUBT),
    Row("answers with a body without end", "/endless", **IN_DOUBT),
    Row("answers with a byte too many", "/just-too-large", **IN_DOUBT),
    Row("answers with 300 MB in 300 KB", "/gzip-bomb", **IN_DOUBT),
    Row("answers in an encoding nobody asked for", "/unknown-encoding", **IN_DOUBT),
    Row("answers with damaged gzip", "/gzip-damaged", **IN_DOUBT),
    Row("answers with NaN", "/nan", **IN_DOUBT),
    Row("answers with JSON 100,000 deep", "/deep", **IN_DOUBT),
    Row("answers with half of a surrogate pair", "/surrogate", **IN_DOUBT),
    # somewhere else
    Row("redirects to a page that says 200", "/redirect", **REFUSED, query={"status": "302"}),
    Row("redirects and keeps the method", "/redirect", **REFUSED, query={"status": "307"}),
    Row("redirects to another host", **status("301 Moved", header="Location: http://127.0.0.1:1/"), **REFUSED),
    # never reached
    Row("has no listener", "http://127.0.0.1:1", **UNREACHED),
    Row("has no name", "http://participant.invalid", **UNREACHED),
    Row("speaks plain text where TLS belongs", "https://127.0.0.1:{port}", **UNREACHED),
    # what statuses mean
    Row("is told to wait, in seconds", **status("429 Slow", header="Retry-After: 0"), **BUSY),
    Row("asks for a thousand years", **status("429 Slow", header="Retry-After: 999999999"), **BUSY),
    Row("asks for a date", **status("429 Slow", header="Retry-After: Fri, 31 Dec 2199 23:59:59 GMT"), **BUSY),
    Row("asks for nonsense", **status("429 Slow", header="Retry-After: soon, -1"), **BUSY),
    Row("took too long to read", **status("408 Slow"), **IN_DOUBT),
    Row("has failed", **status("500 Failed"), **IN_DOUBT),
    Row("is behind a gateway that gave up", **status("504 Gave up"), **IN_DOUBT),
    Row("knows nothing of it", **status("404 None"), **REFUSED),
    Row("says it is at work, to the first request", **status("409 Busy"), **REFUSED),
    Row("says 200 and means no", **status("200 OK", body='{"state": "DECLINED"}'), **REFUSED,
        call={"refused_when": "${response.body.state == 'DECLINED'}"}),
    # one thing first, another then
    Row("loses its answer, and remembers it", "/first-then", **DONE | {"attempts": ("uncertain",), "asked": 2},
        query={"first": "0", "status": "200 OK"}),
    Row("half works, then says no", "/first-then", **IN_DOUBT | {"attempts": ("uncertain", "refused")},
        query={"first": "500 Half", "status": "400 No"}),
    Row("half works, then says the no that is declared", "/first-then",
        **REFUSED | {"attempts": ("uncertain", "refused"), "asked": 2},
        query={"first": "500 Half", "status": "422 No"}, call={"on_status": {"422": "refused"}}),
    Row("is still at work at the second request", "/first-then", **IN_DOUBT,
        query={"first": "500 Half", "status": "409 Busy"}),
    # 202
    Row("accepts, and is never heard of again", **status("202 Later"), **UNFINISHED, call=PROMISE),
    Row("is to be polled on another host", **status("202 Later", header="Location: http://127.0.0.1:1/x"), **UNFINISHED,
        call=PROMISE),
    Row("is polled, and knows nothing of it", **status("202 Later", header="Location: /answer?status=404"),
        **UNFINISHED | {"asked": -1}, call=PROMISE),
    Row("says for ever that it is too early", **status("425 Early"),
        **UNFINISHED | {"attempts": ("deferred", "uncertain"), "asked": -1}, call=PROMISE),
    Row("calls back before it answers", "/call-back", **DONE, query={"outcomes": "succeeded,@"}),
    Row("calls back twice", "/call-back", **DONE, query={"outcomes": "succeeded,succeeded,@"}),
    Row("calls back, and changes its mind", "/call-back", **DONE, query={"outcomes": "succeeded,refused,@"}),
    Row("calls back with a no", "/call-back", **REFUSED, query={"outcomes": "refused,@"}),
]  # fmt: skip

UNDONE: dict[str, Any] = {"attempts": (), "step": "undone", "saga": "compensated", "asked": 1, "undone": 1}
STUCK: dict[str, Any] = {
    "attempts": ("refused", "refused"),
    "step": "failed",
    "saga": "parked",
    "asked": 1,
    "undone": 2,
}
IN_VAIN: dict[str, Any] = {
    "attempts": ("uncertain",),
    "step": "failed",
    "saga": "parked",
    "asked": 1,
    "undone": -1,
}

UNDOINGS = [
    Row("does not know the credentials any more", **status("401 Who"), **STUCK),
    Row("forbids it", **status("403 No"), **STUCK),
    Row("never knew it", **status("404 None"), **STUCK),
    Row("never knew it, which is declared to be fine", **status("404 None"), **UNDONE, call={"on_status": {"404": "succeeded"}}),
    Row("has no trace of it left", **status("410 Gone"), **UNDONE),
    Row("answers with a page", "/html", **UNDONE),
    Row("closes in the middle of its yes", "/cut", **UNDONE),
    Row("answers with 300 MB in 300 KB", "/gzip-bomb", **UNDONE),
    Row("redirects to a page that says 200", "/redirect", **STUCK, query={"status": "302"}),
    Row("says 200 and means no", **status("200 OK", body='{"state": "NO"}'),
        **STUCK | {"attempts": ("refused",), "undone": 1}, call={"refused_when": "${response.body.state == 'NO'}"}),
    Row("closes without an answer", "/close", **IN_VAIN),
    Row("has failed", **status("503 Failed"), **IN_VAIN),
    Row("is told to wait, for ever", **status("429 Slow", header="Retry-After: 999999999"), **IN_VAIN | {"attempts": ("not_executed",)}),
    Row("accepts, and is never heard of again", **status("202 Later"), **IN_VAIN | {"attempts": ("pending",)}, call=PROMISE),
]  # fmt: skip


@pytest.fixture(scope="module")
def process() -> Iterator[HostileProcess]:
    """Run the hostile participant."""
    process = HostileProcess(None)
    yield process
    process.close()


@pytest.fixture
async def api(process: HostileProcess) -> AsyncIterator[Served]:
    """Serve, with calls that go out over real sockets."""
    process.forget()
    async with Served(HttpInvoker()) as served:  # type: ignore[arg-type]  # as good an invoker as another
        yield served


def call_of(row: Row, process: HostileProcess, retry: dict[str, Any]) -> dict[str, Any]:
    """Return the call that meets the behaviour."""
    base, path = (process.url(""), row.path) if row.path.startswith("/") else (row.path, "")
    if row.path.startswith("{"):
        base = process.before_reading(row.path.strip("{}"))
    url = base.replace("{port}", str(process.ports["port"]))
    return {"url": url, "path": path, "query": row.query, "body": {"id": "${key}"}, "retry": retry} | row.call


async def ended(api: Served, *steps: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Run a saga of these steps as far as it goes by itself; return it and its journal."""
    put = await api.put({"name": "hostile", "steps": list(steps)})
    assert put.status == 201, put.text
    started: Said = await api.post("/v1/sagas", {"definition": "hostile", "id": "s"})
    assert started.status == 202, started.text
    saga = await api.until("s", lambda saga: saga["ended_at"] is not None or saga["status"] == "parked")
    return saga, (await api.get("/v1/sagas/s/journal")).json["items"]


def attempts(journal: list[Any], phase: str) -> list[str]:
    """Return how the attempts of the step under test have ended."""
    found = [each for each in journal if each["kind"].startswith("attempt_") and each["step"] == "seat"]
    ends = [each["kind"].removeprefix("attempt_") for each in found if each["phase"] == phase]
    # How often a request that came too early is sent again is a matter of time.
    return [end for at, end in enumerate(ends) if end != "deferred" or ends[at - 1 : at] != ["deferred"]]


def requests(process: HostileProcess, phase: str) -> list[dict[str, Any]]:
    """Return what the participant was sent, the same under each key but for the number of the attempt."""
    found = [each for each in process.seen() if each["key"] == f"s:seat:{phase}"]
    bare = [each["raw"].partition("\r\nSaga-Attempt: ") for each in found]
    rest = [(head, tail.partition("\r\n")[2].partition("Saga-Deadline")[0]) for head, _, tail in bare]
    assert len(set(rest)) <= 1, "the attempts have other bytes"
    return found


def test_there_are_enough_behaviours() -> None:
    """Each is listed once."""
    assert len({row.name for row in ACTIONS}) == len(ACTIONS) >= 25
    assert len({row.name for row in UNDOINGS}) == len(UNDOINGS)


def timed(rows: list[Row]) -> list[Any]:
    """Return the rows, those marked in which time has to pass."""
    return [pytest.param(row, marks=pytest.mark.slow) if "timeout" in row.call else row for row in rows]


@pytest.mark.parametrize("row", timed(ACTIONS), ids=str)
async def test_an_action(api: Served, process: HostileProcess, row: Row) -> None:
    """The attempts end as they must, and what may have happened is undone."""
    undo = {"url": process.url(""), "path": "/ok", "body": {"id": "${key}"}}
    saga, journal = await ended(
        api, {"name": "seat", "action": call_of(row, process, RETRY), "compensation": undo}
    )
    assert attempts(journal, "action") == list(row.attempts), json.dumps(saga["error"])
    assert (saga["steps"][0]["status"], saga["status"]) == (row.step, row.saga)
    assert row.asked in (-1, len(requests(process, "action")))
    assert len(requests(process, "compensation")) == row.undone
    if row.path == "/call-back":
        first, *others = row.query["outcomes"].removesuffix(",@").split(",")
        expected = ["200", *("200" if other == first else "409" for other in others)]
        # The saga may have ended before the last of them is answered.
        while len(told := json.loads(process.control("GET", "/-/told"))) < len(expected):
            await asyncio.sleep(0.01)
        assert told == expected


@pytest.mark.parametrize("row", timed(UNDOINGS), ids=str)
async def test_an_undoing(api: Served, process: HostileProcess, row: Row) -> None:
    """It is undone, or it is tried as often as it may be and the saga waits for a person."""
    action = {"url": process.url(""), "path": "/ok", "body": {"id": "${key}"}}
    no = {"url": process.url(""), "path": "/answer", "query": {"status": "402 No"}}
    refused = {"name": "no", "action": no, "compensation": "none"}
    seat = {"name": "seat", "action": action, "compensation": call_of(row, process, BRIEFLY)}
    saga, journal = await ended(api, seat, refused)
    assert attempts(journal, "compensation")[: len(row.attempts)] == list(row.attempts), json.dumps(
        saga["error"]
    )
    assert (saga["steps"][0]["compensation"]["status"], saga["status"]) == (row.step, row.saga)
    assert len(requests(process, "action")) == row.asked
    undone = len(requests(process, "compensation"))
    assert undone == row.undone or (row.undone == -1 and undone >= 1)
