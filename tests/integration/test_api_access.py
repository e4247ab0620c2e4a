"""Who may ask: bearers, and requests that a page elsewhere has made a browser send."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from saga.api.routes import ROUTES, Route
from tests.served import Served, answering, booking

TOKEN = "correct-horse-battery-staple"
START = {"definition": "booking", "input": {"n": 1}}
OPEN = {"/healthz", "/readyz", "/", "/v1/callbacks/{token}"}


@pytest.fixture
async def api() -> AsyncIterator[Served]:
    """Serve without credentials, on loopback."""
    async with Served(answering()) as served:
        await served.put(booking())
        yield served


@pytest.fixture
async def closed() -> AsyncIterator[Served]:
    """Serve with a token."""
    async with Served(answering(), admin_token=TOKEN, public_url="https://saga.example.com/base") as served:
        yield served


def filled(path: str) -> str:
    """Return an address of the route."""
    return path.replace("{id}", "x").replace("{name}", "y").replace("{token}", "z").partition("{command")[
        0
    ] + ("pause" if "{command" in path else "")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_but_the_open_ones_asks_for_the_bearer(closed: Served, route: Route) -> None:
    """Missing, wrong and malformed are 401 with a challenge, before anything else is looked at."""
    method, path, role = route.method, route.path, route.role
    assert (role is None) == (path in OPEN)
    wrong = [{}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN}, {"Authorization": "Bearer"}]
    wrong += [{"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer ä"}]
    for headers in wrong:
        answer = await closed.ask(method, filled(path), **headers)
        if role is None:
            assert answer.status in (200, 404)
            continue
        assert (answer.status, answer.type) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    right = await closed.ask(method, filled(path), Authorization=f"bearer {TOKEN}")
    assert right.status != 401


async def test_who_it_was_stands_in_the_journal(closed: Served) -> None:
    """The administrator, where a token is asked for."""
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    put = await closed.ask("PUT", "/v1/definitions/booking", booking(), **bearer)
    assert put.status == 201
    done = await closed.post("/v1/sagas?wait=5s", START, **bearer)
    entries = (await closed.get(f"/v1/sagas/{done.json['id']}/journal", **bearer)).json["items"]
    assert entries[0]["by"] == "admin"
    assert TOKEN not in str(entries)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:7242", "[::1]:80", "LOCALHOST:1"])
async def test_loopback_names_are_ours(api: Served, host: str) -> None:
    """With any port: a tunnel may have another."""
    assert (await api.get("/v1/sagas", Host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "10.0.0.1", "a@localhost", "localhost/x", "localhost:x", ""],
)
async def test_a_host_that_is_not_ours_is_refused(api: Served, host: str) -> None:
    """A name that was made to resolve to this machine reads nothing."""
    for path in ("/v1/sagas", "/", "/nowhere"):
        answer = await api.get(path, Host=host)
        assert (answer.status, answer.type) == (403, "host-not-allowed")
    assert (await api.get("/healthz", Host=host)).status == 200


async def test_hosts_can_be_allowed() -> None:
    """By name; the public address and the address listened on are."""
    async with Served(
        answering(), allowed_hosts=("saga.internal",), public_url="https://saga.example.com"
    ) as api:
        for host in ("saga.internal:7242", "saga.example.com", "Saga.Example.com:443"):
            assert (await api.get("/v1/sagas", Host=host)).status == 200
        assert (await api.get("/v1/sagas", Host="example.com")).status == 403
    async with Served(answering(), allowed_hosts=("*",)) as api:
        assert (await api.get("/v1/sagas", Host="any.example")).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1"])
async def test_a_page_of_another_origin_writes_nothing(api: Served, origin: str) -> None:
    """Neither a start nor a command nor a definition."""
    for method, path in (
        ("POST", "/v1/sagas"),
        ("POST", "/v1/sagas/x/cancel"),
        ("DELETE", "/v1/definitions/x"),
    ):
        answer = await api.ask(method, path, Origin=origin)
        assert (answer.status, answer.type) == (403, "origin-not-allowed")
    assert (await api.get("/v1/sagas", Origin=origin)).status == 200
    other = await api.post("/v1/sagas", START, Sec_Fetch_Site="cross-site")
    assert (other.status, other.type) == (403, "origin-not-allowed")


async def test_its_own_pages_may_write(api: Served) -> None:
    """The origin is the address itself."""
    assert (await api.post("/v1/sagas", START, Origin=api.url)).status == 202
    assert (await api.post("/v1/sagas", START, Sec_Fetch_Site="same-origin")).status == 202


async def test_the_public_address_is_an_origin_of_its_own() -> None:
    """Behind a proxy the page comes from there."""
    async with Served(answering(), public_url="https://saga.example.com") as api:
        await api.put(booking())
        good = await api.post("/v1/sagas", START, Origin="https://saga.example.com")
        assert good.status == 202


async def test_the_landing_page_runs_nothing(api: Served) -> None:
    """And says what there is."""
    page = await api.get("/")
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
