"""Commands that ask no server: ``validate``, ``simulate``, ``graph``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from saga.cli import output
from saga.cli.failures import Exit, end, place
from saga.cli.options import json_option

if TYPE_CHECKING:
    from saga.cli.files import Checked
    from saga.errors import Problem


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@json_option
def validate(*, files: Sequence[str], as_json: bool) -> None:
    """Check definitions, every problem at once.

    Each problem is shown with its file and line, and how to mend it. Exit code 2 when one is refused;
    warnings refuse nothing.
    """
    from saga.cli.files import check

    found = [check(path) for path in files]
    if as_json:
        output.document({"files": [_checked_json(each) for each in found]})
    else:
        for each in found:
            _print_checked(each)
    if any(each.definition is None for each in found):
        end(Exit.USAGE)


def _print_checked(checked: Checked) -> None:
    for problem in checked.problems:
        output.line(place(checked.path, problem), "red" if problem.severity == "error" else "yellow")
    if checked.definition is None:
        errors = sum(problem.severity == "error" for problem in checked.problems)
        output.line(f"{checked.path}: refused, {errors} error{'s' if errors != 1 else ''}", "red")
    else:
        steps = len(checked.definition.steps)
        output.line(f"{checked.path}: valid, {checked.definition.name}, {steps} steps", "green")


def _checked_json(checked: Checked) -> Mapping[str, Any]:
    name = None if checked.definition is None else checked.definition.name
    problems = [_problem_json(problem) for problem in checked.problems]
    return {"file": checked.path, "valid": checked.definition is not None, "name": name, "problems": problems}


def _problem_json(problem: Problem) -> Mapping[str, Any]:
    return {
        "pointer": problem.pointer,
        "detail": problem.detail,
        "line": problem.line,
        "severity": problem.severity,
    }


@click.command()
@click.argument("file", metavar="FILE")
def graph(file: str) -> None:
    """Draw a definition in mermaid: steps, pivot and compensations."""
    from saga.cli.files import definition
    from saga.graphs import flowchart

    click.echo(flowchart(definition(file)), nl=False)


commands: Mapping[str, click.Command] = {"validate": validate, "graph": graph}
