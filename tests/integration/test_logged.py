"""What a whole coordinator logs, at the level that says most: nothing that sagas hold."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from saga import logs
from saga.ports.invoker import Invocation
from tests.doubles import ScriptedInvoker, said
from tests.served import Served, booking

SECRET = "pl4nted-s3cret"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Return where the log goes."""
    root, stream = logging.getLogger(), io.StringIO()
    level, handler = root.level, logs.handler(stream)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


def participants(invocation: Invocation) -> object:
    """Say no to the payment of one saga, break on another's, and repeat the secret in every answer."""
    if (invocation.saga_id, invocation.step) == ("breaks", "pay"):
        raise ValueError(SECRET)
    refused = (invocation.saga_id, invocation.step, invocation.phase) == ("refused", "pay", "action")
    return said(402 if refused else 200, {"card": SECRET}, x_card=SECRET)


async def test_no_line_holds_what_sagas_hold(stream: io.StringIO) -> None:
    """Neither inputs, labels, answers, secrets of headers and reasons, nor the words of an error that tells of values."""
    document = booking(
        input={"type": "object", "properties": {"n": {"type": "integer"}}},
        sensitive=["/card"],
        labels={"card": "${input.card}"},
    )
    pay = document["steps"][1]["action"]
    pay["headers"] = {"Authorization": "Bearer ${secret.pass}"}
    pay["retry"] = {"attempts": 1}
    invoker = ScriptedInvoker(participants)  # type: ignore[arg-type]
    async with Served(invoker, secret={"pass": SECRET}, admin_token=SECRET * 3) as served:
        given = {"Authorization": f"Bearer {SECRET * 3}"}
        await served.ask("PUT", "/v1/definitions/booking", document, **given)

        async def start(saga: str, n: object) -> None:
            body = {"definition": "booking", "id": saga, "input": {"n": n, "card": SECRET}}
            await served.post("/v1/sagas?wait=5s", body, **given)

        for saga in ("completes", "refused", "breaks"):
            await start(saga, 1)
        await start("invalid", SECRET)
        await served.post("/v1/sagas/completes/cancel", {"reason": SECRET}, **given)
        await served.post("/v1/sagas", {"definition": SECRET}, **given)
        await served.get("/v1/sagas", Authorization=f"Bearer {SECRET}")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["saga_id"] for line in lines if line["level"] == "error"} == {"breaks"}
    assert "ValueError" in stream.getvalue()
    assert SECRET not in stream.getvalue()
