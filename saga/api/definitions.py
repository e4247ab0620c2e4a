"""Definitions: stored, shown and deleted."""

from __future__ import annotations

import re
from typing import Any, Final

from aiohttp import web

from saga.api import bodies, parameters
from saga.api.keys import CATALOGUE
from saga.api.problems import listed
from saga.api.refusal import Refusal
from saga.catalogue import Version
from saga.core import views
from saga.errors import DefinitionInvalid, Problem
from saga.language.fields import NAME
from saga.language.model import SagaDefinition
from saga.ports.stored import StoredDefinition

_NAME: Final = re.compile(NAME)
DRY_RUN: Final = parameters.flag("dry_run", "Only check the definition, and say which version it would be.")
VERSION: Final = parameters.whole("version", "A version of the definition; without it the latest.", 1)
#: Parameters of a PUT, and of one definition.
DRY: Final = parameters.known(DRY_RUN)
VERSIONED: Final = parameters.known(VERSION)


async def put(request: web.Request) -> web.Response:
    """Store a definition as the next version, unless it equals the latest; or only check it."""
    query = parameters.query_of(request, DRY)
    dry = DRY_RUN.of(query)
    document, lines = await bodies.read_definition(request)
    name = request.match_info["name"]
    if isinstance(document, dict) and document.get("name", name) != name:
        detail = f"the definition is put under another name, {name[:80]!r}"
        raise DefinitionInvalid((Problem(pointer="/name", detail=detail, line=lines.get("/name")),))
    catalogue = request.app[CATALOGUE]
    definition, warnings = await bodies.aside(request, lambda: catalogue.check(document, lines))
    if dry:
        version, created = await catalogue.preview(definition)
        return bodies.json_response(_answer(name, version, warnings, created=created) | {"dry_run": True})
    done = await catalogue.put(definition, warnings)
    headers = {"Location": f"/v1/definitions/{name}"}
    answer = _answer(name, done.version.version, warnings, created=done.created)
    return bodies.json_response(answer, 201 if done.created else 200, headers)


async def find(request: web.Request) -> web.Response:
    """List the latest version of each definition, by name."""
    query = parameters.query_of(request, parameters.PAGING)
    limit, after = parameters.PAGE_SIZE.of(query) or parameters.LIMIT, parameters.CURSOR.of(query)
    if after is not None and not _NAME.fullmatch(after):
        raise parameters.foreign_cursor()
    # The definition a page ended with may be deleted by now; its name still says where to go on.
    rows = [each for each in await request.app[CATALOGUE].all() if each.name > (after or "")]
    cursor = rows[limit - 1].name if len(rows) > limit else None
    return bodies.page([_row(version) for version in rows[:limit]], cursor)


async def show(request: web.Request) -> web.Response:
    """Show a definition, as it was stored: the latest version, or the one that is asked for."""
    query = parameters.query_of(request, VERSIONED)
    number = VERSION.of(query)
    name = _name(request)
    version = await request.app[CATALOGUE].find(name, number)
    if version is None:
        kind = "definition-unknown" if number is None else "version-unknown"
        raise Refusal(kind, "there is no such definition" if number is None else "there is no such version")
    if version.deleted and number is None:
        raise _deleted(name)
    return bodies.json_response(_row(version) | {"definition": version.definition.document()})


async def versions(request: web.Request) -> web.Response:
    """List every version of a definition, newest first."""
    query = parameters.query_of(request, parameters.PAGING)
    stored = {str(each.version): each for each in await request.app[CATALOGUE].versions(_name(request))}
    if not stored:
        raise _unknown()
    numbers, cursor = parameters.paged(query, list(stored)[::-1], parameters.LIMIT)
    return bodies.page([_version(stored[number]) for number in numbers], cursor)


def _version(stored: StoredDefinition) -> dict[str, Any]:
    return {
        "name": stored.name,
        "version": stored.version,
        "created_at": views.when(stored.created_at),
        "deleted": stored.deleted,
    }


async def delete(request: web.Request) -> web.Response:
    """Allow no new starts of a definition; running sagas finish."""
    name, catalogue = _name(request), request.app[CATALOGUE]
    if not await catalogue.delete(name):
        raise _unknown() if await catalogue.find(name) is None else _deleted(name)
    return web.Response(status=204)


async def in_body(
    request: web.Request, document: dict[str, Any]
) -> tuple[SagaDefinition, tuple[Problem, ...]]:
    """Return a definition that was sent whole with a start, checked."""
    return await bodies.aside(request, lambda: request.app[CATALOGUE].check(document))


def _name(request: web.Request) -> str:
    name = request.match_info["name"]
    if not name.isascii() or "\0" in name:
        raise _unknown()
    return name


def _unknown() -> Refusal:
    return Refusal("definition-unknown", "there is no definition of this name")


def _deleted(name: str) -> Refusal:
    return Refusal("definition-deleted", f"{name} was deleted; its versions can still be read")


def _row(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "description": version.definition.description,
        "created_at": views.when(version.created_at),
        "deleted": version.deleted,
    }


def _answer(name: str, version: int, warnings: tuple[Problem, ...], *, created: bool) -> dict[str, Any]:
    return {"name": name, "version": version, "created": created, "warnings": listed(warnings)}
