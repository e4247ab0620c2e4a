"""Commands that ask a server about definitions and sagas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from saga.cli import options, output
from saga.cli.failures import Exit, Failure, Refused, Unreachable, end
from saga.cli.follow import Saga, error_text, exit_code, follow, print_saga, saga_path, watch
from saga.cli.narrate import Entry
from saga.cli.options import segment
from saga.cli.output import Cell, clean
from saga.core.statuses import Status

if TYPE_CHECKING:
    from saga.cli.http import Answer, Api

#: Most items of one page of a list.
_PAGE = 200
STATUSES = tuple(status.value for status in Status)


# definitions


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
    items = list(api.items("/v1/definitions", limit=_PAGE))
    if as_json:
        output.document({"items": items})
    else:
        rows = [(item["name"], str(item["version"]), clean(item.get("description"))) for item in items]
        output.table(("name", "version", "description"), rows)


# looking


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
    every = api.items(
        "/v1/sagas",
        status=",".join(status) or None,
        definition=definition,
        limit=_PAGE if everything else min(limit, _PAGE),
    )
    found = every if everything else islice(every, limit)
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


# telling


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
    "show": show,
    "watch": watch_saga,
    "list": list_sagas,
    "signal": signal,
}
