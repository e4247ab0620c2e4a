"""How a command ends when it cannot say yes: what is printed, and the exit code scripts look at.

====  ================================================================================
code  meaning
====  ================================================================================
0     yes
1     the saga was compensated, abandoned or parked; or a command does not fit the saga
2     usage: an option, a document or a request is at fault
3     the server cannot be reached, or cannot serve at present
70    a defect of this program
130   interrupted
====  ================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from typing import Any, NoReturn

import click

from saga.errors import Problem


class Exit(IntEnum):
    """Exit codes."""

    YES = 0
    NO = 1
    USAGE = 2
    UNREACHABLE = 3
    DEFECT = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141  #: as a program ends that a closed pipe has killed


def end(code: int) -> NoReturn:
    """End the command with that exit code, saying nothing more."""
    raise click.exceptions.Exit(code)


class Failure(Exception):
    """A command cannot do what it was asked; the message is for a person, and says what to do."""

    def __init__(self, message: str, code: Exit = Exit.USAGE, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        #: One line each.
        self.problems = tuple(problems)

    def lines(self) -> list[str]:
        """Return what is printed."""
        return [self.message, *(f"  {problem}" for problem in self.problems)]

    def document(self) -> Mapping[str, Any]:
        """Return the same for programs."""
        return {"title": self.message, "exit_code": int(self.code), "errors": list(self.problems)}


class Unreachable(Failure):
    """Nobody answers, or not as a coordinator does."""

    def __init__(self, message: str, *, lost: bool = False) -> None:
        super().__init__(message, Exit.UNREACHABLE)
        #: The request may have arrived.
        self.lost = lost


class Refused(Failure):
    """The server answered with a problem document."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        problems = [str(problem) for problem in _problems(document)]
        super().__init__(_headline(status, document), _exit(status), problems)
        self.status = status
        #: The problem document.
        self.problem = document
        #: Such as ``pivot-passed``.
        self.type = _type(document)

    def document(self) -> Mapping[str, Any]:
        """Return the problem document as the server gave it."""
        return self.problem

    def located(self, path: str, lines: Mapping[str, int]) -> Refused:
        """Say in which file, and on which lines of it, the problems are."""
        self.message = f"{path}: {self.message}"
        self.problems = tuple(
            place(path, replace(problem, line=problem.line or lines.get(problem.pointer)))
            for problem in _problems(self.problem)
        )
        return self


def place(path: str, problem: Problem) -> str:
    """Return a problem as compilers write it, so that editors find the line."""
    where = path if problem.line is None else f"{path}:{problem.line}"
    at = f" {problem.pointer}:" if problem.pointer else ""
    return f"{where}: {problem.severity}:{at} {problem.detail}"


def _exit(status: int) -> Exit:
    if status == 409:
        return Exit.NO
    return Exit.UNREACHABLE if status == 429 or status >= 500 else Exit.USAGE


def _headline(status: int, document: Mapping[str, Any]) -> str:
    kind, detail = _type(document).replace("-", " "), str(document.get("detail") or "")
    said = ": ".join(filter(None, (kind or str(document.get("title") or ""), detail)))
    if status == 401:
        said = f"{said or 'not authorised'}; set SAGA_TOKEN to a token of this server"
    return said or f"the server answered {status}"


def _type(document: Mapping[str, Any]) -> str:
    """Return the last part of the type of a problem, such as ``pivot-passed``; "" when it has none."""
    kind = str(document.get("type") or "about:blank")
    return "" if kind == "about:blank" else re.split("[/:#]", kind)[-1]


def _problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    errors = document.get("errors")
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, dict):
            line = error.get("line")
            yield Problem(
                pointer=str(error.get("pointer", "")),
                detail=str(error.get("detail", "")),
                line=line if isinstance(line, int) else None,
            )
