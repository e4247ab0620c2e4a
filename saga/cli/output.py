"""How answers are printed: tables and colours on a terminal, plain lines in a pipe, JSON for programs.

In a pipe a row is its cells with tabs between them and without a heading, so that ``cut`` and ``awk`` read it.
Whatever comes from outside is made harmless: a terminal obeys control characters in a label as well.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from saga.cli.failures import Failure

if TYPE_CHECKING:
    from rich.table import Table

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\t")
#: Colours of statuses, of sagas, steps and compensations alike.
COLOURS = {
    "completed": "green",
    "succeeded": "green",
    "undone": "cyan",
    "compensated": "cyan",
    "resolved": "cyan",
    "running": "blue",
    "invoking": "blue",
    "compensating": "yellow",
    "waiting": "yellow",
    "paused": "yellow",
    "uncertain": "magenta",
    "parked": "red",
    "failed": "red",
    "refused": "red",
    "abandoned": "red",
    "pending": "bright_black",
    "skipped": "bright_black",
}

#: Headings of columns whose cells stay on one line.
_WHOLE = frozenset({"id", "name", "step", "definition", "status", "progress", "started"})


@dataclass(frozen=True, slots=True)
class Cell:
    """Text in a table, with its colour."""

    text: str
    colour: str | None = None


def status(name: str, *, late: bool = False) -> Cell:
    """Return a status as a cell."""
    return Cell(f"{name}, late" if late else name, "red" if late else COLOURS.get(name))


def on_terminal() -> bool:
    """Return whether a person looks at the output."""
    return sys.stdout.isatty()


def clean(value: Any) -> str:
    """Return a value as one line of text that no terminal obeys; a structure as JSON."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def line(text: str = "", colour: str | None = None, *, bold: bool = False) -> None:
    """Print one line; colours are left out where nobody sees them."""
    click.echo(click.style(text, fg=colour, bold=bold or None) if colour or bold else text)


def document(value: Any) -> None:
    """Print JSON: indented for a person, on one line for a program."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2 if on_terminal() else None))


def document_line(value: Any) -> None:
    """Print JSON on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def failure(failed: Failure, *, as_json: bool) -> None:
    """Print why a command cannot say yes, on standard error."""
    if as_json:
        click.echo(json.dumps(failed.document(), ensure_ascii=False), err=True)
        return
    first, *others = map(clean, failed.lines())
    click.echo(click.style("saga: ", fg="red") + first, err=True)
    for other in others:
        click.echo(other, err=True)


def table(
    headings: Sequence[str], rows: Iterable[Sequence[Cell | str]], *, always_headed: bool = False
) -> None:
    """Print rows as they come in a pipe, and as a table on a terminal; only that has headings, if not told else."""
    if on_terminal():
        from rich.console import Console

        Console().print(rich_table(headings, rows))
        return
    for row in [headings, *rows] if always_headed else rows:
        click.echo("\t".join(clean(_cell(cell).text) for cell in row))


def rich_table(headings: Sequence[str], rows: Iterable[Sequence[Cell | str]]) -> Table:
    """Return a table as rich draws it."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        # What a person copies from the screen, and short words, stay on one line.
        drawn.add_column(heading, overflow="fold", no_wrap=heading in _WHOLE)
    for row in rows:
        drawn.add_row(*(Text(clean(cell.text), style=cell.colour or "") for cell in map(_cell, row)))
    return drawn


def _cell(cell: Cell | str) -> Cell:
    return cell if isinstance(cell, Cell) else Cell(cell)


def moment(timestamp: str | None) -> str:
    """Return an RFC 3339 time as it is read best: the date and the seconds."""
    return timestamp[:19].replace("T", " ") if timestamp else ""


def clock(timestamp: str | None) -> str:
    """Return the time of day of an RFC 3339 time, with milliseconds."""
    return timestamp[11:23].rstrip("Z") if timestamp else ""
