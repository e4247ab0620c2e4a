"""Sagas as they are: one, its journal, what would be undone, and lists."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from aiohttp import web
from pydantic_core import from_json, to_json

from saga.api import bodies, parameters
from saga.api.keys import CALLBACK_KEY, CATALOGUE, POST, SETTINGS, STORE
from saga.changes import Seen
from saga.core import remains, undo_plans, views
from saga.core.journal import replay
from saga.core.masking import veil
from saga.core.statuses import Status
from saga.errors import UnreadableJournal
from saga.language.model import SagaDefinition
from saga.ports.stored import Listed, Query, Record
from saga.post import Loaded

AT: Final = parameters.whole("at", "Show the saga as it was after this entry of its journal.", 1)
STATUS: Final = parameters.words(
    "status", "Only sagas in one of these statuses.", (status.value for status in Status)
)
DEFINITION: Final = parameters.text("definition", "Only sagas of the definition of this name.")
#: Parameters of one saga.
VIEWS: Final = parameters.known(AT, later=["reveal"])
#: Filters of lists; those of labels, ``label.<name>``, are not in this release either.
FILTERS: Final = parameters.known(
    STATUS, DEFINITION, parameters.PAGE_SIZE, parameters.CURSOR,
    later=["late", "started_after", "started_before", "start_key", "q"],
)  # fmt: skip
_PROOF: Final = 9


async def show(request: web.Request) -> web.Response:
    """Show one saga, as it is or as it was after an entry.

    When its journal cannot be read, what lists show of it, with the problem; as it was before, all of it.
    """
    try:
        return await _show(request)
    except UnreadableJournal as error:
        return await _show_remains(request, error)


async def _show(request: web.Request) -> web.Response:
    if not request.query_string:
        return bodies.json_response(shown(await found(request, bodies.saga_id_of(request))))
    at = AT.of(parameters.query_of(request, VIEWS))
    loaded = await _loaded(request)
    if at is None:
        return bodies.json_response(shown(loaded.seen))
    if at > len(loaded.entries):
        raise AT.refused(f"the journal has {len(loaded.entries)} entries")
    state = replay(loaded.entries[:at])
    return bodies.json_response(shown(loaded.seen._replace(state=state)))


async def journal(request: web.Request) -> web.Response:
    """Show every entry of a saga's journal; when one cannot be read, with the problem."""
    query = parameters.query_of(request, parameters.PAGING)
    problem: dict[str, str] | None = None
    try:
        loaded = await _loaded(request)
        shown_entries = views.journal(loaded.definition, loaded.state, loaded.entries)
    except UnreadableJournal as error:
        _, left, definition = await _remains(request)
        shown_entries, problem = remains.journal(left, definition), _problem(left, error)
    entries = {str(entry["seq"]): entry for entry in shown_entries}
    numbers, cursor = parameters.paged(query, list(entries), len(entries))
    page = {"items": [entries[number] for number in numbers], "next": cursor}
    return bodies.json_response(page if problem is None else page | {"problem": problem})


async def plan(request: web.Request) -> web.Response:
    """Show what would be sent if the saga were cancelled now."""
    seen = await found(request, bodies.saga_id_of(request))
    own = {name: service.url for name, service in seen.definition.services.items()}
    addresses = {**own, **request.app[SETTINGS].service}
    planned = undo_plans.plan(seen.definition, seen.state, addresses)
    return bodies.json_response(veil(seen.definition, seen.state).over(planned))


async def find(request: web.Request) -> web.Response:
    """List summaries, newest first."""
    labels = {name: None for name in request.query if name.startswith("label.")}
    query = parameters.query_of(request, {**FILTERS, **labels})
    limit = parameters.PAGE_SIZE.of(query) or parameters.LIMIT
    wanted = Query(
        statuses=_statuses(query),
        definition=DEFINITION.of(query),
        limit=limit + 1,
        after=_after(request, parameters.CURSOR.of(query)),
    )
    rows = await request.app[STORE].list(wanted) if _is_plain(wanted.definition) else []
    cursor = _cursor(request, rows[limit - 1]) if len(rows) > limit else None
    return bodies.page([_summary(row) for row in rows[:limit]], cursor)


# one saga


async def found(request: web.Request, saga_id: str) -> Seen:
    """Return the saga; refuse an id that no saga has."""
    seen = await request.app[POST].see(saga_id)
    if seen is None:
        raise bodies.unknown_saga()
    return seen


async def _loaded(request: web.Request) -> Loaded:
    loaded = await request.app[POST].load(bodies.saga_id_of(request))
    if loaded is None:
        raise bodies.unknown_saga()
    return loaded


def shown(seen: Seen) -> dict[str, Any]:
    """Return the saga as clients see it."""
    return views.saga(seen.definition, seen.state, owner=seen.owner, fence=seen.fence)


# one whose journal cannot be read


async def _show_remains(request: web.Request, error: UnreadableJournal) -> web.Response:
    at = AT.of(parameters.query_of(request, VIEWS)) if request.query_string else None
    record, left, definition = await _remains(request)
    if at is None:
        row = Listed(id=record.id, owner=record.owner, fence=record.fence, summary=record.summary)
        return bodies.json_response(_summary(row) | {"problem": _problem(left, error)})
    if definition is None or at > len(left.entries):
        raise AT.refused(_problem(left, error)["detail"])
    return bodies.json_response(
        shown(Seen(definition, replay(left.entries[:at]), record.owner, record.fence))
    )


async def _remains(request: web.Request) -> tuple[Record, remains.Remains, SagaDefinition | None]:
    """Return the saga as stored, how far its journal can be read, and its definition if that can be."""
    record = await request.app[STORE].load(bodies.saga_id_of(request))
    if record is None:
        raise bodies.unknown_saga()
    left = remains.remains(record.format, record.entries)
    definition = None
    if left.state is not None:
        with suppress(UnreadableJournal):
            definition = await request.app[CATALOGUE].running(left.state.definition, left.state.version)
    return record, left, definition


def _problem(left: remains.Remains, error: UnreadableJournal) -> dict[str, str]:
    read = f"{len(left.entries)} of its {len(left.bodies)} entries can be read"
    return {"type": "journal-unreadable", "detail": f"{error}; {read}"}


# lists


def _statuses(query: parameters.Given) -> frozenset[str] | None:
    """Return the statuses asked for: words with commas between, or given again."""
    if "status" not in query:
        return None
    return STATUS.of({"status": [",".join(query["status"])]})


def _is_plain(name: str | None) -> bool:
    return name is None or (name.isascii() and "\0" not in name)


def _summary(row: Listed) -> dict[str, Any]:
    summary = row.summary
    return {
        "id": row.id,
        "definition": {"name": summary.definition, "version": summary.version},
        "status": summary.status,
        "late": summary.late,
        **views.listed(summary),
        "started_at": views.when(summary.started_at),
        "updated_at": views.when(summary.updated_at),
        "ended_at": views.when(summary.ended_at),
        "owner": row.owner,
        "fence": row.fence,
    }


def _proof(request: web.Request, said: bytes) -> bytes:
    return hmac.digest(request.app[CALLBACK_KEY], b"cursor:" + said, sha256)[:_PROOF]


def _cursor(request: web.Request, row: Listed) -> str:
    """Return where the page ends; proved, so that nobody makes one up."""
    said = to_json([row.summary.started_at, row.id])
    return urlsafe_b64encode(_proof(request, said) + said).decode().rstrip("=")


def _after(request: web.Request, cursor: str | None) -> tuple[float, str] | None:
    if cursor is None:
        return None
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except ValueError:
        text = b""
    proof, said = text[:_PROOF], text[_PROOF:]
    if not hmac.compare_digest(proof, _proof(request, said)):
        raise parameters.foreign_cursor()
    started_at, saga_id = from_json(said)
    return float(started_at), saga_id
