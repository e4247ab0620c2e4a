"""The description of the API: it is valid, it is the router's, and real answers are as it says."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import openapi_spec_validator
import pytest

from saga.api.commands import COMMANDS
from saga.api.openapi import as_json, document
from saga.api.problem_types import PROBLEM_TYPES
from saga.core.commands import Command
from saga.core.entries import KINDS
from tests import conforming
from tests.served import Served, answering, booking

SAGA = Path(__file__).resolve().parents[2] / "saga"
#: What no route of its own answers: wrong addresses, methods and framing; and what is found out before it is judged.
NOT_OF_A_ROUTE = {"not-found", "method-not-allowed", "malformed-request", "step-missing", "outcome-missing"}


@pytest.fixture
async def api() -> AsyncIterator[Served]:
    """Serve one definition."""
    async with Served(answering()) as served:
        await served.put(booking())
        yield served


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return method, path and operation of each that is described."""
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def everywhere(value: Any) -> Iterator[dict[str, Any]]:
    """Return every object in a document."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from everywhere(each)


# --------------------------------------------------------------------------- the document


@pytest.mark.slow
def test_the_document_is_valid() -> None:
    """By the schema of OpenAPI 3.1."""
    openapi_spec_validator.validate(document())
    assert json.loads(as_json()) == json.loads(json.dumps(document()))


async def test_every_route_is_described_and_nothing_else(api: Served) -> None:
    """The router's own list, with the commands in place of their parameter; a HEAD goes with each GET."""
    found: set[tuple[str, str]] = set()
    for route in api.app.router.routes():
        info = route.get_info()
        path = info.get("formatter") or info["path"]
        for command in COMMANDS if "{command}" in path else [""]:
            found.add((route.method, path.replace("{command}", command)))
    described = {(method, path) for method, path, _ in operations()}
    assert found == described | {("HEAD", path) for method, path in described if method == "GET"}


async def test_it_is_served_as_it_is_made(api: Served) -> None:
    """At the address that everybody tries."""
    answer = await api.get("/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == json.loads(as_json())


@pytest.mark.slow
def test_it_is_made_only_when_it_is_asked_for() -> None:
    """A process that serves nothing, or is never asked, does not pay for it."""
    code = "import saga.app, sys; print([m for m in sys.modules if m in ('saga.api.openapi', 'saga.api.examples')])"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"


def test_every_operation_has_its_own_name_a_summary_and_every_parameter_of_its_path() -> None:
    """Names are for programs that are made of the document."""
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z_]+", name) for name in names)
    for _, path, operation in operations():
        assert operation["summary"].endswith("."), path
        given = {each["name"] for each in operation["parameters"] if each.get("in") == "path"}
        assert given == set(re.findall(r"{(\w+)}", path))


def test_every_component_is_referred_to() -> None:
    """And every reference leads somewhere."""
    whole = document()
    used = {each["$ref"] for each in everywhere(whole) if isinstance(each.get("$ref"), str)}
    used |= {each for one in everywhere(whole) for each in one.get("mapping", {}).values()}
    there = {
        f"#/components/{kind}/{name}"
        for kind, members in whole["components"].items()
        if kind != "securitySchemes"
        for name in members
    }
    framework = {f"#/components/examples/{kind}" for kind in NOT_OF_A_ROUTE}
    assert used == there - framework


@pytest.mark.slow
def test_every_example_is_what_it_is_an_example_of() -> None:
    """Bodies and answers alike."""
    whole = document()
    shown = [each for each in everywhere(whole["paths"]) if "schema" in each and "examples" in each]
    assert len(shown) > 100
    for media in shown:
        valid = jsonschema_rs.Draft202012Validator(
            media["schema"] | {"components": whole["components"]}, validate_formats=True
        )
        for example in media["examples"].values():
            name = example["$ref"].rpartition("/")[2]
            valid.validate(whole["components"]["examples"][name]["value"])


def test_every_kind_of_entry_is_described() -> None:
    """By its name in journals."""
    schemas = document()["components"]["schemas"]
    assert set(schemas["Entry"]["discriminator"]["mapping"]) == set(KINDS)
    assert {schemas[entry.__name__]["properties"]["kind"]["const"] for entry in KINDS.values()} == set(KINDS)


# --------------------------------------------------------------------------- problems


def test_every_type_of_problem_is_described_where_it_can_occur() -> None:
    """Those of the framework are nobody's."""
    described = {
        kind
        for _, _, operation in operations()
        for answer in operation["responses"].values()
        for media in answer.get("content", {}).values()
        for kind in media["schema"].get("properties", {}).get("type", {}).get("enum", ())
    }
    assert described == set(PROBLEM_TYPES) - NOT_OF_A_ROUTE


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    """Return the calls of that name in a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == name:
            yield node


def test_every_type_that_the_code_names_is_in_the_table() -> None:
    """Refusals of requests, and of commands by those who judge them."""
    named = {
        node.args[0].value
        for path in (SAGA / "api").glob("*.py")
        for name in ("Refusal", "invalid")
        for node in calls(path, name)
        if node.args and isinstance(node.args[0], ast.Constant)
    }
    judged = {
        node.args[0].value
        for node in calls(SAGA / "core" / "commands.py", "refused")
        if node.args and isinstance(node.args[0], ast.Constant)
    }
    assert len(named) > 20
    assert named <= set(PROBLEM_TYPES)
    assert judged == {kind for each in COMMANDS.values() for kind in each.refusals} | {
        "step-missing",
        "outcome-missing",
    }
    assert {PROBLEM_TYPES[kind].status for kind in judged} == {409}


def test_every_command_is_in_the_table() -> None:
    """Those that are judged are those that can be sent."""
    assert tuple(COMMANDS) == get_args(Command)


# --------------------------------------------------------------------------- what holds answers to it

SAID = {"Request-Id": "r", "Content-Type": "application/json"}
GOOD = {"items": [{"id": "a", "alive": True, "self": True}], "next": None}


@pytest.mark.parametrize(
    ("path", "status", "headers", "value"),
    [
        ("/v1/nodes", 204, SAID, GOOD),
        ("/v1/nodes", 200, {"Content-Type": "application/json"}, GOOD),
        ("/v1/nodes", 200, SAID | {"Content-Type": "text/plain"}, GOOD),
        ("/v1/nodes", 200, SAID | {"Retry-After": "1"}, GOOD),
        ("/v1/nodes", 200, SAID, GOOD | {"more": 1}),
        ("/v1/nodes", 200, SAID, {"items": [{"id": "a", "alive": True}], "next": None}),
        ("/v1/nodes", 200, SAID, {"items": [{"id": "a", "alive": 1, "self": True}], "next": None}),
        ("/v1/nodes", 404, SAID | {"Content-Type": "application/problem+json"}, {"type": "not-found"}),
        ("/v1/node", 200, SAID, GOOD),
    ],
)
def test_an_answer_that_is_not_described_is_found(
    path: str, status: int, headers: dict[str, str], value: Any
) -> None:
    """Status, header, type, a member too many, one too few, one of another kind."""
    conforming.check("GET", "/v1/nodes?x", 200, SAID, json.dumps(GOOD))
    with pytest.raises(AssertionError):
        conforming.check("GET", path, status, headers, json.dumps(value))
