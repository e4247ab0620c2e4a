"""Hostile requests: whatever is sent, the answer is one a client can read, and the next request is answered."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from saga.api.routes import ROUTES
from saga.stores.sqlite import SqliteStore
from tests.served import Served, answering, booking

SEEDS = range(12)
TEXTS = [
    "", "a", "booking", "..", ".", "/", "%00", "\u0000", "ä", "\ud83d", "{{7*7}}", "${input.n}", "' or 1=1 --",
    "<script>alert(1)</script>", "x" * 3000, "-1", "1e309", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z",
    "99999999999999999999", "$ne", "\r\nSet-Cookie: a=b", "\u202e",
]  # fmt: skip
NUMBERS = [0, -1, 1, 2**31, 2**63, 2**64, 10**40, 0.1, 1e308, True, False, None]
NAMES = ["definition", "version", "input", "labels", "id", "start_at", "notify", "reason", "step", "outcome"]
NAMES += ["output", "error", "name", "steps", "services", "action", "compensation", "$where", "__proto__"]


def value(chance: random.Random, depth: int = 0) -> Any:
    """Return some JSON value."""
    kind = chance.randrange(5 if depth < 4 else 2)
    if kind == 0:
        return chance.choice(TEXTS)
    if kind == 1:
        return chance.choice(NUMBERS)
    if kind == 2:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    names = NAMES if chance.random() < 0.8 else TEXTS
    return {chance.choice(names): value(chance, depth + 1) for _ in range(chance.randrange(6))}


def body(chance: random.Random) -> bytes:
    """Return a body: JSON mostly, then broken in some way."""
    text = json.dumps(value(chance)).encode("utf-8", "surrogatepass")
    damage = chance.randrange(6)
    if damage == 0:
        return text[: chance.randrange(len(text) + 1)]
    if damage == 1:
        at = chance.randrange(len(text) + 1)
        return text[:at] + bytes([chance.randrange(256)]) + text[at:]
    if damage == 2:
        return chance.randbytes(chance.randrange(60))
    return text


def address(chance: random.Random, path: str) -> str:
    """Return an address of the route, with odd parts and an odd query."""
    parts = ["booking", "s", "none", "%00", "%2e%2e", "%ff", "a%2Fb", "x" * 2000, "%F0%9F%92%A9", "~", "a;b"]
    for name in ("{id}", "{name}", "{token}"):
        path = path.replace(name, chance.choice(parts))
    path = path.partition("{command")[0] + ("cancel" if "{command" in path else "")
    names = ["wait", "limit", "cursor", "at", "version", "status", "dry_run", "definition", "q", "", "a%00"]
    texts = ["", "1", "0", "-1", "9" * 30, "1s", "true", "running", "%ff", "%00", "a,b", "x" * 500]
    pairs = [f"{chance.choice(names)}={chance.choice(texts)}" for _ in range(chance.choice([0, 0, 1, 2]))]
    return path + ("?" + "&".join(pairs) if pairs else "")


@pytest.fixture
async def api(tmp_path: Any) -> AsyncIterator[Served]:
    """Serve a file with one definition and one saga."""
    async with Served(answering(), store=SqliteStore(tmp_path / "saga.db")) as served:
        await served.put(booking())
        await served.post("/v1/sagas?wait=5s", {"definition": "booking", "input": {"n": 1}, "id": "s"})
        yield served


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_that_is_sent_is_an_error_of_the_server(api: Served, seed: int) -> None:
    """Every route, with junk in address, query, headers and body."""
    chance = random.Random(seed)
    kinds = ["application/json"] * 6 + ["application/yaml", "text/plain", "application/json; charset=x", "x"]
    for _ in range(8):
        for route in ROUTES:
            headers = {"Content_Type": chance.choice(kinds)}
            if chance.random() < 0.3:
                headers["Idempotency_Key"] = chance.choice(["k", "x" * 300, " ", "ä", "\U0001f4a9"])
            if chance.random() < 0.2:
                headers["traceparent"] = chance.choice(["x", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "ä"])
            sent = None if chance.random() < 0.1 else body(chance)
            answer = await api.ask(route.method, address(chance, route.path), body=sent, **headers)
            assert answer.status < 500, answer.text
            assert answer.headers["Request-Id"]
            if answer.status >= 400:
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert {"type", "title", "status", "detail"} <= set(answer.json)
    assert (await api.get("/v1/sagas/s")).json["status"] == "completed"


async def test_a_body_of_unknown_length_is_cut_off_at_a_megabyte(api: Served) -> None:
    """413, however it is sent."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 100_000

    async with api.client.post(
        "/v1/sagas", data=endless(), headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 413
        assert (await answer.json(content_type=None))["type"] == "too-large"


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /v1/sagas HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/sagas HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET /v1/sagas HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/sagas HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /v1/sagas HTTP/1.1\r\n\r\n",
        (
            b"POST /v1/sagas HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n5\r\n{....\r\nZZ\r\n"
        ),
        b"GET http://evil.example/v1/sagas HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ],
)
async def test_broken_http_is_refused(api: Served, raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """400 or 403, as a problem like any other, without a traceback; the next client is served."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(raw)
    await writer.drain()
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    status, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert status.split()[1] in ("400", "403")
    assert headers["content-type"] == "application/problem+json"
    assert headers["request-id"]
    assert headers["server"] == "saga"
    said = json.loads(await reader.readexactly(int(headers["content-length"])))
    assert said["type"] in ("malformed-request", "malformed-body", "host-not-allowed")
    writer.close()
    await writer.wait_closed()
    assert (await api.get("/healthz")).status == 200
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("length", "expects", "status"),
    [(33_000_000, "100-continue", b"413"), (2, "100-continue", b"100"), (2, "miracles", b"417")],
)
async def test_a_client_that_waits_with_its_body_is_told_first(
    api: Served, length: int, expects: str, status: bytes
) -> None:
    """A body that would be refused is never asked for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    head = f"POST /v1/sagas HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: {expects}\r\n"
    writer.write(f"{head}Content-Length: {length}\r\n\r\n".encode())
    await writer.drain()
    assert (await asyncio.wait_for(reader.readline(), 5)).split()[1] == status
    if status == b"100":
        writer.write(b"{}")
        assert await asyncio.wait_for(reader.readline(), 5) == b"\r\n"
        assert (await asyncio.wait_for(reader.readline(), 5)).split()[1] == b"422"
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_goes_away_in_the_middle_of_its_body_is_no_error(
    api: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is started, and nothing is logged as a failure."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"POST /v1/sagas HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: 500\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert reader.at_eof() or await reader.read() == b""
    assert (await api.get("/healthz")).status == 200
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
