"""The command ``saga``.

A command's module is imported when the command is run or asked for help, and what a command needs is imported
inside it: ``saga --help`` loads click and little else. A new command is one line in :data:`COMMANDS`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from saga.cli import output
from saga.cli.failures import Exit, Failure
from saga.cli.options import wants_json

#: Heading → command → module of this package that holds it, under its own name.
COMMANDS: Mapping[str, Mapping[str, str]] = {
    "Try it, and run it": {"demo": "demo", "serve": "serve", "bench": "bench", "health": "health"},
    "Definitions": {
        "validate": "offline",
        "simulate": "offline",
        "graph": "offline",
        "apply": "remote",
        "definitions": "remote",
    },
    "Sagas": {
        "start": "starting",
        "list": "remote",
        "show": "remote",
        "watch": "remote",
        "signal": "remote",
        "rerun": "starting",
    },
    "What a person decides": dict.fromkeys(
        ("pause", "resume", "cancel", "retry", "skip", "resolve", "abandon"), "decisions"
    ),
}


class Commands(click.Group):
    """The commands of :data:`COMMANDS`, each imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return every name, in the order of the headings."""
        return [name for group in COMMANDS.values() for name in group]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- likewise
        """Import the command of that name; None when there is none."""
        module = next((group[cmd_name] for group in COMMANDS.values() if cmd_name in group), None)
        if module is None:
            return None
        found: click.Command = import_module(f"saga.cli.{module}").commands[cmd_name]
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        for heading, group in COMMANDS.items():
            commands = [(name, self.get_command(ctx, name)) for name in group]
            rows = [
                (name, command.get_short_help_str(80)) for name, command in commands if command is not None
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it fails with becomes a few lines and an exit code."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            output.failure(failure, as_json=wants_json(ctx))
            raise click.exceptions.Exit(failure.code) from None


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(version("saga-coordinator"))
        ctx.exit()


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of a defect.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show it."
)
def saga(debug: bool) -> None:
    """Coordinate sagas: calls to your services that are undone when they cannot be finished.

    Exit codes: 0 yes; 1 the saga was compensated, abandoned or parked, or a command does not fit it;
    2 usage, or a document at fault; 3 the server cannot be reached.
    """
    del debug  # read in main(), where a defect ends up


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(_code(list(sys.argv[1:] if arguments is None else arguments)))


def _code(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return _pipe_closed()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        if "--debug" in arguments:
            raise
        click.echo(f"saga: a defect: {type(error).__name__}: {error}; 'saga --debug …' shows where", err=True)
        return Exit.DEFECT


def _run(arguments: list[str]) -> int:
    try:
        code = saga.main(arguments, prog_name="saga", standalone_mode=False)
    except SystemExit:
        # So click ends when the pipe it prints to is closed.
        raise BrokenPipeError from None
    sys.stdout.flush()
    return code if isinstance(code, int) else Exit.YES


def _pipe_closed() -> int:
    """Let the interpreter flush into nothing at its end, so that it has nothing to complain about."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.PIPE_CLOSED
