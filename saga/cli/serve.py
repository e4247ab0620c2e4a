"""``saga serve``: the coordinator. Its flags are made of the one table of settings."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import click

from saga.cli.failures import Exit, Failure, end

if TYPE_CHECKING:
    from saga.settings import Setting


class _Serve(click.Command):
    """A command whose options are read from the table of settings once they are asked for."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return an option for each setting."""
        if not self.params:
            self.params = list(_options())
        return super().get_params(ctx)


def _options() -> Iterator[click.Parameter]:
    from saga.settings import SETTINGS

    for setting in SETTINGS:
        unit = setting.unit.partition(",")[0].upper().replace(" OR ", "|")
        metavar = "NAME=VALUE" if setting.family else unit
        yield click.Option(
            [setting.flag, setting.name], metavar=metavar, multiple=setting.family, help=_help(setting)
        )
    # For a parent that starts it: when the parent has gone, however, it stops.
    yield click.Option(["--watch-stdin"], is_flag=True, hidden=True)


def _help(setting: Setting) -> str:
    default = f"; default: {setting.default_text}" if setting.default_text else ""
    return f"{setting.meaning}  [{setting.variable}{default}]"


def _serve(*, watch_stdin: bool, **given: Any) -> None:
    """Run a coordinator until SIGTERM or Ctrl-C.

    Every setting is an environment variable as well; a flag comes before it.
    """
    from saga.errors import SettingsInvalid
    from saga.settings import load_settings

    try:
        settings = load_settings(os.environ, _flags(given))
    except SettingsInvalid as invalid:
        problems = [f"{problem.pointer}: {problem.detail}" for problem in invalid.problems]
        raise Failure("these settings do not do:", Exit.USAGE, problems) from None
    if watch_stdin:
        Thread(target=_stop_at_end_of_input, daemon=True).start()
    from saga.server import run

    end(run(settings))


def _flags(given: Mapping[str, Any]) -> Mapping[str, str | Mapping[str, str]]:
    return {
        name: value if isinstance(value, str) else dict(map(_pair, value))
        for name, value in given.items()
        if value not in (None, ())
    }


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Failure(f"{text!r} lacks a name: write NAME=VALUE")
    return name, value


def _stop_at_end_of_input() -> None:
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


commands: Mapping[str, click.Command] = {"serve": _Serve("serve", callback=_serve, help=_serve.__doc__)}
