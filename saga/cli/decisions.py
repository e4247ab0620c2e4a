"""What a person decides about a saga: ``pause``, ``resume``, ``cancel``, ``retry``, ``skip``, ``resolve``, ``abandon``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from saga.cli import options, output
from saga.cli.follow import Saga, headline, saga_path
from saga.cli.output import clean

if TYPE_CHECKING:
    from saga.cli.http import Api

_DONE = {
    "pause": "Send nothing until it is resumed.\n\nWhat arrives is recorded; timers stand still.",
    "resume": "Go on with what was paused.",
    "cancel": "Undo a saga that has not passed its pivot.",
    "retry": "Try again now, with a new budget.\n\nA saga that is parked, or waits for its next attempt.",
    "skip": "Leave an action or a compensation out.\n\nAn action that was never invoked, a parked compensation, or a parked step after the pivot.",
    "resolve": "Say what became of a parked action or compensation.\n\nBecause you found out, or did it by hand.",
    "abandon": "End a saga without undoing it.\n\nWhat is left at the participants stays there.",
}


def _command(name: str, *more: Callable[[Any], Any]) -> click.Command:
    @click.argument("saga_id", metavar="ID")
    @click.option("--reason", help="Why; it is kept in the journal.")
    @options.server
    def run(
        api: Api, saga_id: str, as_json: bool, given_output: str | None = None, **given: str | None
    ) -> None:
        body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if given_output is not None:
            body["output"] = options.read_text(given_output)
        answer = api.post(f"{saga_path(saga_id)}/{name}", body)
        _report(name, saga_id, answer.status, answer.body, as_json=as_json)

    command: Any = run
    for option in more:
        command = option(command)
    return click.command(name, help=_DONE[name])(command)


def _report(name: str, saga_id: str, status: int, saga: Saga, *, as_json: bool) -> None:
    if as_json:
        output.document(saga)
    elif status == 202:
        output.line(
            f"{clean(saga_id)}: {name} is recorded; the coordinator that has the saga has not answered yet"
        )
    else:
        output.line(headline(saga), output.COLOURS.get(saga["status"]))
        for child in saga.get("children") or ():
            output.line(f"still running: child {clean(child)}", "yellow")


_STEP = click.option("--step", metavar="STEP", help="Which step; every one that can be if not given.")
_THE_STEP = click.option("--step", metavar="STEP", required=True, help="Which step.")
_OUTCOME = click.option(
    "--outcome",
    type=click.Choice(["succeeded", "refused", "undone"]),
    required=True,
    help="What became of it: of an action succeeded or refused, of a compensation undone.",
)
_OUTPUT = click.option(
    "--output", "given_output", metavar="JSON", help="Output of the step, when it succeeded."
)

commands: Mapping[str, click.Command] = {
    "pause": _command("pause"),
    "resume": _command("resume"),
    "cancel": _command("cancel"),
    "retry": _command("retry", _STEP),
    "skip": _command("skip", _THE_STEP),
    "resolve": _command("resolve", _OUTPUT, _OUTCOME, _THE_STEP),
    "abandon": _command("abandon"),
}
