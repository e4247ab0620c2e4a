"""Starts over HTTP: durable before they are answered, and the same however often they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from saga.api import keys
from saga.errors import StoreUnavailable, StoreUnknown
from saga.ports.stored import Delivered, Existing, Message, NewSaga, Record
from saga.stores.memory import MemoryStore
from saga.stores.sqlite import SqliteStore
from tests.doubles import said
from tests.served import Served, answering, booking

START = {"definition": "booking", "input": {"n": 1, "card": "4242"}}


@pytest.fixture(params=["memory", "sqlite"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """Serve a store with one definition, whose participants say yes; the card 0 is refused."""
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "saga.db")
    async with Served(answering(), store=store) as served:
        await served.put(booking())
        yield served


def refusing(api: Served) -> None:
    """Let the payment be refused from now on."""
    api.invoker.script = answering(pay=said(402, {"why": "no"})).script


async def test_a_start_is_accepted_with_its_place(api: Served) -> None:
    """It is durable, and its saga can be asked for."""
    api.invoker.script = answering(seat=None).script
    start = await api.post("/v1/sagas", START)
    assert start.status == 202
    saga = start.json
    assert start.headers["Location"] == f"/v1/sagas/{saga['id']}"
    assert (saga["status"], saga["definition"]) == ("running", {"name": "booking", "version": 1})
    assert saga["input"] == {"n": 1, "card": "•••"}

    shown = await api.get(start.headers["Location"])
    assert (shown.status, shown.json["id"]) == (200, saga["id"])
    assert (await api.store.load(saga["id"])) is not None


async def test_waiting_brings_the_end(api: Served) -> None:
    """200 when it completed, 409 with the reason and the saga when it was compensated."""
    done = await api.post("/v1/sagas?wait=5s", START)
    assert (done.status, done.json["status"]) == (200, "completed")
    assert done.json["steps"][2]["output"] == {"of": "ticket"}

    refusing(api)
    undone = await api.post("/v1/sagas?wait=5s", START)
    assert (undone.status, undone.type) == (409, "saga-compensated")
    assert undone.json["saga"]["status"] == "compensated"
    assert undone.json["saga"]["error"]["step"] == "pay"
    assert "402" in undone.json["reason"]
    assert undone.headers["Location"] == f"/v1/sagas/{undone.json['saga']['id']}"


async def test_a_wait_ends_with_202_while_the_saga_runs(api: Served) -> None:
    """Also when it is parked: a person decides, not the one who waits."""
    api.invoker.script = answering(seat=None).script
    waited = await api.post("/v1/sagas?wait=20ms", START)
    assert (waited.status, waited.json["status"]) == (202, "running")

    api.invoker.script = answering(ticket=said(402)).script
    definition = booking(name="strict")
    definition["steps"][2]["action"]["on_status"] = {"402": "refused"}
    await api.put(definition)
    parked = await api.post("/v1/sagas?wait=100ms", START | {"definition": "strict"})
    assert (parked.status, parked.json["status"]) == (202, "parked")


async def test_abandoning_ends_a_wait(api: Served) -> None:
    """409 with its own type."""
    api.invoker.script = answering(seat=None).script
    waiting = asyncio.create_task(api.post("/v1/sagas?wait=10s", START | {"id": "mine"}))
    await api.on_wire("mine", "seat")
    assert (await api.post("/v1/sagas/mine/abandon")).status == 200
    ended = await waiting
    assert (ended.status, ended.type) == (409, "saga-abandoned")
    assert ended.json["saga"]["status"] == "abandoned"


# --------------------------------------------------------------------------- the same start again


async def test_the_same_start_again_is_the_same_saga(api: Served) -> None:
    """Whatever the order of members and the spacing: 202 while it runs, 200 when it has ended."""
    api.invoker.script = answering(seat=None).script
    first = await api.post("/v1/sagas", START, Idempotency_Key="order 17 ä")
    assert "Idempotent-Replayed" not in first.headers
    other = '{ "input": {"card": "4242", "n": 1},\n "definition": "booking" }'
    again = await api.post("/v1/sagas", body=other, Idempotency_Key="order 17 ä")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert again.json["id"] == first.json["id"]
    assert again.headers["Location"] == first.headers["Location"]

    api.invoker.script = answering().script
    api.invoker.held.popitem()[1].set_result(said(200, {}))
    waited = await api.post("/v1/sagas?wait=5s", START, Idempotency_Key="order 17 ä")
    assert (waited.status, waited.json["id"]) == (200, first.json["id"])
    ended = await api.post("/v1/sagas", START, Idempotency_Key="order 17 ä")
    assert (ended.status, ended.headers["Idempotent-Replayed"]) == (200, "true")
    assert len((await api.get("/v1/sagas")).json["items"]) == 1


async def test_a_replayed_wait_tells_of_a_compensated_saga_as_the_first_did(api: Served) -> None:
    """Without a wait it is a plain 200."""
    refusing(api)
    first = await api.post("/v1/sagas?wait=5s", START, Idempotency_Key="k")
    again = await api.post("/v1/sagas?wait=5s", START, Idempotency_Key="k")
    assert (first.status, again.status, again.type) == (409, 409, "saga-compensated")
    assert again.headers["Idempotent-Replayed"] == "true"
    plain = await api.post("/v1/sagas", START, Idempotency_Key="k")
    assert (plain.status, plain.json["status"]) == (200, "compensated")


@pytest.mark.parametrize("named", [{"Idempotency_Key": "k"}, {}])
async def test_a_different_start_under_the_same_name_is_refused(api: Served, named: dict[str, str]) -> None:
    """Never silently the first, whether a key or an id names it."""
    start = START if named else START | {"id": "mine"}
    assert (await api.post("/v1/sagas", start, **named)).status == 202
    other = await api.post("/v1/sagas", start | {"input": {"n": 2}}, **named)
    assert (other.status, other.type) == (422, "start-key-reused")
    assert (await api.post("/v1/sagas", start, **named)).headers["Idempotent-Replayed"] == "true"


async def test_twenty_equal_starts_at_once_are_one_saga(api: Served) -> None:
    """The insert itself decides; the others are told of the one."""
    starts = await asyncio.gather(
        *(api.post("/v1/sagas?wait=5s", START, Idempotency_Key="k") for _ in range(20))
    )
    assert {start.status for start in starts} == {200}
    assert len({start.json["id"] for start in starts}) == 1
    assert sum("Idempotent-Replayed" not in start.headers for start in starts) == 1
    assert len([call for call in api.invoker.calls() if call == "seat:action"]) == 1


async def test_ids_and_start_keys_are_two_name_spaces(api: Served) -> None:
    """A saga with the id x and one with the start key x are two."""
    by_id = await api.post("/v1/sagas", START | {"id": "x"})
    by_key = await api.post("/v1/sagas", START, Idempotency_Key="x")
    assert (by_id.status, by_key.status) == (202, 202)
    assert by_id.json["id"] == "x" != by_key.json["id"]


async def test_an_id_of_the_form_that_start_keys_make_is_refused(api: Served) -> None:
    """Nobody can take the place of another one's start key beforehand."""
    made = (await api.post("/v1/sagas", START, Idempotency_Key="x")).json["id"]
    given = await api.post("/v1/sagas", START | {"id": made[:-1] + "0"})
    assert (given.status, given.pointers) == (422, ["/id"])


async def test_a_start_comes_again_though_its_definition_is_deleted_or_stricter(api: Served) -> None:
    """What was accepted stays accepted."""
    first = await api.post("/v1/sagas?wait=5s", START, Idempotency_Key="k")
    await api.put(booking(input={"type": "object", "required": ["voucher"]}))
    again = await api.post("/v1/sagas", START, Idempotency_Key="k")
    assert (again.status, again.json["id"]) == (200, first.json["id"])
    await api.ask("DELETE", "/v1/definitions/booking")
    again = await api.post("/v1/sagas", START, Idempotency_Key="k")
    assert (again.status, again.json["id"]) == (200, first.json["id"])
    assert (await api.post("/v1/sagas", START, Idempotency_Key="new")).type == "definition-deleted"
    assert (
        await api.post("/v1/sagas", START | {"version": 1}, Idempotency_Key="k")
    ).type == "start-key-reused"


# --------------------------------------------------------------------------- definitions in starts


async def test_a_whole_definition_is_stored_and_started(api: Served) -> None:
    """As by PUT: equal content is the same version."""
    start = START | {"definition": booking(name="inline")}
    first = await api.post("/v1/sagas?wait=5s", start)
    assert (first.status, first.json["definition"]) == (200, {"name": "inline", "version": 1})
    assert (await api.post("/v1/sagas?wait=5s", start)).json["definition"]["version"] == 1

    wrong = await api.post("/v1/sagas", {"definition": {"name": "inline", "steps": [{}], "colour": 1}})
    assert (wrong.status, wrong.type) == (422, "definition-invalid")
    assert "/definition/colour" in wrong.pointers
    later = await api.post("/v1/sagas", {"definition": {"name": "x", "steps": [{"name": "w", "wait": "1s"}]}})
    assert (later.status, later.type) == (422, "not-yet-executed")
    assert later.pointers == ["/definition/steps/0/wait"]


async def test_a_start_that_comes_again_does_not_bring_its_definition_back(api: Served) -> None:
    """A newer version put meanwhile stays the latest."""
    start = START | {"definition": booking(name="inline")}
    await api.post("/v1/sagas?wait=5s", start, Idempotency_Key="k")
    await api.put(booking(name="inline", due="5m"))
    again = await api.post("/v1/sagas", start, Idempotency_Key="k")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await api.get("/v1/definitions/inline")).json["version"] == 2


async def test_a_version_can_be_asked_for(api: Served) -> None:
    """Of a name only."""
    await api.put(booking(due="5m"))
    old = await api.post("/v1/sagas", START | {"version": 1})
    assert (old.status, old.json["definition"]["version"]) == (202, 1)
    none = await api.post("/v1/sagas", START | {"version": 3})
    assert (none.status, none.type) == (404, "version-unknown")
    both = await api.post("/v1/sagas", {"definition": booking(), "version": 1})
    assert (both.status, both.pointers) == (422, ["/version"])


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"colour": "red"}, "/colour"),
        ({"status": "completed"}, "/status"),
        ({"version": 0}, "/version"),
        ({"version": "1"}, "/version"),
        ({"id": ""}, "/id"),
        ({"id": "."}, "/id"),
        ({"id": ".."}, "/id"),
        ({"id": "a/b"}, "/id"),
        ({"id": "a\n"}, "/id"),
        ({"id": "x" * 129}, "/id"),
        ({"id": 7}, "/id"),
        ({"definition": 7}, "/definition"),
        ({"definition": None}, "/definition"),
        ({"start_at": "soon"}, "/start_at"),
        ({"start_at": "9999-12-31T23:59:59Z"}, "/start_at"),
        ({"start_at": "2026-02-30T00:00:00Z"}, "/start_at"),
        ({"labels": {"Colour": "red"}}, "/labels/Colour"),
        ({"labels": {"colour": None}}, "/labels/colour"),
        ({"labels": {"colour": ["red"]}}, "/labels/colour"),
        ({"labels": []}, "/labels"),
    ],
)
async def test_a_member_at_fault_is_named(api: Served, change: dict[str, Any], pointer: str) -> None:
    """422 with the pointer, and nothing is started."""
    start = await api.post("/v1/sagas", START | change)
    assert (start.status, start.type) == (422, "request-invalid")
    assert start.pointers == [pointer], start.text
    assert (await api.get("/v1/sagas")).json["items"] == []


async def test_each_value_at_fault_is_one_problem_in_plain_words(api: Served) -> None:
    """Not one for every type it could have had, and nothing of how the coordinator is made."""
    labels = {"Bad-Name": [1], "list": [1], "nothing": None, "good": 1}
    start = await api.post("/v1/sagas", START | {"labels": labels, "versoin": 1})
    assert {each["pointer"]: each["detail"] for each in start.json["errors"]} == {
        "/labels/Bad-Name": "the name must begin with a-z and go on with a-z, 0-9 or _, 64 characters at most",
        "/labels/list": "must be text, a number or a boolean",
        "/labels/nothing": "must be text, a number or a boolean",
        "/versoin": "is not known here: did you mean 'version'?",
    }
    assert len(start.pointers) == 4
    many = await api.post("/v1/sagas", START | {"labels": {f"l{at}": at for at in range(65)}})
    assert many.json["errors"] == [{"pointer": "/labels", "detail": "must be of 64 members at most"}]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], {"pointer": "", "detail": "the body must be an object"}),
        ("text", {"pointer": "", "detail": "the body must be an object"}),
        ({}, {"pointer": "/definition", "detail": "is missing: add it"}),
        ({"definition": "booking", "version": 0}, {"pointer": "/version", "detail": "must be 1 or more"}),
        (
            {"definition": "booking", "version": 1.5},
            {"pointer": "/version", "detail": "must be a whole number"},
        ),
        ({"definition": "booking", "start_at": 5}, {"pointer": "/start_at", "detail": "must be text"}),
        (
            {"definition": "booking", "id": "a/b"},
            {"pointer": "/id", "detail": "must be 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-'"},
        ),
    ],
)
async def test_a_body_at_fault_is_told_about_in_plain_words(
    api: Served, body: Any, problem: dict[str, str]
) -> None:
    """A client knows nothing of the classes and libraries in here."""
    assert (await api.post("/v1/sagas", body)).json["errors"] == [problem]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[" * 100_000,
        '{"definition": "booking", "input": NaN}',
        '{"definition": "booking", "input": 1e999}',
        '{"definition": "booking", "definition": "booking"}',
        '{"definition": "booking", "input": "\\ud800"}',
        b'{"definition": "\xff"}',
        '{"definition": "booking", "input": ' + "[" * 64 + "]" * 64 + "}",
        '{"definition": "booking", "input": ' + "9" * 5000 + "}",
    ],
)
async def test_a_body_that_is_no_strict_json_is_malformed(api: Served, body: str | bytes) -> None:
    """400 as a problem, never an error of the server."""
    start = await api.post("/v1/sagas", body=body)
    assert (start.status, start.type) == (400, "malformed-body")


async def test_bodies_of_another_kind_or_size_are_refused(api: Served) -> None:
    """A page's form cannot be taken for JSON."""
    text = json.dumps(START)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/yaml", ""):
        start = await api.post("/v1/sagas", body=text, Content_Type=kind)
        assert (start.status, start.type) == (415, "unsupported-media-type")
    big = await api.post("/v1/sagas", body=b'{"input": "' + b"x" * 33_000_000 + b'"}')
    assert (big.status, big.type) == (413, "too-large")
    assert (await api.post("/v1/sagas", [START])).status == 422


@pytest.mark.parametrize(
    "query", ["wait=61s", "wait=soon", "wait=", "wait=1", "wait=1s&wait=1s", "colour=red", "wait=-1s"]
)
async def test_a_wait_is_a_duration_up_to_a_minute(api: Served, query: str) -> None:
    """Malformed, out of range and unknown parameters are 422."""
    start = await api.post(f"/v1/sagas?{query}", START)
    assert (start.status, start.type) == (422, "parameter-invalid")


async def test_start_keys_have_a_length_and_no_id_beside_them(api: Served) -> None:
    """At most 255 characters; an id takes the key's place."""
    assert (await api.post("/v1/sagas", START, Idempotency_Key="k" * 255)).status == 202
    for key in ("k" * 256, " "):
        assert (await api.post("/v1/sagas", START, Idempotency_Key=key)).status == 422
    both = await api.post("/v1/sagas", START | {"id": "mine"}, Idempotency_Key="k")
    assert (both.status, both.pointers) == (422, ["/id"])


async def test_unknown_names_and_notify_are_told_apart(api: Served) -> None:
    """404 for a name, 422 for what a later release does."""
    unknown = await api.post("/v1/sagas", {"definition": "none"})
    assert (unknown.status, unknown.type) == (404, "definition-unknown")
    assert (await api.post("/v1/sagas", {"definition": "ä\u0000"})).status == 404
    notify = await api.post("/v1/sagas", START | {"notify": {"url": "http://x", "events": []}})
    assert (notify.status, notify.type, notify.pointers) == (422, "not-yet-executed", ["/notify"])


async def test_an_input_that_fails_its_schema_lists_every_problem_without_its_values(api: Served) -> None:
    """A card number does not come back in an error."""
    schema = {"type": "object", "required": ["n"], "properties": {"card": {"type": "integer"}}}
    await api.put(booking(input=schema))
    start = await api.post("/v1/sagas", {"definition": "booking", "input": {"card": "4242424242424242"}})
    assert (start.status, start.type) == (422, "input-invalid")
    assert sorted(start.pointers) == ["/input", "/input/card"]
    assert "4242" not in start.text


async def test_labels_are_filled_in_and_must_be_found(api: Served) -> None:
    """A label of the start comes before the definition's."""
    await api.put(booking(labels={"who": "${input.who}", "n": "${input.n}"}))
    start = await api.post("/v1/sagas", START | {"labels": {"who": "me", "extra": True}})
    assert start.json["labels"] == {"who": "me", "extra": True, "n": 1}
    missing = await api.post("/v1/sagas", START)
    assert (missing.status, missing.pointers) == (422, ["/labels/who"])


async def test_large_numbers_keep_every_digit(api: Served) -> None:
    """Money and ids are no floating-point numbers."""
    number = 123_456_789_012_345_678_901_234_567_890
    start = await api.post("/v1/sagas?wait=5s", {"definition": "booking", "input": {"n": number}})
    assert start.json["input"]["n"] == number
    assert json.loads(api.invoker.sent[0].body or b"")["n"] == number


async def test_a_start_for_later_sends_nothing_before(api: Served) -> None:
    """It is accepted, waits in the store, and says when it is due."""
    at = "2033-01-01T00:00:00Z"
    start = await api.post("/v1/sagas?wait=20ms", START | {"start_at": at})
    assert (start.status, start.json["status"]) == (202, "running")
    assert start.json["next_attempt_at"] == "2033-01-01T00:00:00.000Z"
    assert (start.json["owner"], api.invoker.sent) == (None, [])
    past = await api.post("/v1/sagas?wait=5s", START | {"start_at": "2020-01-01T00:00:00+01:00"})
    assert past.status == 200


# --------------------------------------------------------------------------- what goes wrong inside


class TroubledStore(MemoryStore):
    """A store whose next starts fail in a given way."""

    def __init__(self) -> None:
        super().__init__()
        self.wait = 0.0
        self.error: Exception | None = None
        self.applies = False
        self.forgets = False
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()

    def backlog(self) -> float:
        """Return what the test wants."""
        return self.wait

    async def start(self, saga: NewSaga) -> Existing | None:
        """Fail, before or after executing, or wait at the gate."""
        self.reached.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is None or self.applies:
            existing = await super().start(saga)
            if self.error is None:
                return existing
        raise self.error

    async def deliver(self, saga_id: str, message: Message) -> Delivered:
        """Fail as starts do."""
        if self.error is not None:
            raise self.error
        return await super().deliver(saga_id, message)

    async def load(self, saga_id: str) -> Record | None:
        """Find nothing while it is not reachable."""
        if self.forgets:
            raise StoreUnavailable("not reachable")
        return await super().load(saga_id)


@pytest.fixture
async def troubled() -> AsyncIterator[tuple[Served, TroubledStore]]:
    """Serve a store that fails on purpose."""
    store = TroubledStore()
    async with Served(answering(), store=store) as served:
        await served.put(booking())
        yield served, store


async def test_too_many_waiting_starts_are_turned_away(troubled: tuple[Served, TroubledStore]) -> None:
    """429 with a time to come again; a start that was accepted before is told of its saga."""
    api, store = troubled
    first = await api.post("/v1/sagas?wait=5s", START, Idempotency_Key="k")
    store.wait = 60.0
    busy = await api.post("/v1/sagas", START)
    assert (busy.status, busy.type, busy.headers["Retry-After"]) == (429, "too-busy", "1")
    again = await api.post("/v1/sagas", START, Idempotency_Key="k")
    assert (again.status, again.json["id"]) == (200, first.json["id"])


async def test_a_store_that_is_away_starts_nothing(troubled: tuple[Served, TroubledStore]) -> None:
    """503 store-unavailable."""
    api, store = troubled
    store.error = StoreUnavailable("full")
    start = await api.post("/v1/sagas", START, Idempotency_Key="k")
    assert (start.status, start.type) == (503, "store-unavailable")
    store.error = None
    assert (await api.get("/v1/sagas")).json["items"] == []


async def test_a_lost_answer_of_the_store_is_said_with_the_id(troubled: tuple[Served, TroubledStore]) -> None:
    """503 start-unknown; the same key finds the saga, or starts it."""
    api, store = troubled
    store.error, store.forgets, store.applies = StoreUnknown("lost"), True, True
    start = await api.post("/v1/sagas", START, Idempotency_Key="k")
    assert (start.status, start.type) == (503, "start-unknown")
    store.error, store.forgets = None, False
    again = await api.post("/v1/sagas", START, Idempotency_Key="k")
    assert (again.status, again.json["id"]) == (202, start.json["id"])


async def test_a_command_whose_writing_is_not_known_says_so(troubled: tuple[Served, TroubledStore]) -> None:
    """It may have been recorded, or not."""
    api, store = troubled
    await api.post("/v1/sagas?wait=5s", START | {"id": "mine"})
    for store.error, kind in (
        (StoreUnknown("lost"), "store-unknown"),
        (StoreUnavailable("full"), "store-unavailable"),
    ):
        answer = await api.post("/v1/sagas/mine/cancel")
        assert (answer.status, answer.type, answer.headers["Retry-After"]) == (503, kind, "1")


async def test_a_lost_answer_is_looked_up(troubled: tuple[Served, TroubledStore]) -> None:
    """A write that was applied after all is an accepted start, and runs."""
    api, store = troubled
    store.error, store.applies = StoreUnknown("lost"), True
    start = await api.post("/v1/sagas?wait=5s", START)
    assert (start.status, start.json["status"]) == (200, "completed")


async def test_a_client_that_goes_away_does_not_lose_its_saga(troubled: tuple[Served, TroubledStore]) -> None:
    """What is being written is run, though nobody waits for the answer."""
    api, store = troubled
    store.gate = asyncio.Event()
    asking = asyncio.create_task(api.post("/v1/sagas", START | {"id": "mine"}))
    await store.reached.wait()
    asking.cancel()
    await asyncio.wait([asking])
    store.gate.set()
    ended = await api.post("/v1/sagas?wait=5s", START | {"id": "mine"})
    assert (ended.status, ended.json["status"]) == (200, "completed")


async def test_a_handler_that_is_cancelled_does_not_lose_its_saga(
    troubled: tuple[Served, TroubledStore],
) -> None:
    """The start goes on by itself."""
    api, store = troubled
    store.gate = asyncio.Event()
    asking = asyncio.create_task(api.post("/v1/sagas", START | {"id": "mine"}))
    await store.reached.wait()
    for task in asyncio.all_tasks():
        if "RequestHandler.start" in repr(task.get_coro()):
            task.cancel()
    store.gate.set()
    with pytest.raises(Exception, match="disconnected"):
        await asking
    ended = await api.post("/v1/sagas?wait=5s", START | {"id": "mine"})
    assert (ended.status, ended.json["status"]) == (200, "completed")


async def test_a_coordinator_that_is_stopping_takes_no_starts_and_keeps_nobody_waiting() -> None:
    """503; whoever waits for an end is told how far the saga is."""
    async with Served(answering(seat=None)) as api:
        await api.put(booking())
        waiting = asyncio.create_task(api.post("/v1/sagas?wait=60s", START | {"id": "mine"}))
        await api.on_wire("mine", "seat")
        api.app[keys.WORKER].refuse()
        assert (await waiting).status == 202
        start = await api.post("/v1/sagas", START)
        assert (start.status, start.type) == (503, "stopping")
