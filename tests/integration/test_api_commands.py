"""Commands over HTTP: judged by the saga's owner, each with who and why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from saga.api import keys
from saga.stores.memory import MemoryStore
from saga.stores.sqlite import SqliteStore
from tests.doubles import said
from tests.served import Said, Served, answering, booking

START = {"definition": "booking", "input": {"n": 1, "card": "4242"}}
#: A no that a participant means, so that past the pivot the saga is parked at once.
NO = said(402)


def strict() -> dict[str, Any]:
    """Return a definition whose ticket may be refused for good."""
    definition = booking()
    definition["steps"][2]["action"]["on_status"] = {"402": "refused"}
    definition["steps"][0]["compensation"]["on_status"] = {"402": "refused"}
    return definition


@pytest.fixture(params=["memory", "sqlite"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    """Serve a store with one definition, whose participants say yes."""
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "saga.db")
    async with Served(answering(), store=store) as served:
        await served.put(strict())
        yield served


async def held_at(api: Served, step: str) -> str:
    """Start a saga whose call of that step stays on the wire, and return its id."""
    api.invoker.script = answering(**{step: None}).script
    saga_id = str((await api.post("/v1/sagas", START)).json["id"])
    await api.on_wire(saga_id, step)
    return saga_id


async def parked_at(api: Served, step: str) -> str:
    """Start a saga that is parked at that step, and return its id."""
    api.invoker.script = answering(**{step: NO}, **({"pay": NO} if step == "seat_undo" else {})).script
    saga_id = str((await api.post("/v1/sagas", START)).json["id"])
    await api.until(saga_id, lambda saga: saga["status"] == "parked")
    api.invoker.script = answering().script
    return saga_id


async def shown(api: Served, saga_id: str) -> Any:
    """Return the saga."""
    return (await api.get(f"/v1/sagas/{saga_id}")).json


async def command(api: Served, saga_id: str, name: str, **body: Any) -> Said:
    """Send a command."""
    return await api.post(f"/v1/sagas/{saga_id}/{name}", body or None)


async def test_pause_and_resume(api: Served) -> None:
    """While it is paused nothing is sent; each command again changes nothing."""
    saga_id = await held_at(api, "seat")
    assert (await command(api, saga_id, "pause", reason="lunch")).json["status"] == "paused"
    assert (await command(api, saga_id, "pause", reason=None)).status == 200
    assert (await command(api, saga_id, "pause?now=true")).type == "parameter-invalid"
    api.invoker.script = answering().script
    api.invoker.held.popitem()[1].set_result(said(200, {}))
    await api.until(saga_id, lambda saga: saga["steps"][0]["status"] == "succeeded")
    assert api.invoker.calls() == ["seat:action"]

    resumed = await command(api, saga_id, "resume")
    assert (resumed.status, resumed.json["direction"]) == (200, "forward")
    assert (await api.ended(saga_id))["status"] == "completed"


async def test_cancel_goes_backward_and_again_changes_nothing(api: Served) -> None:
    """Also after the end; the journal has who and why."""
    saga_id = await held_at(api, "seat")
    cancelled = await command(api, saga_id, "cancel", reason="changed my mind")
    assert (cancelled.status, cancelled.json["direction"]) == (200, "backward")
    api.invoker.held.popitem()[1].set_result(said(200, {}))
    assert (await api.ended(saga_id))["status"] == "compensated"
    again = await command(api, saga_id, "cancel")
    assert (again.status, again.json["status"]) == (200, "compensated")

    entries = (await api.get(f"/v1/sagas/{saga_id}/journal")).json["items"]
    entry = next(each for each in entries if each["kind"] == "saga_cancelled")
    assert (entry["by"], entry["reason"]) == ("local", "changed my mind")


async def test_cancel_while_the_pivot_is_invoked_or_passed_is_409_with_the_state(api: Served) -> None:
    """Each with its own type."""
    saga_id = await held_at(api, "pay")
    refused = await command(api, saga_id, "cancel")
    assert (refused.status, refused.type) == (409, "pivot-invoked")
    assert refused.json["saga"]["status"] == "running"

    saga_id = await held_at(api, "ticket")
    assert (await command(api, saga_id, "cancel")).type == "pivot-passed"


async def test_a_parked_step_is_retried_skipped_or_resolved(api: Served) -> None:
    """Whatever a person has found out."""
    retried = await parked_at(api, "ticket")
    assert (await command(api, retried, "retry", step="ticket")).status == 200
    assert (await api.ended(retried))["steps"][2]["attempts"] == 2

    skipped = await parked_at(api, "ticket")
    assert (await command(api, skipped, "skip", step="ticket")).status == 200
    assert (await api.ended(skipped))["status"] == "completed"

    resolved = await parked_at(api, "ticket")
    body = {"step": "ticket", "outcome": "succeeded", "output": {"number": 7}}
    assert (await command(api, resolved, "resolve", **body)).status == 200
    assert (await api.ended(resolved))["steps"][2]["output"] == {"number": 7}


async def test_a_parked_compensation_is_resolved_or_skipped(api: Served) -> None:
    """Resolved it counts as undone, skipped the saga ends abandoned."""
    resolved = await parked_at(api, "seat_undo")
    wrong = await command(api, resolved, "resolve", step="seat", outcome="refused")
    assert (wrong.status, wrong.json["saga"]["status"]) == (409, "parked")
    assert (await command(api, resolved, "resolve", step="seat", outcome="undone")).status == 200
    assert (await api.ended(resolved))["status"] == "compensated"

    skipped = await parked_at(api, "seat_undo")
    assert (await command(api, skipped, "skip", step="seat")).status == 200
    assert (await api.ended(skipped))["status"] == "abandoned"


async def test_abandon_ends_at_once_and_raises_the_fence(api: Served) -> None:
    """Nothing is sent any more; again it is 200, others are 409."""
    saga_id = await held_at(api, "seat")
    before = await shown(api, saga_id)
    abandoned = await command(api, saga_id, "abandon", reason="enough")
    assert (abandoned.status, abandoned.json["status"]) == (200, "abandoned")
    assert abandoned.json["fence"] > before["fence"]
    assert (await command(api, saga_id, "abandon")).status == 200
    late = await command(api, saga_id, "pause")
    assert (late.status, late.type, late.json["saga"]["status"]) == (409, "saga-ended", "abandoned")


@pytest.mark.parametrize(
    ("name", "body", "pointer"),
    [
        ("pause", {"step": "seat"}, "/step"),
        ("cancel", {"colour": "red"}, "/colour"),
        ("skip", {}, "/step"),
        ("resolve", {"step": "seat"}, "/outcome"),
        ("resolve", {"step": "seat", "outcome": "perhaps"}, "/outcome"),
        ("retry", {"outcome": "undone"}, "/outcome"),
        ("abandon", {"reason": 7}, "/reason"),
        ("abandon", {"reason": "x" * 2001}, "/reason"),
    ],
)
async def test_a_command_takes_only_what_it_needs(
    api: Served, name: str, body: dict[str, Any], pointer: str
) -> None:
    """422 with the pointer."""
    answer = await api.post(f"/v1/sagas/any/{name}", body)
    assert (answer.status, answer.type, answer.pointers) == (422, "request-invalid", [pointer])


async def test_unknown_sagas_and_commands_are_404(api: Served) -> None:
    """And a step the saga does not have is 409 with the state."""
    assert (await command(api, "none", "pause")).type == "saga-unknown"
    assert (await command(api, "none", "explode")).type == "not-found"
    saga_id = await held_at(api, "seat")
    wrong = await command(api, saga_id, "retry", step="none")
    assert (wrong.status, wrong.type) == (409, "step-unknown")


async def test_a_command_nobody_has_folded_is_recorded(api: Served) -> None:
    """202: it is durable, and its owner will come to it."""
    saga_id = await held_at(api, "seat")
    api.app[keys.WORKER].refuse()
    api.app[keys.WORKER].poke = nobody  # type: ignore[method-assign]
    recorded = await command(api, saga_id, "cancel")
    assert (recorded.status, recorded.json["recorded"]) == (202, True)
    assert len(await api.store.messages(saga_id)) == 1


async def nobody(_saga_id: str) -> None:
    """Stand for an owner that does not look."""


async def test_two_operators_at_once_do_it_once(api: Served) -> None:
    """However many retries come before the attempt, it is one; those after it find nothing to retry."""
    saga_id = await parked_at(api, "ticket")
    answers = await asyncio.gather(*(command(api, saga_id, "retry") for _ in range(5)))
    assert {answer.status for answer in answers} <= {200, 409}
    assert any(answer.status == 200 for answer in answers)
    assert (await api.ended(saga_id))["steps"][2]["attempts"] == 2


# --------------------------------------------------------------------------- rerun, signals


async def test_an_ended_saga_is_run_again_as_a_new_one(api: Served) -> None:
    """201 with the same definition, version and input; the old one stays as it is."""
    first = (await api.post("/v1/sagas?wait=5s", START | {"labels": {"who": "me"}})).json
    await api.put(booking(due="5m"))
    rerun = await api.post(f"/v1/sagas/{first['id']}/rerun")
    assert rerun.status == 201
    assert rerun.headers["Location"] == f"/v1/sagas/{rerun.json['id']}"
    assert rerun.json["id"] != first["id"]
    assert (rerun.json["definition"]["version"], rerun.json["labels"]) == (1, {"who": "me"})
    assert (await api.ended(rerun.json["id"]))["input"] == first["input"]

    other = await api.post(f"/v1/sagas/{first['id']}/rerun", {"version": 2, "input": {"n": 2}})
    assert (other.json["definition"]["version"], other.json["input"]) == (2, {"n": 2})


async def test_a_rerun_is_refused_where_it_cannot_be(api: Served) -> None:
    """Of a saga that runs, of none, of a version there is not."""
    running = await held_at(api, "seat")
    refused = await api.post(f"/v1/sagas/{running}/rerun")
    assert (refused.status, refused.type, refused.json["saga"]["status"]) == (
        409,
        "saga-not-ended",
        "running",
    )
    assert (await api.post("/v1/sagas/none/rerun")).type == "saga-unknown"
    api.invoker.script = answering().script
    done = (await api.post("/v1/sagas?wait=5s", START)).json["id"]
    assert (await api.post(f"/v1/sagas/{done}/rerun", {"version": 9})).type == "version-unknown"
    assert (await api.post(f"/v1/sagas/{done}/rerun", {"id": "x"})).type == "request-invalid"


async def test_a_rerun_takes_a_start_key(api: Served) -> None:
    """The same again is the same saga; another body is refused."""
    done = (await api.post("/v1/sagas?wait=5s", START)).json["id"]
    path = f"/v1/sagas/{done}/rerun"
    first = await api.post(path, Idempotency_Key="again")
    second = await api.post(path, {}, Idempotency_Key="again")
    assert (first.status, second.status, second.headers["Idempotent-Replayed"]) == (201, 200, "true")
    assert first.json["id"] == second.json["id"]
    other = await api.post(path, {"input": {"n": 2}}, Idempotency_Key="again")
    assert (other.status, other.type) == (422, "start-key-reused")


async def test_a_signal_the_definition_lacks_is_404(api: Served) -> None:
    """As is one to no saga."""
    saga_id = await held_at(api, "seat")
    assert (await api.post(f"/v1/sagas/{saga_id}/signals/approval", {"yes": True})).type == "signal-unknown"
    assert (await api.post("/v1/sagas/none/signals/approval")).type == "saga-unknown"
