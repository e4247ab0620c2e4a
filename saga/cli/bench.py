"""``saga bench``: how fast this machine is, and what durability costs on it."""

from __future__ import annotations

from typing import Any

import click

from saga.cli import output


@click.command("bench")
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=10.0, show_default=True, help="How long a load lasts."
)
@click.option("--at-once", type=click.IntRange(1, 1000), default=64, show_default=True, help="Sagas at once.")
@click.option("--sagas", type=click.IntRange(0), default=0, help="Run so many instead of for so long.")
@click.option("--durability", type=click.Choice(["full", "fast"]), default="full", show_default=True)
@click.option(
    "--no-tracing", is_flag=True, help="Without a trace collector; by default every saga is traced."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def _bench(
    *, seconds: float, at_once: int, sagas: int, durability: str, no_tracing: bool, as_json: bool
) -> None:
    """Measure sagas a second here, beside a bare service that makes the same calls.

    Participants, load and trace collector are processes of their own, and share the machine with the coordinator.
    """
    from saga.bench.run import Options, run

    options = Options(
        seconds=seconds, at_once=at_once, sagas=sagas, durability=durability, tracing=not no_tracing
    )
    figures = run(options, lambda text: click.echo(f"… {text}", err=True))
    if as_json:
        output.document(figures)
        return
    for line in _lines(figures):
        click.echo(line)


def _lines(figures: dict[str, Any]) -> list[str]:
    wrong = f"   not completed: {figures['wrong']}" if figures["wrong"] else ""
    return [
        f"machine        {figures['machine']}; a sync of the disk takes {figures['fdatasync_ms']:.2f} ms",
        f"settings       {figures['at_once']} at once, durability {figures['durability']}, tracing {figures['tracing']}",
        f"sagas          {figures['rate']:.0f}/s   p50 {figures['p50_ms']:.1f} ms   p99 {figures['p99_ms']:.1f} ms{wrong}",
        (
            f"bare calls     {figures['yardstick_rate']:.0f}/s   p99 {figures['yardstick_p99_ms']:.1f} ms   "
            f"{figures['yardstick_cpu_ms']:.2f} ms CPU for the same three calls"
        ),
        f"ratio          {figures['ratio']:.2f} of the bare service",
        f"coordinator    {figures['cpu_ms']:.2f} ms CPU a saga   {figures['appends_per_saga']:.2f} appends a saga",
        f"commits        {figures['commits']} for {figures['sagas']} sagas",
        f"one at a time  {figures['one_p50_ms']:.1f} ms, {figures['over_bare_per_step_ms']:.2f} ms a step over bare",
        f"memory         {figures['memory_idle_mb']:.0f} MB idle   {figures['memory_mb']:.0f} MB after",
        f"spans          {figures['spans']} received",
    ]


commands = {"bench": _bench}
