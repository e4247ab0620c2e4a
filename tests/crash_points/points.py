"""The points at which a coordinator can be killed, derived from the code itself.

A verb of the store's port, of the invoker's and of the clock's is a point before and a point after. A statement of
the SQLite store is a point where it stands in the source; one that is built elsewhere and handed to a function which
runs it is a point where it is handed over. Each statement of a migration is a point of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

from saga.ports.clock import Clock
from saga.ports.invoker import Invoker
from saga.ports.store import Store
from saga.stores import sqlite_schema

#: Statements of migrations by their text.
SCHEMA: Final = {
    statement: f"schema {version}.{place:02}"
    for version, statements in enumerate(sqlite_schema.MIGRATIONS, 1)
    for place, statement in enumerate(statements, 1)
}
#: Statements after which the world is another than before them.
_ALSO_AFTER: Final = ("COMMIT", "PRAGMA wal_checkpoint")
_RUNS: Final = {"execute", "executemany", "executescript"}
#: Steps by which a file is made.
FILE_STEPS: Final = ("_fill", "_sync", "rename")

#: Points that no story outside of a failing disk comes to, and why.
UNREACHED: Final = {
    "store.failed after": "the store's disk has failed by then",
    "sql sqlite_writer._undo": "a statement has failed before, as only a failing disk or an odd value makes it",
    "sql sqlite_file.close_unwritten": "the file is refused, or its disk has failed by then",
    "sql sqlite_schema.strange#1": "of a model in memory",
    "sql sqlite_writes.put_back": "a claim is cancelled only when the process is being stopped",
}


def public(port: type) -> list[str]:
    """Return the verbs of a port."""
    return sorted(name for name in dir(port) if not name.startswith("_") and callable(getattr(port, name)))


def ports() -> dict[str, list[str]]:
    """Return the verbs of every port that is armed; of the clock those that wait."""
    waits = [name for name in public(Clock) if name not in ("now", "monotonic")]
    return {"store": public(Store), "call": public(Invoker), "clock": waits}


def every() -> list[str]:
    """Return the names of all points, as the table shows them."""
    names = [f"{port}.{verb} {side}" for port, verbs in ports().items() for verb in verbs for side in SIDES]
    names += ["call.invoke sent", "call.poll sent", "timer before", "timer after"]
    for site in sites():
        names += [site.name, f"{site.name} after"] if site.twice else [site.name]
    names += [f"file {step} {side}" for step in FILE_STEPS for side in SIDES]
    return [*names, *SCHEMA.values()]


SIDES: Final = ("before", "after")


# --------------------------------------------------------------------------- statements in the source


class Site(NamedTuple):
    """A place in the source that has a statement run."""

    name: str
    module: str
    first: int
    last: int
    #: The function hands the statement on: the point is where that function is called.
    relay: bool
    #: It is a point before and another after.
    twice: bool


@cache
def sites() -> tuple[Site, ...]:
    """Return every place that is a point, in the order of the source."""
    return tuple(site for site in _all_sites() if not site.relay)


@cache
def _all_sites() -> tuple[Site, ...]:
    folder = Path(sqlite_schema.__file__).parent
    return tuple(site for file in sorted(folder.glob("sqlite*.py")) for site in _sites_of(file))


def _sites_of(file: Path) -> Iterator[Site]:
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    runs = {function.name: list(_calls(function, _RUNS)) for function in functions}
    relays = {
        function.name for function in functions if any(_hands_on(function, c) for c in runs[function.name])
    }
    for function in sorted(functions, key=lambda each: each.lineno):
        calls = [call for call in runs[function.name] if not _is_migration(call)]
        calls += list(_calls(function, relays))
        calls.sort(key=lambda call: (call.lineno, call.col_offset))
        shown = [call for call in calls if function.name not in relays]
        for call in calls:
            number = f"#{shown.index(call) + 1}" if len(shown) > 1 else ""
            yield Site(
                name=f"sql {file.stem}.{function.name}{number}",
                module=file.name,
                first=call.lineno,
                last=call.end_lineno or call.lineno,
                relay=function.name in relays,
                twice=_text(call).startswith(_ALSO_AFTER),
            )


def _calls(function: ast.FunctionDef, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in names:
                yield node


def _hands_on(function: ast.FunctionDef, call: ast.Call) -> bool:
    """Return whether the statement is, or is made by, an argument of the function."""
    statement = call.args[0] if call.args else None
    made_by = statement.func if isinstance(statement, ast.Call) else statement
    own = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
    return isinstance(made_by, ast.Name) and made_by.id in own


def _is_migration(call: ast.Call) -> bool:
    """Return whether this runs a statement of :data:`SCHEMA`, each of which has a point of its own."""
    return bool(call.args) and isinstance(call.args[0], ast.Name) and call.args[0].id == "statement"


def _text(call: ast.Call) -> str:
    found = [
        node.value
        for node in ast.walk(call)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return found[0] if found else ""


def site_of(frame: FrameType | None) -> Site | None:
    """Return the place in the source from which a statement is run, None when it is not one of the store's."""
    site = _at(frame)
    return _at(frame.f_back) if site is not None and site.relay and frame is not None else site


def _at(frame: FrameType | None) -> Site | None:
    return None if frame is None else _found(frame.f_code.co_filename, frame.f_lineno)


@cache
def _found(file: str, line: int) -> Site | None:
    name = Path(file).name
    there = [site for site in _all_sites() if site.module == name and site.first <= line <= site.last]
    return min(there, key=lambda site: site.last - site.first, default=None)
