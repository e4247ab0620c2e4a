"""Definitions over HTTP: stored, versioned, refused with every problem, shown and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.served import Served, booking

YAML = """
name: booking
services: {any: {url: "http://127.0.0.1:1"}}
steps:
  - name: seat
    action: {service: any, path: /seat}
    compensation: none
"""


@pytest.fixture
async def api() -> AsyncIterator[Served]:
    """Serve an empty memory store."""
    async with Served() as served:
        yield served


async def test_a_definition_is_stored_once_for_equal_content(api: Served) -> None:
    """New content makes a version, equal content does not, however it is written."""
    first = await api.put(booking())
    assert (first.status, first.headers["Location"]) == (201, "/v1/definitions/booking")
    assert first.json == {"name": "booking", "version": 1, "created": True, "warnings": []}

    again = await api.put(dict(reversed(booking().items())))
    assert (again.status, again.json["version"], again.json["created"]) == (200, 1, False)

    changed = await api.put(booking(due="5m"))
    assert (changed.status, changed.json["version"]) == (201, 2)


@pytest.mark.parametrize("kind", ["application/yaml", "application/x-yaml", "text/yaml"])
async def test_yaml_is_taken_under_its_three_names(api: Served, kind: str) -> None:
    """YAML and JSON of the same definition are the same definition."""
    put = await api.ask("PUT", "/v1/definitions/booking", body=YAML, Content_Type=kind)
    assert put.status == 201, put.text


async def test_every_problem_is_listed_with_its_line(api: Served) -> None:
    """A person mends a definition in one go."""
    wrong = YAML.replace("compensation: none", "compensation: none\n    colour: red").replace(
        "path: /seat", 'path: "/${input.a}", timeout: soon'
    )
    put = await api.ask("PUT", "/v1/definitions/booking", body=wrong, Content_Type="application/yaml")
    assert (put.status, put.type) == (422, "definition-invalid")
    found = {each["pointer"]: each["line"] for each in put.json["errors"]}
    assert found == {"/steps/0/action/timeout": 6, "/steps/0/colour": 8}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("{", "application/json"),
        ('{"name": "booking", "name": "booking"}', "application/json"),
        ('{"name": NaN}', "application/json"),
        (b"\xff\xfe\xfa", "application/json"),
        ('{"name": "\\ud800"}', "application/json"),
        ("[" * 100_000, "application/json"),
        ("a: &x 1\nb: *x", "application/yaml"),
        ("a: 1\na: 2", "application/yaml"),
        ("- [", "application/yaml"),
        ("[]", "application/json"),
        ("", "application/json"),
        ("", "application/yaml"),
    ],
)
async def test_what_is_no_document_is_a_problem_and_never_an_error(
    api: Served, body: str | bytes, kind: str
) -> None:
    """Bombs, broken text and repeated keys are refused as a document at fault."""
    put = await api.ask("PUT", "/v1/definitions/booking", body=body, Content_Type=kind)
    assert (put.status, put.type) == (422, "definition-invalid")
    assert put.json["errors"]


async def test_wrong_kinds_and_sizes_of_bodies_are_refused(api: Served) -> None:
    """415 for what is neither JSON nor YAML, 413 for more than a megabyte."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
        put = await api.ask("PUT", "/v1/definitions/booking", body="{}", Content_Type=kind)
        assert (put.status, put.type) == (415, "unsupported-media-type")
    big = await api.ask("PUT", "/v1/definitions/booking", body=b" " * 1_048_577)
    assert (big.status, big.type) == (413, "too-large")
    for coding in ("br", "gzip", "deflate", "zstd", "x"):
        zipped = await api.ask("PUT", "/v1/definitions/booking", body=b"x", Content_Encoding=coding)
        assert (zipped.status, zipped.type) == (415, "unsupported-media-type")


async def test_the_name_in_the_address_is_the_definitions_own(api: Served) -> None:
    """A definition cannot be stored under another name."""
    put = await api.ask("PUT", "/v1/definitions/other", booking())
    assert (put.status, put.pointers) == (422, ["/name"])


async def test_a_dry_run_checks_and_stores_nothing(api: Served) -> None:
    """It says which version there would be."""
    path = "/v1/definitions/booking?dry_run=true"
    tried = await api.ask("PUT", path, booking())
    assert tried.status == 200
    assert tried.json == {"name": "booking", "version": 1, "created": True, "warnings": [], "dry_run": True}
    assert (await api.get("/v1/definitions/booking")).status == 404

    await api.put(booking())
    same = await api.ask("PUT", path, booking())
    assert (same.json["version"], same.json["created"]) == (1, False)
    assert (await api.ask("PUT", path, booking(colour=1))).status == 422
    assert (await api.ask("PUT", "/v1/definitions/booking?dry_run=perhaps", booking())).status == 422


async def test_what_a_later_release_executes_is_refused_by_this_one(api: Served) -> None:
    """It is understood, and said to be not executed yet."""
    steps = [{"name": "approval", "signal": {"name": "approval"}}]
    put = await api.put({"name": "booking", "steps": steps})
    assert (put.status, put.type, put.pointers) == (422, "not-yet-executed", ["/steps/0/signal"])


async def test_definitions_are_listed_and_shown_by_version(api: Served) -> None:
    """The latest of each by name, in pages; and each version as it was stored."""
    for name in ("a", "b", "c"):
        await api.put(booking(name=name))
    await api.put(booking(name="b", due="5m"))

    first = (await api.get("/v1/definitions?limit=2")).json
    assert [(each["name"], each["version"]) for each in first["items"]] == [("a", 1), ("b", 2)]
    second = (await api.get(f"/v1/definitions?limit=2&cursor={first['next']}")).json
    assert ([each["name"] for each in second["items"]], second["next"]) == (["c"], None)

    await api.ask("DELETE", "/v1/definitions/b")
    again = (await api.get(f"/v1/definitions?limit=2&cursor={first['next']}")).json
    assert [each["name"] for each in again["items"]] == ["c"]
    await api.put(booking(name="b", due="5m"))

    shown = (await api.get("/v1/definitions/b")).json
    assert (shown["version"], shown["definition"]["due"]) == (3, "5m")
    assert (await api.get("/v1/definitions/b?version=1")).json["definition"].get("due") is None
    again = await api.ask("PUT", "/v1/definitions/b", shown["definition"])
    assert again.status == 200
    listed = (await api.get("/v1/definitions/b/versions")).json
    assert [each["version"] for each in listed["items"]] == [3, 2, 1]
    page = (await api.get("/v1/definitions/b/versions?limit=2")).json
    assert [each["version"] for each in page["items"]] == [3, 2]
    page = (await api.get(f"/v1/definitions/b/versions?cursor={page['next']}")).json
    assert ([each["version"] for each in page["items"]], page["next"]) == ([1], None)


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/v1/definitions/none", 404, "definition-unknown"),
        ("/v1/definitions/none/versions", 404, "definition-unknown"),
        ("/v1/definitions/booking?version=2", 404, "version-unknown"),
        ("/v1/definitions/booking?version=0", 422, "parameter-invalid"),
        ("/v1/definitions/booking?version=x", 422, "parameter-invalid"),
        ("/v1/definitions/booking?version=1&version=1", 422, "parameter-invalid"),
        ("/v1/definitions/booking?version=99999999999999999999", 422, "parameter-invalid"),
        ("/v1/definitions/booking?colour=red", 422, "parameter-invalid"),
        ("/v1/definitions?limit=0", 422, "parameter-invalid"),
        ("/v1/definitions?limit=201", 422, "parameter-invalid"),
        ("/v1/definitions?cursor=%C3%A4", 422, "parameter-invalid"),
        ("/v1/definitions/booking/versions?limit=201", 422, "parameter-invalid"),
        ("/v1/definitions/booking/versions?cursor=7", 422, "parameter-invalid"),
        ("/v1/definitions/%00", 404, "definition-unknown"),
        ("/v1/definitions/%ed%a0%80", 404, "definition-unknown"),
    ],
)
async def test_wrong_questions_get_a_problem(api: Served, path: str, status: int, kind: str) -> None:
    """Unknown is 404, malformed or out of range is 422."""
    await api.put(booking())
    answer = await api.get(path)
    assert (answer.status, answer.type) == (status, kind)


async def test_a_deleted_definition_starts_nothing_until_it_is_put_again(api: Served) -> None:
    """Its versions stay readable, and the next one takes the next number."""
    await api.put(booking())
    assert (await api.ask("DELETE", "/v1/definitions/booking")).status == 204

    start = await api.post("/v1/sagas", {"definition": "booking", "input": {"n": 1}})
    assert (start.status, start.type) == (404, "definition-deleted")
    assert (await api.get("/v1/definitions/booking")).type == "definition-deleted"
    assert (await api.get("/v1/definitions/booking?version=1")).json["deleted"] is True
    assert (await api.get("/v1/definitions")).json["items"] == []
    assert (await api.ask("DELETE", "/v1/definitions/booking")).type == "definition-deleted"
    assert (await api.ask("DELETE", "/v1/definitions/none")).type == "definition-unknown"

    again: Any = (await api.put(booking())).json
    assert (again["version"], again["created"]) == (2, True)
    started = await api.post("/v1/sagas?wait=5s", {"definition": "booking", "input": {"n": 1}})
    assert (started.status, started.json["definition"]["version"]) == (200, 2)
