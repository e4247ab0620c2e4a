"""Commands that start a saga: ``start`` and ``rerun``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from saga.cli import options, output
from saga.cli.failures import Failure, Refused, Unreachable, end
from saga.cli.follow import Saga, exit_code, follow, print_saga, saga_path, watch
from saga.cli.output import clean

if TYPE_CHECKING:
    from saga.cli.http import Answer, Api

#: Times a start is sent whose answer is lost, under one id or start key, and the seconds between.
_SENDINGS, _PAUSE = 3, 0.5
_NAMELESS = (
    "name the definition, and give the saga its input, as in 'saga start flight_booking -f flight=LH1 -f amount=120'"
    " or 'saga start flight_booking -i input.json'; 'saga definitions' lists those there are"
)


@click.command()
@click.argument("name", required=False, metavar="NAME")
@options.payload_options("input")
@click.option(
    "--version", type=click.IntRange(min=1), help="Version of the definition; the latest if not given."
)
@click.option(
    "--id", "saga_id", help="Id of the saga, made up if not given; starting it again starts nothing new."
)
@click.option("--key", help="Start key, in place of an id: starting again under it starts nothing new.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="What it is searched by.")
@options.following
@options.server
def start(
    api: Api,
    *,
    name: str | None,
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
    if name is None:
        raise click.UsageError(_NAMELESS)
    if saga_id is not None and key is not None:
        raise click.UsageError("--id takes the place of --key: give one of them")
    body = {
        "definition": name,
        "version": version,
        "input": options.payload(input_file, fields),
        "labels": options.read_labels(labels),
        # With an id or a start key a start can be repeated when its answer is lost.
        "id": saga_id if saga_id is not None or key is not None else _new_id(),
    }
    given = {name: value for name, value in body.items() if value is not None}
    try:
        answer = _start(api, "/v1/sagas", given, key)
    except Refused as refused:
        refused.problems += tuple(_advice(refused, given))
        raise
    _report_start(api, answer, **after)


def _advice(refused: Refused, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to try, where it is likely what was forgotten."""
    if refused.type == "input-invalid" and "input" not in given:
        yield "no input was given: give it with -f key=value, as often as needed, or with -i FILE"
    if refused.type == "definition-unknown":
        yield "'saga definitions' lists those there are; 'saga apply FILE' stores one, and its name is what is started"


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


def _new_id() -> str:
    import uuid_utils

    return str(uuid_utils.uuid7())


def _new_key() -> str:
    import secrets

    return f"cli-{secrets.token_hex(16)}"


def _start(api: Api, path: str, body: Mapping[str, Any], key: str | None) -> Answer:
    """Start, again if the answer was lost: under one id or start key it is one saga."""
    headers = {"Idempotency-Key": key} if key is not None else {}
    left = _SENDINGS
    while True:
        try:
            return api.send("POST", path, body, headers=headers)
        except Failure as failure:
            left -= 1
            if not _is_in_doubt(failure):
                raise
            if not left:
                again = f"--key {key}" if key is not None else f"--id {body['id']}"
                failure.problems += (f"it may have been started: ask again with {again}",)
                raise
        time.sleep(_PAUSE)


def _is_in_doubt(failure: Failure) -> bool:
    """Return whether a saga may have been started all the same."""
    if isinstance(failure, Refused):
        return failure.type == "start-unknown"
    return isinstance(failure, Unreachable) and failure.lost


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


commands: Mapping[str, click.Command] = {"start": start, "rerun": rerun}
