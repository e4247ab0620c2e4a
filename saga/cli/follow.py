"""Following a saga until it has ended or is parked: a line per entry, or a table that is drawn anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from saga.cli import output
from saga.cli.failures import Exit, Unreachable
from saga.cli.narrate import Entry, sentence, tell
from saga.cli.options import segment
from saga.cli.output import Cell, clean

if TYPE_CHECKING:
    from rich.console import Group

    from saga.cli.http import Api

Saga = Mapping[str, Any]
Show = Callable[[Entry], None]

#: Statuses in which nothing more happens by itself.
AT_REST = frozenset({"completed", "compensated", "abandoned", "parked"})
#: Entries after which a look at the saga says whether it is at rest.
_TELLING = frozenset({"saga_completed", "saga_compensated", "saga_abandoned", "saga_parked"})
#: Times a lost stream is taken up again without an entry in between, and the seconds before each.
_LOSSES, _PAUSE = 5, 1.0


def saga_path(saga_id: str) -> str:
    """Return the path of a saga."""
    return f"/v1/sagas/{segment(saga_id)}"


def follow(api: Api, saga_id: str, show: Show) -> Saga:
    """Show every entry of a saga from the first on, and return the saga once it is at rest."""
    rest: Saga | None = None
    for entry in _entries(api, f"{saga_path(saga_id)}/events"):
        show(entry)
        if entry.get("kind") in _TELLING:
            rest = _at_rest(api, saga_id)
        # A saga that was parked and went on tells of both: only its last entry counts.
        if rest is not None and entry["at"] >= rest["updated_at"]:
            return rest
    return dict(api.get(saga_path(saga_id)))


def _at_rest(api: Api, saga_id: str) -> Saga | None:
    found: Saga = api.get(saga_path(saga_id))
    return found if found["status"] in AT_REST else None


def _entries(api: Api, path: str) -> Iterator[Entry]:
    """Yield entries across lost connections, each once."""
    last, losses, ended = "", 0, False
    while not ended:
        try:
            for event in api.events(path, last):
                last, losses = event.id or last, 0
                yield event.data
            ended = True
        except Unreachable:
            losses += 1
            if losses > _LOSSES:
                raise
            time.sleep(_PAUSE)


def exit_code(saga: Saga) -> Exit:
    """Return 0 for a saga that completed, else 1."""
    return Exit.YES if saga["status"] == "completed" else Exit.NO


def watch(api: Api, saga_id: str) -> Saga:
    """Follow a saga for a person, or for a pipe."""
    if output.on_terminal():
        return _watch_live(api, saga_id)
    return follow(api, saga_id, lambda entry: output.line(sentence(entry)))


def _watch_live(api: Api, saga_id: str) -> Saga:
    from rich.live import Live

    entries: list[Entry] = []
    found: Saga = api.get(saga_path(saga_id))
    with Live(picture(found, entries), refresh_per_second=10, transient=True) as live:

        def show(entry: Entry) -> None:
            entries.append(entry)
            if entry.get("kind") != "invoked" or entry.get("attempt", 1) > 1:
                live.update(picture(api.get(saga_path(saga_id)), entries))

        found = follow(api, saga_id, show)
    print_saga(found)
    return found


def picture(saga: Saga, entries: list[Entry]) -> Group:
    """Return what a person sees while a saga runs: its steps, and the last things that happened."""
    from rich.console import Group
    from rich.text import Text

    last = [Text(sentence(entry), style=tell(entry).colour or "") for entry in entries[-6:]]
    return Group(Text(headline(saga), style="bold"), output.rich_table(STEP_HEADINGS, step_rows(saga)), *last)


# --------------------------------------------------------------------------- one saga

STEP_HEADINGS = ("step", "status", "attempts", "compensation", "error")


def headline(saga: Saga) -> str:
    """Return what a saga is and where, in one line."""
    definition, done = saga["definition"], saga["progress"]
    late = ", late" if saga.get("late") else ""
    what = clean(f"{definition['name']} version {definition['version']}")
    return f"{clean(saga['id'])}  {what}  {saga['status']}{late}  {done['done']}/{done['total']}"


def step_rows(saga: Saga) -> Iterator[tuple[Cell | str, ...]]:
    """Yield a row for each step."""
    for step in saga["steps"]:
        undo = step.get("compensation") or {}
        error = undo.get("error") or step.get("error")
        owed = undo.get("attempts") or undo.get("status") not in (None, "pending")
        yield (
            step["name"],
            output.status(step["status"]),
            str(step["attempts"]),
            output.status(undo["status"]) if owed else "",
            error_text(error),
        )


def error_text(error: Mapping[str, Any] | None) -> str:
    """Return an error as text."""
    if not error:
        return ""
    step = f"{error['step']}: " if error.get("step") else ""
    return clean(f"{step}{error.get('kind')}" + (f", {error['detail']}" if error.get("detail") else ""))


def print_saga(saga: Saga) -> None:
    """Print all a person wants to know of one saga."""
    output.line(headline(saga), output.COLOURS.get(saga["status"]), bold=output.on_terminal())
    for name, value in _facts(saga):
        output.line(f"{name}: {clean(value)}")
    output.table(STEP_HEADINGS, step_rows(saga))


def _facts(saga: Saga) -> Iterator[tuple[str, Any]]:
    facts = {
        "error": error_text(saga.get("error")),
        "output": saga.get("output"),
        "labels": saga.get("labels") or None,
        "started": output.moment(saga.get("started_at")),
        "ended": output.moment(saga.get("ended_at")),
        "next attempt": output.moment(saga.get("next_attempt_at")),
        "parent": saga.get("parent"),
        "trace": saga.get("trace_id"),
    }
    return ((name, value) for name, value in facts.items() if value not in (None, ""))
