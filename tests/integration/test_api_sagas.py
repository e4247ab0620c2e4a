"""Sagas over HTTP: shown, listed, and looked into."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from saga.api import keys
from saga.core.tokens import Addressed, make_token
from saga.stores.memory import MemoryStore
from saga.stores.sqlite import SqliteStore
from tests.doubles import said
from tests.served import Served, answering, booking

START = {"definition": "booking", "input": {"n": 1, "card": "4242"}}


@pytest.fixture(params=["memory", "sqlite"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """Serve a store with one definition, whose participants say yes."""
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "saga.db")
    async with Served(answering(), store=store) as served:
        await served.put(booking())
        yield served


async def started(api: Served, **start: Any) -> str:
    """Start a saga, wait for its end, and return its id."""
    ended = await api.post("/v1/sagas?wait=5s", START | start)
    assert ended.status in (200, 409), ended.text
    return str(ended.headers["Location"].rpartition("/")[2])


async def test_a_saga_has_every_member_it_is_said_to_have(api: Served) -> None:
    """No more and no fewer."""
    shown = (await api.get(f"/v1/sagas/{await started(api)}")).json
    assert set(shown) == {
        "id", "definition", "status", "direction", "late", "progress", "input", "output", "error", "labels",
        "steps", "started_at", "updated_at", "ended_at", "next_attempt_at", "owner", "fence", "trace_id", "parent",
    }  # fmt: skip
    assert set(shown["steps"][0]) == {
        "name", "status", "attempts", "output", "error", "started_at", "ended_at", "next_attempt_at",
        "compensation",
    }  # fmt: skip
    assert shown["progress"] == {"done": 3, "total": 3}
    assert shown["started_at"].endswith("Z")
    api.invoker.script = answering(pay=said(402, {})).script
    undone = (await api.get(f"/v1/sagas/{await started(api)}")).json
    assert set(undone["steps"][0]["compensation"]) == {
        "status", "attempts", "error", "started_at", "ended_at",
    }  # fmt: skip


async def test_a_compensation_is_shown_where_one_is_owed(api: Served) -> None:
    """Not of a step that was not reached, was refused, or cannot be undone any more."""

    async def undoing(saga_id: str) -> list[str | None]:
        steps = (await api.get(f"/v1/sagas/{saga_id}")).json["steps"]
        return [step["compensation"] and step["compensation"]["status"] for step in steps]

    api.invoker.script = answering(seat=None).script
    begun = (await api.post("/v1/sagas", START)).json["id"]
    await api.on_wire(begun, "seat")
    assert await undoing(begun) == [None, None, None]
    api.invoker.script = answering(pay=None).script
    running = (await api.post("/v1/sagas", START)).json["id"]
    await api.on_wire(running, "pay")
    assert await undoing(running) == ["pending", None, None]

    api.invoker.script = answering(pay=said(402, {})).script
    assert await undoing(await started(api)) == ["undone", None, None]
    api.invoker.script = answering(ticket=None).script
    passed = (await api.post("/v1/sagas", START)).json["id"]
    await api.on_wire(passed, "ticket")
    assert await undoing(passed) == [None, None, None]
    api.invoker.script = answering().script
    assert await undoing(await started(api)) == [None, None, None]

    api.invoker.script = answering(pay=None).script
    left = (await api.post("/v1/sagas", START)).json["id"]
    await api.on_wire(left, "pay")
    await api.post(f"/v1/sagas/{left}/abandon", {})
    assert await undoing(left) == ["pending", None, None]


async def test_a_saga_is_shown_as_it_was_after_an_entry(api: Served) -> None:
    """From its first entry to its last."""
    saga_id = await started(api)
    entries = (await api.get(f"/v1/sagas/{saga_id}/journal")).json["items"]
    assert [each["seq"] for each in entries] == list(range(1, len(entries) + 1))
    assert {"seq", "at", "kind"} <= set(entries[0])
    first = (await api.get(f"/v1/sagas/{saga_id}?at=1")).json
    assert (first["status"], first["steps"][0]["status"]) == ("running", "pending")
    last = (await api.get(f"/v1/sagas/{saga_id}?at={len(entries)}")).json
    assert last["status"] == "completed"
    for at in ("0", str(len(entries) + 1), "x", "-1", "1.5"):
        assert (await api.get(f"/v1/sagas/{saga_id}?at={at}")).type == "parameter-invalid"


async def damage(api: Served, saga_id: str, seq: int, body: bytes) -> None:
    """Put something else in place of an entry that is stored."""
    store = api.store
    if isinstance(store, MemoryStore):
        store._sagas[saga_id].entries[seq - 1] = body
        return
    assert isinstance(store, SqliteStore)
    db = sqlite3.connect(store._path)
    with db:
        db.execute(
            "UPDATE entries SET entry = ?, sum = NULL WHERE saga_id = ? AND seq = ?", (body, saga_id, seq)
        )
    db.close()


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b'{"kind":"from_2031","at":1.5}', "from_2031", "knows no entry of the kind 'from_2031'"),
        (b"\xff\x00", "unreadable", "entry 3: what is stored is no entry"),
        (b'["saga_paused"]', "unreadable", "entry 3: what is stored is no entry"),
        (
            b'{"kind":"saga_started","at":"never"}',
            "saga_started",
            "entry 3: an entry of the kind 'saga_started'",
        ),
    ],
)
async def test_a_saga_whose_journal_cannot_be_read_is_shown_as_far_as_it_is_known(
    api: Served, body: bytes, kind: str, said: str
) -> None:
    """An operator finds out what it is and how far it can be read; nothing looks like a coordinator that failed."""
    plain = booking(name="plain")
    del plain["sensitive"]
    await api.put(plain)
    saga_id = await started(api, definition="plain")
    before = (await api.get(f"/v1/sagas/{saga_id}")).json
    entries = (await api.get(f"/v1/sagas/{saga_id}/journal")).json["items"]
    await damage(api, saga_id, 3, body)

    shown = await api.get(f"/v1/sagas/{saga_id}")
    assert shown.status == 200
    problem = shown.json["problem"]
    assert problem["type"] == "journal-unreadable"
    assert said in problem["detail"]
    assert problem["detail"].endswith(f"2 of its {len(entries)} entries can be read")
    left_out = {"input", "output", "steps", "next_attempt_at"}
    assert {name: value for name, value in before.items() if name not in left_out} == {
        name: value for name, value in shown.json.items() if name != "problem"
    }

    journal = (await api.get(f"/v1/sagas/{saga_id}/journal")).json
    assert journal["problem"] == problem
    assert journal["items"][:2] == entries[:2]
    assert [each["seq"] for each in journal["items"]] == [each["seq"] for each in entries]
    assert (journal["items"][2]["kind"], journal["items"][3]["kind"]) == (kind, entries[3]["kind"])
    assert journal["items"][3]["raw"]["kind"] == entries[3]["kind"]
    page = (await api.get(f"/v1/sagas/{saga_id}/journal?limit=2")).json
    assert (page["items"], page["problem"]) == (entries[:2], problem)

    assert (await api.get(f"/v1/sagas/{saga_id}?at=2")).json["steps"][0]["status"] == "invoking"
    assert (await api.get(f"/v1/sagas/{saga_id}?at=3")).pointers == ["?at"]
    for refused in (
        await api.get(f"/v1/sagas/{saga_id}/plan"),
        await api.post(f"/v1/sagas/{saga_id}/pause"),
        await api.post(f"/v1/sagas/{saga_id}/rerun"),
    ):
        assert (refused.status, refused.type) == (409, "journal-unreadable")
    assert await api.store.messages(saga_id) == []
    assert (await api.get("/v1/sagas/none")).type == "saga-unknown"


async def test_what_may_be_sensitive_in_an_entry_that_cannot_be_read_is_not_shown(api: Served) -> None:
    """Nobody knows what it means; and without the definition nobody knows what is sensitive."""
    start = {"input": {"n": 1, "card": "planted-card"}}
    saga_id, nothing = await started(api, **start), await started(api, **start)
    await damage(api, saga_id, 4, b'{"kind":"from_2031","detail":"planted-card"}')
    await damage(api, nothing, 1, b'{"kind":"from_2031","detail":"planted-card"}')
    for each in (saga_id, nothing):
        for path in ("", "/journal"):
            answer = await api.get(f"/v1/sagas/{each}{path}")
            assert answer.status == 200
            assert "planted" not in answer.text
    journal = (await api.get(f"/v1/sagas/{saga_id}/journal")).json["items"]
    assert journal[0]["input"]["card"] == "•••"
    assert [each["raw"] for each in journal[3:]] == [None] * len(journal[3:])


async def test_a_callback_to_a_saga_that_cannot_be_read_is_to_come_again(api: Served) -> None:
    """It is not recorded, since nobody could say whether it settles anything."""
    saga_id = await started(api)
    key = api.app[keys.CALLBACK_KEY]
    token = make_token(key, Addressed(saga_id=saga_id, step="seat", phase="action"))
    await damage(api, saga_id, 2, b"?")
    told = await api.post(f"/v1/callbacks/{token}", {"outcome": "succeeded"})
    assert (told.status, told.type, told.headers["Retry-After"]) == (503, "not-judged", "60")
    assert await api.store.messages(saga_id) == []


async def test_a_journal_is_whole_unless_a_page_is_asked_for(api: Served) -> None:
    """Every entry once, in order."""
    path = f"/v1/sagas/{await started(api)}/journal"
    whole = (await api.get(path)).json
    assert whole["next"] is None
    page = (await api.get(f"{path}?limit=3")).json
    assert len(page["items"]) == 3
    rest = (await api.get(f"{path}?limit=200&cursor={page['next']}")).json
    assert page["items"] + rest["items"] == whole["items"]
    assert (await api.get(f"{path}?limit=0")).status == 422
    assert (await api.get(f"{path}?colour=red")).status == 422


async def test_a_running_saga_is_shown_with_its_owner(api: Served) -> None:
    """The owner is a node of the list of nodes."""
    api.invoker.script = answering(seat=None).script
    saga_id = (await api.post("/v1/sagas", START)).json["id"]
    shown = (await api.get(f"/v1/sagas/{saga_id}")).json
    assert shown["steps"][0]["status"] == "invoking"
    nodes = (await api.get("/v1/nodes")).json["items"]
    assert nodes == [{"id": shown["owner"], "alive": True, "self": True}]


async def test_what_is_sensitive_is_masked_everywhere(api: Served) -> None:
    """In the saga, its journal, lists and what its end says."""
    definition = booking(
        name="secretive",
        labels={"paid_with": "${input.card}", "n": "${input.n}"},
        output={"with": "card ${input.card}", "pin": "${steps.seat.output.pin}"},
    )
    definition["steps"][0]["sensitive"] = ["/pin"]
    await api.put(definition)
    start = {"definition": "secretive", "input": {"n": 1, "card": "planted-card"}}
    pin, echo = said(200, {"pin": "planted-pin"}), said(200, {"took": ["planted-card"]})
    told = []
    for name, pay in (("done", echo), ("undone", said(402, "planted-card is no good"))):
        api.invoker.script = answering(seat=pin, pay=pay).script
        told.append(await api.post("/v1/sagas?wait=5s", start | {"id": name}))
        told += [await api.get(f"/v1/sagas/{name}{path}") for path in ("", "/journal", "?at=5", "/plan")]
    told += [await api.get("/v1/sagas"), await api.get("/v1/sagas/none", Request_Id="x")]
    for answer in told:
        assert "planted" not in answer.text, answer.text
    done = told[0].json
    assert (done["labels"], done["output"]) == (
        {"paid_with": "•••", "n": 1},
        {"with": "card •••", "pin": "•••"},
    )
    assert [step["output"] for step in done["steps"][:2]] == [{"pin": "•••"}, {"took": ["•••"]}]


async def test_the_plan_of_a_saga_says_what_would_be_undone(api: Served) -> None:
    """In waves, and why the others are left."""
    api.invoker.script = answering(pay=None).script
    saga_id = (await api.post("/v1/sagas", START)).json["id"]
    await api.on_wire(saga_id, "pay")
    plan = (await api.get(f"/v1/sagas/{saga_id}/plan")).json
    assert plan["waves"] == []
    assert {each["step"] for each in plan["omitted"]} == {"seat", "pay", "ticket"}

    definition = booking(name="pivotless")
    del definition["steps"][1]["pivot"]
    definition["steps"][2]["compensation"] = "none"
    await api.put(definition)
    api.invoker.script = answering(ticket=None).script
    saga_id = (await api.post("/v1/sagas", START | {"definition": "pivotless"})).json["id"]
    await api.on_wire(saga_id, "ticket")
    waves = (await api.get(f"/v1/sagas/{saga_id}/plan")).json["waves"]
    assert [[each["step"] for each in wave] for wave in waves] == [["pay"], ["seat"]]
    assert waves[1][0] == {
        "step": "seat", "phase": "compensation", "method": "DELETE",
        "url": f"http://127.0.0.1:1/{saga_id}%3Aseat",
    }  # fmt: skip


# --------------------------------------------------------------------------- lists


async def test_sagas_are_listed_newest_first_in_pages(api: Served) -> None:
    """Every one once, without payloads."""
    ids = [await started(api) for _ in range(5)]
    found: list[str] = []
    cursor = ""
    for _ in range(3):
        page = (await api.get(f"/v1/sagas?limit=2{cursor}")).json
        found += [each["id"] for each in page["items"]]
        assert all("input" not in each and "steps" not in each for each in page["items"])
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    # Starts of one millisecond are in the order of their ids, which is that of their making.
    assert found == ids[::-1]


async def test_lists_are_filtered_by_status_and_definition(api: Served) -> None:
    """Statuses with commas between them, or repeated."""
    done = await started(api)
    api.invoker.script = answering(pay=said(402)).script
    await api.put(booking(name="other"))
    undone = await started(api, definition="other")
    api.invoker.script = answering(seat=None).script
    running = (await api.post("/v1/sagas", START)).json["id"]

    async def ids(query: str) -> set[str]:
        return {each["id"] for each in (await api.get(f"/v1/sagas?{query}")).json["items"]}

    assert await ids("status=completed") == {done}
    assert await ids("status=completed,compensated") == {done, undone}
    assert await ids("status=running&status=compensated") == {running, undone}
    assert await ids("definition=other") == {undone}
    assert await ids("definition=none") == await ids("definition=%00") == set()
    assert await ids("definition=booking&status=completed") == {done}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=x", "limit=1&limit=2", "status=done", "status=", "status=running,",
        "colour=red", "late=true", "label.who=me", "label.amount%3E=5", "started_after=2026-01-01T00:00:00Z",
        "started_before=2026-01-01T00:00:00Z", "start_key=k", "q=x", "cursor=", "cursor=abc", "cursor=%C3%A4",
        "cursor=" + "A" * 40,
    ],
)  # fmt: skip
async def test_what_a_list_cannot_answer_is_refused_by_name(api: Served, query: str) -> None:
    """Malformed, out of range, unknown, or of a later release."""
    answer = await api.get(f"/v1/sagas?{query}")
    assert (answer.status, answer.type) == (422, "parameter-invalid")
    assert answer.pointers[0].startswith(f"?{query.partition('=')[0].replace('%3E', '>')}")


async def test_a_cursor_that_was_altered_is_refused(api: Served) -> None:
    """Whatever character was changed."""
    for _ in range(2):
        await started(api)
    cursor = (await api.get("/v1/sagas?limit=1")).json["next"]
    for at in range(0, len(cursor), 5):
        altered = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]
        assert (await api.get(f"/v1/sagas?cursor={altered}")).status == 422


# --------------------------------------------------------------------------- what every route does


@pytest.mark.parametrize("path", ["", "/journal", "/plan"])
@pytest.mark.parametrize("saga_id", ["none", "%00", "%ed%a0%80", "ä", "x" * 5000, "a%2Fb"])
async def test_an_unknown_id_is_404(api: Served, path: str, saga_id: str) -> None:
    """Whatever it is made of."""
    answer = await api.get(f"/v1/sagas/{saga_id}{path}")
    assert (answer.status, answer.type) == (404, "saga-unknown")


async def test_every_answer_has_a_request_id(api: Served) -> None:
    """A client's own comes back when it is sane."""
    for path in ("/healthz", "/v1/sagas", "/v1/sagas/none", "/nowhere", "/"):
        answer = await api.get(path)
        assert answer.headers["Request-Id"]
        assert "aiohttp" not in answer.headers["Server"]
        assert (await api.get(path, Request_Id="my-id:7")).headers["Request-Id"] == "my-id:7"
        assert (await api.get(path, Request_Id="x" * 200)).headers["Request-Id"] != "x" * 200


async def test_methods_that_do_not_fit_are_405_with_those_that_do(api: Served) -> None:
    """And HEAD is a GET without its body."""
    wrong = await api.ask("PATCH", "/v1/sagas")
    assert (wrong.status, wrong.type) == (405, "method-not-allowed")
    assert set(wrong.headers["Allow"].replace(" ", "").split(",")) == {"GET", "HEAD", "POST"}
    assert (await api.ask("OPTIONS", "/v1/sagas")).status == 405
    head = await api.ask("HEAD", "/v1/sagas")
    assert (head.status, head.text) == (200, "")
    assert (await api.ask("DELETE", "/v1/sagas/none")).status == 405


async def test_an_address_that_is_none_is_a_problem(api: Served) -> None:
    """404 as any other error."""
    for path in ("/v1/nothing", "/v1/sagas/", "/v1/sagas/a/b/c", "/v2/sagas", "/../etc/passwd"):
        answer = await api.get(path)
        assert (answer.status, answer.type) == (404, "not-found")


async def test_an_error_of_the_coordinator_is_a_problem_without_its_inside(api: Served) -> None:
    """500 with the request's id, which the log has too."""

    async def broken(_saga_id: str) -> None:
        raise ZeroDivisionError("secret detail")

    api.store.load = broken  # type: ignore[method-assign, assignment]
    answer = await api.get("/v1/sagas/x")
    assert (answer.status, answer.type) == (500, "internal")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
