"""Commands that ask a server about definitions and sagas."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from saga.cli import options, output
from saga.cli.failures import Exit, Failure, Refused, Unreachable, end
from saga.cli.follow import Saga, error_text, exit_code, follow, print_saga, saga_path, watch
from saga.cli.narrate import Entry
from saga.cli.options import segment
from saga.cli.output import Cell, clean

if TYPE_CHECKING:
    from saga.cli.http import Answer, Api

#: Most items of one page of a list.
_PAGE = 200
#: Times a start whose answer was lost is sent again, under its start key, and the seconds before each.
_AGAIN, _PAUSE = 3, 0.5

STATUSES = ("running", "compensating", "paused", "parked", "completed", "compensated", "abandoned")


# --------------------------------------------------------------------------- definitions


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--dry-run", is_flag=True, help="Have the server check them, and store nothing.")
@options.server
def apply(api: Api, *, files: Sequence[str], dry_run: bool, as_json: bool) -> None:
    """Store definitions.

    A definition equal to its latest version changes nothing; a different one becomes the next version.
    """
    stored, code = [], Exit.YES
    for path in files:
        try:
            stored.append(_apply(api, path, dry_run=dry_run, as_json=as_json))
        except Failure as failure:
            if len(files) == 1 or isinstance(failure, Unreachable):
                raise
            output.failure(failure, as_json=as_json)
            code = max(code, failure.code)
    if as_json:
        output.document({"definitions": stored})
    end(code)


def _apply(api: Api, path: str, *, dry_run: bool, as_json: bool) -> Mapping[str, Any]:
    from saga.cli.files import read_source, refusal
    from saga.errors import DefinitionInvalid

    try:
        source = read_source(path)
    except DefinitionInvalid as invalid:
        raise refusal(path, invalid.problems) from None
    name = source.value.get("name") if isinstance(source.value, dict) else None
    if not isinstance(name, str):
        raise Failure(f"{path} has no name: write name: … at its top")
    query = {"dry_run": "true" if dry_run else None}
    headers = {"Content-Type": source.content_type}
    try:
        answer = api.send(
            "PUT", f"/v1/definitions/{segment(name)}", source.text, query=query, headers=headers
        )
    except Refused as refused:
        raise refused.located(path, source.lines) from None
    if not as_json:
        _print_applied(path, answer, dry_run=dry_run)
    return {"file": path, **answer.body}


def _print_applied(path: str, answer: Answer, *, dry_run: bool) -> None:
    body = answer.body
    for warning in body.get("warnings") or ():
        output.line(
            f"{path}: warning: {clean(warning.get('pointer'))}: {clean(warning.get('detail'))}", "yellow"
        )
    did = "would be" if dry_run else "stored as"
    what = (
        f"{did} version {body['version']}" if body.get("created") else f"unchanged, version {body['version']}"
    )
    output.line(f"{clean(body['name'])}: {what}", "green")


@click.command()
@options.server
def definitions(api: Api, as_json: bool) -> None:
    """List the definitions sagas can be started from."""
    items = list(_items(api, "/v1/definitions", {}))
    if as_json:
        output.document({"items": items})
    else:
        rows = [(item["name"], str(item["version"]), clean(item.get("description"))) for item in items]
        output.table(("name", "version", "description"), rows)


# --------------------------------------------------------------------------- starting


@click.command()
@click.argument("name")
@options.payload_options("input")
@click.option(
    "--version", type=click.IntRange(min=1), help="Version of the definition; the latest if not given."
)
@click.option("--id", "saga_id", help="Id of the saga; starting it again starts nothing new.")
@click.option("--key", help="Start key: starting again under it starts nothing new. Made up if not given.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="What it is searched by.")
@options.following
@options.server
def start(
    api: Api,
    *,
    name: str,
    input_file: str | None,
    fields: Sequence[str],
    version: int | None,
    saga_id: str | None,
    key: str | None,
    labels: Sequence[str],
    **after: bool,
) -> None:
    """Start a saga.

    With --wait or --watch the exit code says how it went: 0 completed, 1 compensated, abandoned or parked.
    """
    if saga_id is not None and key is not None:
        raise click.UsageError("--id takes the place of --key: give one of them")
    body = {
        "definition": name,
        "version": version,
        "input": options.payload(input_file, fields),
        "labels": options.read_labels(labels),
        "id": saga_id,
    }
    given = {name: value for name, value in body.items() if value is not None}
    answer = _start(api, "/v1/sagas", given, None if saga_id is not None else key or _new_key())
    _report_start(api, answer, **after)


@click.command()
@click.argument("saga_id", metavar="ID")
@options.payload_options("input, in place of the first one's")
@click.option(
    "--version", type=click.IntRange(min=1), help="Version of the definition; the latest if not given."
)
@click.option("--key", help="Start key: running again under it starts nothing new. Made up if not given.")
@options.following
@options.server
def rerun(
    api: Api,
    *,
    saga_id: str,
    input_file: str | None,
    fields: Sequence[str],
    version: int | None,
    key: str | None,
    **after: bool,
) -> None:
    """Start a new saga from one that has ended, with its input."""
    body = {"input": options.payload(input_file, fields), "version": version}
    given = {name: value for name, value in body.items() if value is not None}
    _report_start(api, _start(api, f"{saga_path(saga_id)}/rerun", given, key or _new_key()), **after)


def _new_key() -> str:
    import secrets

    return f"cli-{secrets.token_hex(16)}"


def _start(api: Api, path: str, body: Mapping[str, Any], key: str | None) -> Answer:
    """Start, again if the answer was lost: under one id or start key it is one saga."""
    headers = {"Idempotency-Key": key} if key is not None else {}
    for again in range(_AGAIN):
        try:
            return api.send("POST", path, body, headers=headers)
        except Unreachable as failure:
            if not failure.lost or again == _AGAIN - 1:
                raise
        except Refused as refused:
            if refused.type != "start-unknown" or again == _AGAIN - 1:
                raise
        time.sleep(_PAUSE)
    raise AssertionError("the loop returns or raises")


def _report_start(api: Api, answer: Answer, *, wait: bool, watching: bool, as_json: bool) -> None:
    saga: Saga = answer.body
    if not wait and not watching:
        output.document(saga) if as_json else output.line(clean(saga["id"]))
        return
    if as_json or not watching:
        saga = follow(api, saga["id"], lambda _, __: None)
        output.document(saga) if as_json else print_saga(saga)
    else:
        output.line(clean(saga["id"]), bold=output.on_terminal())
        saga = watch(api, saga["id"])
    end(exit_code(saga))


# --------------------------------------------------------------------------- looking


@click.command()
@click.argument("saga_id", metavar="ID")
@options.server
def show(api: Api, saga_id: str, as_json: bool) -> None:
    """Show a saga: where it is, its steps, what went wrong."""
    saga = api.get(saga_path(saga_id))
    output.document(saga) if as_json else print_saga(saga)


@click.command(name="watch")
@click.argument("saga_id", metavar="ID")
@options.server
def watch_saga(api: Api, *, saga_id: str, as_json: bool) -> None:
    """Watch a saga until it has ended or is parked.

    Exit code 0 when it completed, 1 when it was compensated, abandoned or parked. With --json every entry of
    its journal is one line of JSON.
    """
    saga = follow(api, saga_id, _print_json) if as_json else watch(api, saga_id)
    end(exit_code(saga))


def _print_json(_saga: Saga, entries: Sequence[Entry]) -> None:
    for entry in entries:
        output.document_line(entry)


@click.command(name="list")
@click.option(
    "--status", multiple=True, type=click.Choice(STATUSES), help="Only sagas in this status, or these."
)
@click.option("--definition", metavar="NAME", help="Only sagas of this definition.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@options.server
def list_sagas(
    api: Api,
    *,
    status: Sequence[str],
    definition: str | None,
    limit: int,
    everything: bool,
    as_json: bool,
) -> None:
    """List sagas, newest first."""
    query = {"status": ",".join(status) or None, "definition": definition}
    found = _items(api, "/v1/sagas", query, None if everything else limit)
    if as_json:
        output.document({"items": list(found)})
    else:
        output.table(("id", "definition", "status", "progress", "started", "error"), map(_row, found))


def _row(saga: Saga) -> tuple[Cell | str, ...]:
    definition, progress = saga["definition"], saga["progress"]
    return (
        saga["id"],
        f"{definition['name']} v{definition['version']}",
        output.status(saga["status"], late=bool(saga.get("late"))),
        f"{progress['done']}/{progress['total']}",
        output.moment(saga.get("started_at")),
        error_text(saga.get("error")),
    )


def _items(
    api: Api, path: str, query: Mapping[str, Any], limit: int | None = None
) -> Iterator[Mapping[str, Any]]:
    """Yield the items of a list, page after page."""
    return islice(_pages(api, path, {**query, "limit": min(limit or _PAGE, _PAGE)}), limit)


def _pages(api: Api, path: str, query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    cursor: str | None = None
    while True:
        page = api.get(path, **query, cursor=cursor)
        yield from page["items"]
        cursor = page.get("next")
        if cursor is None:
            return


# --------------------------------------------------------------------------- telling


@click.command()
@click.argument("saga_id", metavar="ID")
@click.argument("name")
@options.payload_options("payload")
@options.server
def signal(
    api: Api, *, saga_id: str, name: str, input_file: str | None, fields: Sequence[str], as_json: bool
) -> None:
    """Send a signal to a saga; one that comes early is kept."""
    payload = options.payload(input_file, fields)
    answer = api.post(f"{saga_path(saga_id)}/signals/{segment(name)}", payload)
    output.document(answer.body) if as_json else output.line(
        f"{clean(saga_id)}: signal {clean(name)} is taken"
    )


commands: Mapping[str, click.Command] = {
    "apply": apply,
    "definitions": definitions,
    "start": start,
    "rerun": rerun,
    "show": show,
    "watch": watch_saga,
    "list": list_sagas,
    "signal": signal,
}
