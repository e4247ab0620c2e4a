"""``saga health``: does a coordinator take work? For health checks and scripts that start one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from saga.cli import options, output
from saga.cli.failures import Exit, Failure, end

if TYPE_CHECKING:
    from saga.cli.http import Api

#: Seconds between two questions while one waits for a coordinator.
_EVERY = 0.1


@click.command()
@click.option(
    "--wait", "seconds", type=click.FloatRange(0, 3600), default=0.0, help="Seconds to wait until it does."
)
@options.server
def health(api: Api, *, seconds: float, as_json: bool) -> None:
    """Ask whether the coordinator takes work: exit code 0 when it does, 3 when not."""
    import time

    until = time.monotonic() + seconds
    while True:
        try:
            ready = api.get("/readyz")
            break
        except Failure as failure:
            if time.monotonic() >= until:
                output.failure(failure, as_json=as_json)
                end(Exit.UNREACHABLE)
            time.sleep(_EVERY)
    if as_json:
        output.document(ready)
    else:
        output.line("ready")


commands = {"health": health}
