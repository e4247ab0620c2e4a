"""Callbacks over HTTP: the first outcome that settles stands, and is durable before its 200."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from saga.stores.memory import MemoryStore
from saga.stores.sqlite import SqliteStore
from tests.doubles import said
from tests.served import Served, answering, booking

START = {"definition": "booking", "input": {"n": 1}}
DONE = {"outcome": "succeeded", "output": {"seat": "12A"}}


@pytest.fixture(params=["memory", "sqlite"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """Serve a store with one definition, whose seat is promised (202) and told later."""
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "saga.db")
    async with Served(answering(seat=said(202)), store=store) as served:
        await served.put(booking())
        yield served


async def promised(api: Served) -> tuple[str, str]:
    """Start a saga whose first step is pending; return its id and the path to call back."""
    count = len(api.invoker.sent)
    saga_id = (await api.post("/v1/sagas", START)).json["id"]
    await api.until(saga_id, lambda saga: saga["steps"][0]["status"] == "waiting")
    callback = api.invoker.sent[count].callback or ""
    assert callback.startswith(f"{api.url}/v1/callbacks/")
    return saga_id, callback.removeprefix(api.url)


async def test_a_callback_settles_its_step(api: Served) -> None:
    """The same again is 200, a different one 409."""
    saga_id, path = await promised(api)
    assert (await api.post(path, DONE)).status == 200
    assert (await api.post(path, DONE)).status == 200
    for other in ({"outcome": "refused", "error": "no"}, DONE | {"output": {"seat": "12B"}}):
        conflict = await api.post(path, other)
        assert (conflict.status, conflict.type) == (409, "outcome-stands")
    saga = await api.ended(saga_id)
    assert saga["steps"][0]["output"] == {"seat": "12A"}
    assert (await api.post(path, DONE)).status == 200


async def test_a_refusal_by_callback_undoes_nothing_of_the_step(api: Served) -> None:
    """It certainly did not happen."""
    saga_id, path = await promised(api)
    assert (await api.post(path, {"outcome": "refused", "error": "sold out"})).status == 200
    saga = await api.ended(saga_id)
    assert (saga["error"]["kind"], saga["steps"][0]["status"]) == ("refused", "refused")
    assert api.invoker.calls() == ["seat:action"]


async def test_the_first_of_many_callbacks_stands(api: Served) -> None:
    """Of twenty at once, one outcome is taken, and every other one is told."""
    saga_id, path = await promised(api)
    answers = await asyncio.gather(
        *(api.post(path, {"outcome": "succeeded", "output": {"seat": n % 4}}) for n in range(20))
    )
    taken = {n % 4 for n, answer in enumerate(answers) if answer.status == 200}
    assert {answer.status for answer in answers} == {200, 409}
    assert len(taken) == 1
    saga = await api.until(saga_id, lambda saga: saga["steps"][0]["status"] != "waiting")
    assert saga["steps"][0]["output"] == {"seat": taken.pop()}


async def test_a_callback_after_the_saga_went_another_way_is_410_and_recorded(api: Served) -> None:
    """An abandoned saga takes no outcome."""
    saga_id, path = await promised(api)
    assert (await api.post(f"/v1/sagas/{saga_id}/abandon")).status == 200
    gone = await api.post(path, DONE)
    assert (gone.status, gone.type) == (410, "too-late")
    entries: list[Any] = []
    while not entries or entries[-1]["kind"] != "late_answer":
        entries = (await api.get(f"/v1/sagas/{saga_id}/journal")).json["items"]
    assert entries[-1]["outcome"] == "succeeded"


async def test_a_callback_that_comes_before_its_202_is_kept(api: Served) -> None:
    """The participant was faster than its own answer."""
    api.invoker.script = answering(seat=None).script
    saga_id = (await api.post("/v1/sagas", START)).json["id"]
    await api.on_wire(saga_id, "seat")
    path = (api.invoker.sent[0].callback or "").removeprefix(api.url)
    assert (await api.post(path, DONE)).status == 200
    api.invoker.held.popitem()[1].set_result(said(202))
    saga = await api.ended(saga_id)
    assert saga["steps"][0]["output"] == {"seat": "12A"}


async def test_an_altered_token_is_404(api: Served) -> None:
    """As is one of a saga that is not there, or of another coordinator."""
    _, path = await promised(api)
    for at in range(len("/v1/callbacks/"), len(path), 7):
        altered = path[:at] + ("x" if path[at] != "x" else "y") + path[at + 1 :]
        answer = await api.post(altered, DONE)
        assert (answer.status, answer.type) == (404, "callback-unknown")
    for other in ("x", "a.b", ".", "%00", "%ed%a0%80.x", "x" * 5000):
        assert (await api.post(f"/v1/callbacks/{other}", DONE)).status == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/outcome"),
        ({"outcome": "perhaps"}, "/outcome"),
        ({"outcome": "succeeded", "error": "no"}, "/error"),
        ({"outcome": "refused", "output": 1}, "/output"),
        ({"outcome": "refused", "error": 7}, "/error"),
        (DONE | {"step": "pay"}, "/step"),
    ],
)
async def test_a_callback_says_one_outcome(api: Served, body: dict[str, Any], pointer: str) -> None:
    """422 with the pointer, and nothing is recorded."""
    _, path = await promised(api)
    answer = await api.post(path, body)
    assert (answer.status, answer.type, answer.pointers) == (422, "request-invalid", [pointer])
    assert (await api.post(path, body="{}", Content_Type="text/plain")).status == 415
