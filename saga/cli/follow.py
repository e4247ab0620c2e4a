"""Following a saga until it has ended or is parked: a line per entry, or a table that is drawn anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from saga.cli import output
from saga.cli.failures import Exit, Failure
from saga.cli.narrate import Entry, sentence, tell
from saga.cli.options import segment
from saga.cli.output import Cell, clean

if TYPE_CHECKING:
    from rich.console import Group

    from saga.cli.http import Api

_T = TypeVar("_T")
Saga = Mapping[str, Any]
#: Shown the saga and its new entries, whenever there are any.
Show = Callable[[Saga, Sequence[Entry]], None]

#: Statuses in which nothing more happens by itself.
AT_REST = frozenset({"completed", "compensated", "abandoned", "parked"})
#: Seconds between two looks: at first, and at most when nothing happens.
_SOON, _LATEST = 0.05, 1.0
#: Looks in a row that may find nobody, as while a coordinator is restarted.
_LOSSES = 10


def saga_path(saga_id: str) -> str:
    """Return the path of a saga."""
    return f"/v1/sagas/{segment(saga_id)}"


def follow(api: Api, saga_id: str, show: Show) -> Saga:
    """Show every entry of a saga from the first on, and return the saga once it is at rest."""
    shown, changed, pause = 0, "", _SOON
    saga: Saga = api.get(saga_path(saga_id))
    while True:
        pause = _SOON if saga["updated_at"] != changed else min(pause * 1.5, _LATEST)
        changed = saga["updated_at"]
        if pause == _SOON or saga["status"] in AT_REST:
            entries = _patiently(lambda: list(api.items(f"{saga_path(saga_id)}/journal")))
            show(saga, entries[shown:])
            shown = len(entries)
        if saga["status"] in AT_REST:
            return saga
        time.sleep(pause)
        # The journal is read after the saga, so that of a saga at rest nothing is missed.
        saga = _patiently(lambda: api.get(saga_path(saga_id)))


def _patiently(ask: Callable[[], _T]) -> _T:
    """Ask, again while nobody answers."""
    for _ in range(_LOSSES):
        try:
            return ask()
        except Failure as failure:
            if failure.code is not Exit.UNREACHABLE:
                raise
        time.sleep(_LATEST)
    return ask()


def exit_code(saga: Saga) -> Exit:
    """Return 0 for a saga that completed, else 1."""
    return Exit.YES if saga["status"] == "completed" else Exit.NO


def watch(api: Api, saga_id: str) -> Saga:
    """Follow a saga for a person, or for a pipe."""
    if output.on_terminal():
        return _watch_live(api, saga_id)
    return follow(api, saga_id, _print_entries)


def _print_entries(_saga: Saga, entries: Sequence[Entry]) -> None:
    for entry in entries:
        output.line(sentence(entry))


def _watch_live(api: Api, saga_id: str) -> Saga:
    from rich.live import Live

    all_entries: list[Entry] = []
    with Live(refresh_per_second=10, transient=True) as live:

        def show(saga: Saga, entries: Sequence[Entry]) -> None:
            all_entries.extend(entries)
            live.update(picture(saga, all_entries))

        found = follow(api, saga_id, show)
    print_saga(found)
    return found


def picture(saga: Saga, entries: Sequence[Entry]) -> Group:
    """Return what a person sees while a saga runs: its steps, and the last things that happened."""
    from rich.console import Group
    from rich.text import Text

    last = [Text(sentence(entry), style=tell(entry).colour or "") for entry in entries[-6:]]
    return Group(Text(headline(saga), style="bold"), output.rich_table(STEP_HEADINGS, step_rows(saga)), *last)


# one saga

STEP_HEADINGS = ("step", "status", "attempts", "compensation", "error")


def headline(saga: Saga) -> str:
    """Return what a saga is and where, in one line."""
    definition, done = saga["definition"], saga["progress"]
    late = ", late" if saga.get("late") else ""
    what = clean(f"{definition['name']} version {definition['version']}")
    return f"{clean(saga['id'])}  {what}  {saga['status']}{late}  {done['done']}/{done['total']}"


def step_rows(saga: Saga) -> Iterator[tuple[Cell | str, ...]]:
    """Yield a row for each step."""
    for step in saga.get("steps", ()):
        undo = step.get("compensation") or {}
        error = undo.get("error") or step.get("error")
        # Of a saga that goes forward, what would be undone is only said where a person asks for the plan.
        owed = undo.get("status") not in (None, "pending") or (undo and saga["direction"] == "backward")
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
    if "steps" in saga:
        # Behind lines for a person no program reads these as they come.
        output.table(STEP_HEADINGS, step_rows(saga), always_headed=True)


def _facts(saga: Saga) -> Iterator[tuple[str, Any]]:
    facts = {
        "error": error_text(saga.get("error")),
        "problem": (saga.get("problem") or {}).get("detail"),
        "output": saga.get("output"),
        "labels": saga.get("labels") or None,
        "started": output.moment(saga.get("started_at")),
        "ended": output.moment(saga.get("ended_at")),
        "next attempt": output.moment(saga.get("next_attempt_at")),
        "parent": saga.get("parent"),
        "trace": saga.get("trace_id"),
    }
    return ((name, value) for name, value in facts.items() if value not in (None, ""))
